"""acts-kalman-fit: track parameters and covariances by the Kalman fit of ACTS."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from mltrack_plugin.detectors import Detector
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig

if TYPE_CHECKING:
    from mltrack_plugin.acts.kalman import KalmanFitter

_log = logging.getLogger(__name__)


class ActsKalmanFit(Algorithm):
    """Fits track candidates with the Kalman filter of ACTS, on the modules and material of its GenericDetector.

    For events of that detector (``mltrack simulate acts-gun`` and its like); takes the place of fit-kalman.
    Every candidate stays; one that ACTS cannot fit keeps NaN parameters, and their number is logged.
    """

    class Config(BaseConfig):
        """Settings of acts-kalman-fit."""

        field_z: float | None = Field(default=None, allow_inf_nan=False)
        """Solenoid field along z, T; ``None`` = the detector's."""
        resolution: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """Standard deviation of the hits in units of the pitch / sqrt(12)."""
        tolerance: float = Field(default=0.05, gt=0)
        """Largest distance of a hit from its module, mm."""
        multiple_scattering: bool = True
        """Whether tracks scatter in the detector's material."""
        energy_loss: bool = True
        """Whether tracks lose energy in the detector's material."""
        detector: str | Detector | None = None
        """Detector of the events; by default what the input states."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        candidates: str = "candidate_tracks"
        """Event store key of the track candidates (input)."""
        tracks: str = "fitted_tracks"
        """Event store key of the tracks (output)."""

        @model_validator(mode="after")
        def _has_a_field(self) -> ActsKalmanFit.Config:
            if self.field_z == 0:
                raise ValueError(
                    "field_z must not be 0: ACTS fits momenta from the curvature; without a field leave "
                    "acts-kalman-fit out of the sequence"
                )
            return self

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._candidates = self.read_handle(ProtoTracks, self.config.candidates)
        self._tracks = self.write_handle(Tracks, self.config.tracks)
        self._fitter: KalmanFitter | None = None
        self._n_tracks = self._n_failed = 0

    def initialize(self) -> None:
        """Build the detector (once per process) and the fitter.

        Raises:
            ConfigurationError: if the events are of another detector.
            MissingExtraError: without pyacts.
        """
        from mltrack_plugin.acts.kalman import KalmanFitter
        from mltrack_plugin.detectors.acts_geometry import check_detector, field_of

        check_detector(self.config.detector)
        self._fitter = KalmanFitter(
            field_of(self.config.detector, self.config.field_z),
            multiple_scattering=self.config.multiple_scattering,
            energy_loss=self.config.energy_loss,
        )
        self._n_tracks = self._n_failed = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.acts.measurements import measurements_of

        assert self._fitter is not None
        measurements = measurements_of(
            self._hits(event_store), tolerance=self.config.tolerance, resolution=self.config.resolution
        )
        tracks = self._fitter.fit(measurements, self._candidates(event_store))
        self._n_tracks += len(tracks)
        self._n_failed += int((~tracks.fitted).sum())
        self._tracks(event_store, tracks)
        return ProcessCode.SUCCESS

    def finalize(self) -> None:
        if self._n_failed:
            _log.warning(
                "acts-kalman-fit: %d of %d tracks could not be fitted and have NaN parameters",
                self._n_failed,
                self._n_tracks,
            )
