"""fit-helix: track parameters and covariances by a helix fit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mltrack_plugin.algorithms.solenoid import SolenoidAlgorithm, SolenoidConfig
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig
from mltrack_plugin.tracking.helix_fit import fit_helices
from mltrack_plugin.tracking.hit_model import HitResolution

_log = logging.getLogger(__name__)


class FitHelix(SolenoidAlgorithm):
    """Fits a helix to each track: d0, z0, phi, theta, q/p with covariance, chi2 and each hit's share of it.

    For detectors in a homogeneous solenoid field along z. Tracks that do not determine a helix (fewer
    than three distinct hits) keep NaN parameters.
    """

    class Config(SolenoidConfig):
        """Settings of fit-helix."""

        hits: str = "hits"
        """Event store key of the hits (input)."""
        candidates: str = "candidate_tracks"
        """Event store key of the track candidates (input)."""
        tracks: str = "fitted_tracks"
        """Event store key of the tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._candidates = self.read_handle(Tracks, self.config.candidates)
        self._tracks = self.write_handle(Tracks, self.config.tracks)
        self._events_without_volumes = 0

    def initialize(self) -> None:
        super().initialize()
        self._events_without_volumes = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        tracks = self._candidates(event_store)
        fit = fit_helices(
            hits.positions,
            tracks.hit_indices,
            tracks.offsets,
            self._resolution(hits),
            self.solenoid.field_z,
            self.solenoid.thickness,
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
        solenoid = self.solenoid
        by_volume = solenoid.resolutions.by_volume and hits.volume_id is not None
        self._events_without_volumes += by_volume != solenoid.resolutions.by_volume
        sigmas = solenoid.resolutions.sigmas(hits.volume_id if by_volume else None, hits.r)
        return HitResolution(*sigmas.T)
