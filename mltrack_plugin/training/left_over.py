"""Training on what other algorithms leave: the steps of a job run on each event before the network sees it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.event_data import HitSelection, TruthLinks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import Algorithm
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.registry import current_name
from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.bank import in_window
from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.files import thinned, turned


class LeftOverConfig(Config):
    """Which hits a network sees, and how training events are made of them."""

    job: str
    """Shipped job or job file: its steps before the network's run on each event, and the network is trained on the hits
    that they leave to it (its ``selected_hits``).
    """
    events: int = Field(100, ge=1)
    """Training events that are simulated; they are used again and again, turned and mirrored each time."""
    keep_particles: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest share of its particles and noise that stays in a training event; uniform in the logarithm.
    """
    window: int = Field(4096, ge=1)
    """Training events with more hits are cut to about so many, in a window of azimuth and pseudorapidity."""

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if not 0 < self.keep_particles[0] <= self.keep_particles[1] <= 1:
            raise ValueError(f"keep_particles must be two rising shares, got {self.keep_particles}")
        return self


class LeftOverDataset(Dataset):
    """Another data set after the first steps of a job. Only training events are thinned, turned and cut.

    Args:
        source: where whole events come from; it is closed with this one.
        config: see :class:`LeftOverConfig`.
        algorithm: registered name of the network's step in the job.

    Raises:
        ConfigurationError: as :func:`steps_before`.
    """

    Config: ClassVar[type[Config]] = LeftOverConfig

    def __init__(self, source: Dataset, config: LeftOverConfig, algorithm: str) -> None:
        super().__init__(source.name, source.tag, config.model_dump())
        self.source = source
        self._reduce = steps_before(config.job, algorithm, source.detector)
        self._kept = functools.lru_cache(maxsize=config.events)(self._prepared)

    @property
    def detector(self) -> str:
        return self.source.detector

    def close(self) -> None:
        """Let go of open files."""
        self.source.close()

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``: what the job's steps leave of an event of the source."""
        if split != "train":
            return self._reduce(self.source.event(index, seed=seed, split=split))
        rng = np.random.default_rng(np.random.SeedSequence([*self.entropy(index, seed, split), 1]))
        event = self._kept(int(rng.integers(self.config.events)), seed)
        if len(event.hits) > self.config.window:
            event = taken(event, in_window(event.hits.positions, self.config.window, rng))
        return turned(event, float(rng.uniform(-np.pi, np.pi)), bool(rng.random() < 0.5))

    def _prepared(self, index: int, seed: int) -> SimulatedEvent:
        """Training event ``index`` of those that are kept."""
        event = self.source.event(index, seed=seed, split="train")
        rng = np.random.default_rng(np.random.SeedSequence([*self.entropy(index, seed, "train"), 2]))
        low, high = np.log(self.config.keep_particles)
        if low < 0:
            event = thinned(event, float(np.exp(rng.uniform(low, high))), rng)
        return self._reduce(event)


def steps_before(job_name: str, algorithm: str, detector: str) -> Callable[[SimulatedEvent], SimulatedEvent]:
    """What a job leaves to one of its steps.

    Args:
        job_name: shipped job or file.
        algorithm: registered name of the step.
        detector: of the events.

    Returns:
        event -> event of the hits that the step selects.

    Raises:
        ConfigurationError: if the job has no such step, or the step takes all hits, or the job is for other detectors.
    """
    job, algorithm = load_job(job_name), current_name("algorithm", algorithm)
    names = [step.name for step in job.sequence]
    if algorithm not in names:
        raise ConfigurationError(
            f"after: the job {job_name!r} has no step {algorithm!r}. {did_you_mean(algorithm, names)}"
        )
    if not job.takes(detector):
        raise ConfigurationError(
            f"after: the job {job_name!r} is for {job.detector_name}, but the events are of {detector!r}"
        )
    number = names.index(algorithm)
    selection = job.sequence[number].settings.get("selected_hits", "selected_hits")
    first = job.model_copy(update={"sequence": job.sequence[:number]})
    steps: list[Algorithm] = first.algorithms(detector=detector)
    if not any(handle.key == selection for step in steps for handle in step.outputs):
        raise ConfigurationError(
            f"after: no step of the job {job_name!r} before {algorithm} writes {selection!r}, which it reads"
        )
    for step in steps:
        step.initialize()

    def reduce(event: SimulatedEvent) -> SimulatedEvent:
        store = EventStore()
        store.add("hits", event.hits)
        for step in steps:
            step.execute(store)
        return taken(event, store.get(selection, HitSelection).rows)

    return reduce


def taken(event: SimulatedEvent, rows: Array) -> SimulatedEvent:
    """An event with some of its hits and all of its particles."""
    weight = event.truth_links.weight
    links = TruthLinks(event.truth_links.particle_id[rows], None if weight is None else weight[rows])
    return SimulatedEvent(event.hits.take(rows), links, event.particles)
