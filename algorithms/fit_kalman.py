"""fit-kalman: track parameters and covariances by a Kalman filter and smoother."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mltrack_plugin.algorithms.solenoid import SolenoidAlgorithm, SolenoidConfig
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class FitKalman(SolenoidAlgorithm):
    """Fits each track: d0, z0, phi, theta, q/p with covariance, chi2, and each hit's chi2 given the other hits.

    Scattering and energy loss in every layer are taken into account as for a pion. Several times faster than
    ``fit-helix``, whose model is the same but for the energy loss; compiled at first use. For detectors in a
    homogeneous solenoid field along z. Tracks that do not determine a helix keep NaN parameters.
    """

    class Config(SolenoidConfig):
        """Settings of fit-kalman."""

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
        """Compile the kernels (or load them) now, so that the first event is not slower than the others.

        Raises:
            ConfigurationError: if the detector is not known, not given, or has no field.
        """
        super().initialize()
        from mltrack_plugin.kalman.event_fit import warm_up

        warm_up()

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.kalman.event_fit import fit_tracks

        solenoid = self.solenoid
        hits, tracks = solenoid.located(self._hits(event_store)), self._candidates(event_store)
        fit = fit_tracks(hits, tracks, solenoid.sigmas(hits), solenoid.field_z, solenoid.thickness)
        self._tracks(event_store, tracks.with_columns(**fit.columns()))
        return ProcessCode.SUCCESS
