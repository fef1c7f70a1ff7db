"""fit-kalman: track parameters and covariances by a Kalman filter and smoother."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mltrack_plugin.algorithms.solenoid import SolenoidAlgorithm, SolenoidConfig
from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig

_log = logging.getLogger(__name__)


class FitKalman(SolenoidAlgorithm):
    """Fits each track: d0, z0, phi, theta, q/p with covariance, chi2, and each hit's chi2 given the other hits.

    Scattering and energy loss in every layer are taken into account as for a pion; compiled at first use. For detectors
    in a homogeneous solenoid field along z. Tracks that do not determine a helix (fewer than three distinct hits) keep
    NaN parameters. Hits whose volumes are not known all get ``resolution``, with a warning.
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
        self._events_without_volumes = 0

    def initialize(self) -> None:
        """Compile the kernels (or load them) now, so that the first event is not slower than the others.

        Raises:
            ConfigurationError: if the detector is not known, not given, or has no field.
        """
        super().initialize()
        from mltrack_plugin.kalman.event_fit import warm_up

        warm_up()
        self._events_without_volumes = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.kalman.event_fit import fit_tracks

        hits, tracks, solenoid = self._hits(event_store), self._candidates(event_store), self.solenoid
        fit = fit_tracks(hits, tracks, self._sigmas(hits), solenoid.field_z, solenoid.thickness)
        self._tracks(event_store, tracks.with_columns(**fit.columns()))
        return ProcessCode.SUCCESS

    def finalize(self) -> None:
        if self._events_without_volumes:
            _log.warning(
                "fit-kalman: the hits of %d events have no volume_id, so resolutions by volume were not used; "
                "map the branch in the reader's settings",
                self._events_without_volumes,
            )

    def _sigmas(self, hits: Hits) -> Array:
        """(n, 3) standard deviations along r-phi, r and z, mm."""
        solenoid = self.solenoid
        try:
            return solenoid.sigmas(solenoid.located(hits))
        except EventDataError:
            if hits.volume_id is not None or hits.geometry_id is not None:
                raise
        self._events_without_volumes += 1
        return solenoid.resolutions.sigmas(None, hits.r)
