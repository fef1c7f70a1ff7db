"""Scores and times of one job on one data set."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from mltrack_plugin.algorithms.truth_seeds import TruthSeeds
from mltrack_plugin.errors import ConfigurationError, EventError
from mltrack_plugin.evaluation.summary import ScoreAccumulator, hit_weights
from mltrack_plugin.event_data import ProtoTracks, TruthLinks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.jobs.config import JobConfig
from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent

#: Metrics with a published counterpart, and FitAccuracy as the paper's text words it.
METRICS = (
    "trackml_score",
    "perfect_match_efficiency",
    "lhc_match_efficiency",
    "double_majority_efficiency",
    "fit_accuracy",
)
#: Algorithms that grow tracks from seeds.
SEEDED = ("encdec",)
#: The step behind which only fits and qualities come, which the published times do not hold.
_LAST_TIMED = "build-tracks"


@dataclasses.dataclass(frozen=True)
class Figure:
    """A measured value with one standard deviation."""

    value: float
    uncertainty: float


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One job on one data set.

    Attributes:
        job: its name.
        events: number of events.
        scores: metric -> value between 0 and 1.
        network_ms: of the steps that apply a network, per event: CPU time, or wall time on a GPU.
        rest_ms: CPU time of all other steps up to the track candidates, per event.
    """

    job: str
    events: int
    scores: dict[str, Figure]
    network_ms: Figure
    rest_ms: Figure


def measure(
    job: JobConfig,
    dataset: Dataset,
    events: int,
    seed: int,
    device: str,
    advance: Callable[[], None] = lambda: None,
) -> Measurement:
    """Reconstruct and score test events, one by one; the first one does not count in the times.

    A job that grows tracks from seeds gets the first hit of each particle as its seed, which has no weight in the
    scores: the published protocol of EncDec.

    Args:
        job: the reconstruction.
        dataset: its test events are taken.
        events: how many, from the first.
        seed: of the events.
        device: "cpu" or "cuda".
        advance: called behind each event.

    Raises:
        ConfigurationError: if the job makes no tracks.
        EventError: naming the event that could not be reconstructed.
    """
    steps = job.algorithms(device=device, detector=dataset.detector)
    seeding = TruthSeeds(seed_hits=1) if any(step.name in SEEDED for step in job.sequence) else None
    keys = [handle.key for step in steps for handle in step.outputs if issubclass(handle.kind, ProtoTracks)]
    if not keys:
        raise ConfigurationError(f"job {job.name!r} makes no tracks, so there is nothing to score")
    names = [step.name for step in job.sequence]
    timed = names.index(_LAST_TIMED) + 1 if _LAST_TIMED in names else len(names)
    network = np.array(["model" in step.settings for step in job.sequence])
    # CPU time is what busy neighbours leave alone; of work on a GPU it shows nothing.
    clocks = [time.perf_counter if on_gpu and device == "cuda" else time.process_time for on_gpu in network]
    accumulator = ScoreAccumulator(detector=dataset.detector)
    seconds = np.zeros((events, len(steps)))
    for step in steps:
        step.initialize()
    for index, event in enumerate(dataset.events(events, seed, "test")):
        store = EventStore(index, source=dataset.name)
        store.add("hits", event.hits)
        truth = event.truth_links
        if seeding is not None:
            store.add("truth_links", truth)
            seeding.execute(store)
            seeds = store.get(seeding.config.seeds, ProtoTracks).hit_indices
            truth = without_weight(event, seeds, dataset.detector)
        for number, (step, clock) in enumerate(zip(steps, clocks, strict=True)):
            start = clock()
            code = step.execute(store)
            seconds[index, number] = clock() - start
            if code is not ProcessCode.SUCCESS:
                raise EventError(f"job {job.name!r}: {names[number]} gave up event {index} of {dataset.name}")
        tracks = store.get(keys[-1], ProtoTracks)
        accumulator.add(event.hits, truth, tracks, event.particles)
        advance()
    for step in steps:
        step.finalize()
    result = accumulator.result()
    counted = 1e3 * seconds[min(1, events - 1) :, :timed]
    return Measurement(
        job=job.name,
        events=events,
        scores={name: _score(result, name) for name in METRICS},
        network_ms=_mean(counted[:, network[:timed]].sum(axis=1)),
        rest_ms=_mean(counted[:, ~network[:timed]].sum(axis=1)),
    )


def without_weight(event: SimulatedEvent, hits: Array, detector: str) -> TruthLinks:
    """The truth of an event in which some hits do not count in the weighted scores."""
    known, _ = hit_weights(event.hits, event.truth_links, event.particles, detector)
    weight = np.ones(len(event.hits)) if known is None else np.array(known)
    weight[hits] = 0.0
    return TruthLinks(event.truth_links.particle_id, weight)


def _score(result: dict[str, float | None], name: str) -> Figure:
    value, low, high = (result[f"{name}{end}"] for end in ("", "_low", "_high"))
    if value is None or low is None or high is None:
        return Figure(0.0 if value is None else value, 0.0)
    return Figure(value, (high - low) / 2.0)


def _mean(values: np.ndarray) -> Figure:
    """Mean and its standard error."""
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return Figure(float(values.mean()), spread / len(values) ** 0.5)
