"""fit-helix: track parameters and covariances by a helix fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.algorithms.solenoid import Resolution
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig
from mltrack_plugin.tracking.helix_fit import fit_helices
from mltrack_plugin.tracking.hit_model import HitResolution

_log = logging.getLogger(__name__)


class FitHelix(Algorithm):
    """Fits a helix to each track: d0, z0, phi, theta, q/p with covariance, chi2 and each hit's share of it.

    For detectors in a homogeneous solenoid field along z. Tracks that do not determine a helix (fewer
    than three distinct hits) keep NaN parameters.
    """

    class Config(BaseConfig):
        """Settings of fit-helix."""

        field_z: float = Field(default=2.0, allow_inf_nan=False)
        """Solenoid field along z, T."""
        thickness: float = Field(default=0.0, ge=0, lt=1)
        """Material of a detector layer at normal incidence, in radiation lengths, for multiple scattering;
        0 = none. About 0.02 in silicon trackers.
        """
        resolution: Resolution = Resolution(rphi=0.05, r=0.05, z=0.05)
        """Resolution of hits, where ``volumes`` does not say otherwise."""
        volumes: dict[int, Resolution] = Field(default_factory=dict)
        """Resolution by volume id; hits without volume ids all get ``resolution`` (with a warning)."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        candidates: str = "candidate_tracks"
        """Event store key of the track candidates (input)."""
        tracks: str = "fitted_tracks"
        """Event store key of the tracks (output)."""

        @model_validator(mode="after")
        def _has_a_field(self) -> FitHelix.Config:
            if self.field_z == 0:
                raise ValueError("field_z must not be 0; without a field leave fit-helix out of the sequence")
            return self

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._candidates = self.read_handle(Tracks, self.config.candidates)
        self._tracks = self.write_handle(Tracks, self.config.tracks)
        self._events_without_volumes = 0

    def initialize(self) -> None:
        self._events_without_volumes = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        tracks = self._candidates(event_store)
        fit = fit_helices(
            hits.positions,
            tracks.hit_indices,
            tracks.offsets,
            self._resolution(hits),
            self.config.field_z,
            self.config.thickness,
        )
        self._tracks(event_store, tracks.with_columns(**fit.columns()))
        return ProcessCode.SUCCESS

    def finalize(self) -> None:
        if self._events_without_volumes:
            _log.warning(
                "fit-helix: the hits of %d events have no volume_id, so resolutions by volume were not used; "
                "map the branch in the reader's settings",
                self._events_without_volumes,
            )

    def _resolution(self, hits: Hits) -> HitResolution:
        default = self.config.resolution
        if self.config.volumes and hits.volume_id is None:
            self._events_without_volumes += 1
        if not self.config.volumes or hits.volume_id is None:
            return HitResolution(default.rphi, default.r, default.z)
        columns = np.empty((len(hits), 3))
        columns[:] = (default.rphi, default.r, default.z)
        for volume, resolution in self.config.volumes.items():
            columns[hits.volume_id == volume] = (resolution.rphi, resolution.r, resolution.z)
        return HitResolution(*columns.T)
