"""fit-kalman: track parameters and covariances by a Kalman filter and smoother."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from mltrack_plugin.algorithms.solenoid import SolenoidConfig
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class FitKalman(Algorithm):
    """Fits each track: d0, z0, phi, theta, q/p with covariance, chi2, and each hit's chi2 given the other hits.

    Scattering and energy loss in every layer are taken into account as for a pion. Several times faster than
    ``fit-helix``, whose model is the same but for the energy loss; compiled at first use. For detectors in a
    homogeneous solenoid field along z. Tracks that do not determine a helix keep NaN parameters.
    """

    class Config(SolenoidConfig):
        """Settings of fit-kalman."""

        thickness: float = Field(default=0.02, ge=0, lt=1)
        """Material of a detector layer at normal incidence, in radiation lengths. About 0.02 in silicon trackers."""
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

    def initialize(self) -> None:
        """Compile the kernels (or load them) now, so that the first event is not slower than the others."""
        from mltrack_plugin.kalman.event_fit import warm_up

        warm_up()

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.kalman.event_fit import fit_tracks

        hits, tracks = self._hits(event_store), self._candidates(event_store)
        config = self.config
        fit = fit_tracks(hits, tracks, config.sigmas(hits), config.field_z, config.thickness)
        self._tracks(event_store, tracks.with_columns(**fit.columns()))
        return ProcessCode.SUCCESS
