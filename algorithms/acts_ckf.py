"""acts-ckf: tracks by the seeding, CKF and ambiguity resolution of ACTS, the reference to compare with."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.detectors import Detector
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.timing import StepTimes
from mltrack_plugin.settings import Config as BaseConfig

if TYPE_CHECKING:
    from mltrack_plugin.acts.ckf import CkfChain, CkfResult

_log = logging.getLogger(__name__)


class ActsCkf(Algorithm):
    """Finds and fits tracks with ACTS alone: grid triplet seeding, CKF, greedy ambiguity resolution.

    For events of the GenericDetector. It sees the same hits as every other algorithm, noise included. The CPU
    time of each step of ACTS is written beside the tracks; putting hits on the whiteboard and reading tracks back
    is a step of its own ("conversion"), which is not counted as reconstruction.
    """

    class Config(BaseConfig):
        """Settings of acts-ckf."""

        settings: Literal["tuned", "standard"] = "tuned"
        """"tuned", or "standard": the settings of ACTS's ckf_tracks.py."""
        changes: dict[str, Any] = Field(default_factory=dict)
        """Single settings of the chain that differ, by name (see mltrack_plugin.acts.ckf.CkfSettings)."""
        field_z: float | None = Field(default=None, allow_inf_nan=False)
        """Solenoid field along z, T; ``None`` = the detector's."""
        resolution: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """Standard deviation of the hits in units of the pitch / sqrt(12)."""
        tolerance: float = Field(default=0.05, gt=0)
        """Largest distance of a hit from its module, mm."""
        detector: str | Detector | None = None
        """Detector of the events; by default what the input states."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        tracks: str = "tracks"
        """Event store key of the tracks (output)."""
        times: str = "ckf_times"
        """Event store key of the time of each event (output)."""

        @model_validator(mode="after")
        def _has_a_field(self) -> ActsCkf.Config:
            if self.field_z == 0:
                raise ValueError(
                    "field_z must not be 0: without a field ACTS cannot estimate the momenta of seeds"
                )
            return self

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._tracks = self.write_handle(Tracks, self.config.tracks)
        self._times = self.write_handle(StepTimes, self.config.times)
        self._chain: CkfChain | None = None
        self._n_without_seeds = self._n_without_tracks = self._n_shared = self._n_lost = 0

    def initialize(self) -> None:
        """Build the detector (once per process) and the chain.

        Raises:
            ConfigurationError: if the events are of another detector, or a setting is wrong.
            MissingExtraError: without pyacts.
        """
        from mltrack_plugin.acts.ckf import CkfChain, CkfSettings, preset
        from mltrack_plugin.detectors.acts_geometry import check_detector, field_of
        from mltrack_plugin.settings import validated

        check_detector(self.config.detector)
        chosen = {**preset(self.config.settings).model_dump(), **self.config.changes}
        settings = validated(CkfSettings, chosen, f"{self.name}, changes")
        assert isinstance(settings, CkfSettings)
        self._chain = CkfChain(settings, field_of(self.config.detector, self.config.field_z))
        self._n_without_seeds = self._n_without_tracks = self._n_shared = self._n_lost = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.acts.measurements import measurements_of

        assert self._chain is not None
        began = time.process_time()
        measurements = measurements_of(
            self._hits(event_store), tolerance=self.config.tolerance, resolution=self.config.resolution
        )
        result = self._chain.find(measurements)
        spent = time.process_time() - began
        self._count(result)
        self._tracks(event_store, result.found.tracks)
        self._times(event_store, step_times(result.cpu_s, spent))
        return ProcessCode.SUCCESS

    def describe(self) -> dict[str, str]:
        """The version of ACTS, for the output's metadata."""
        from importlib.metadata import version

        return {"pyacts": version("pyacts")}

    def finalize(self) -> None:
        if self._n_without_tracks:
            _log.warning(
                "acts-ckf: no tracks in %d events, %d of them have no seeds",
                self._n_without_tracks,
                self._n_without_seeds,
            )
        if self._n_shared:
            _log.warning(
                "acts-ckf: %d hits were on several tracks and stay on the best one; %d tracks were left without hits",
                self._n_shared,
                self._n_lost,
            )

    def _count(self, result: CkfResult) -> None:
        self._n_without_seeds += result.n_seeds == 0
        self._n_without_tracks += len(result.found.tracks) == 0
        self._n_shared += result.found.shared_hits
        self._n_lost += result.found.without_hits


def step_times(cpu_s: Mapping[str, float], total: float) -> StepTimes:
    """Times of the steps of ACTS, and what the rest of ``total`` (s) went into."""
    from mltrack_plugin.acts.ckf import RECONSTRUCTION_STEPS

    steps = {**cpu_s, "conversion": max(total - sum(cpu_s.values()), 0.0)}
    counted = [name in RECONSTRUCTION_STEPS for name in steps]
    return StepTimes(np.array(list(steps)), np.array(list(steps.values())), np.array(counted))
