"""Training on a user's own events: hits and truth from files that the readers know, as a data set named ``files``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import ReadEvent
from mltrack_plugin.registry import available
from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.base import SPLITS, Dataset, split_window
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent

#: Name of the data set in training configurations.
FILES = "files"
#: Number of the data set in the seeds; those of ``mltrack simulate`` are below.
_TAG = 1000
#: Most events, and about the most hits, that are read and kept together: a block. Training events are shuffled within
#: and between blocks.
_BLOCK, _BLOCK_HITS = 32, 400_000
#: Events with so many hits show the size of the detector; sizes that differ by more than the factor are in other units.
_MIN_HITS, _SIZE_FACTOR = 50, 8.0


def training_dataset(name: str, settings: Mapping[str, Any]) -> Dataset:
    """A data set of ``mltrack simulate``, or the user's own ``files``.

    Raises:
        ConfigurationError: if there is no such data set, or a parameter is wrong.
    """
    if name == FILES:
        return FilesDataset(settings)
    if name not in available("data set") and (name.startswith("file") or "/" in name):
        raise ConfigurationError(
            f"no data set {name!r}; own events are read with  dataset: {FILES}, dataset_settings: {{path: FILE}}"
        )
    return make_dataset(name, settings)


class FilesConfig(Config):
    """Parameters of the data set ``files``."""

    path: str | tuple[str, ...]
    """File or folder with hits, truth links and particles (see ``mltrack inspect``), or several of them."""
    format: str | None = None
    """Format of the input; found from its content by default."""
    reader: dict[str, Any] = Field(default_factory=dict)
    """Further settings of the reader, e.g. ``{detector: mydetector, length_unit: m, branches: {...}}``."""
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of the events that go to training, validation and test, in this order and in the order of the input."""
    augment: Literal["train", "never"] = "never"
    """"train": turn each training event by a random angle around the beam and mirror it in z at random, each time it is
    used. For detectors and fields with this symmetry.
    """
    keep_particles: tuple[float, float] = (1.0, 1.0)
    """Smallest and largest share of the particles that stay in a training event, with their hits; random, each time."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if not 0 < self.keep_particles[0] <= self.keep_particles[1] <= 1:
            raise ValueError(f"keep_particles must be two rising shares, got {self.keep_particles}")
        if min(self.shares) < 0 or sum(self.shares) > 1 + 1e-9 or not self.shares[0]:
            raise ValueError(f"shares must not be negative and sum up to at most 1, got {self.shares}")
        return self


class _Input(NamedTuple):
    """An open reader and the number of its first event among all."""

    reader: Any
    first: int


class FilesDataset(Dataset):
    """Events of files, read lazily; each split has its own events.

    Training goes through its events again and again, each time in another order that depends on seed and pass
    alone; validation and test give each event once.

    Args:
        settings: of :class:`FilesConfig`.

    Raises:
        ConfigurationError: naming each setting that is wrong.
    """

    Config: ClassVar[type[Config]] = FilesConfig

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(FILES, _TAG, settings)
        self._block = functools.lru_cache(maxsize=2)(self._read_block)
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)
        #: Whether a hit of a particle was seen.
        self._has_truth = False
        #: Extent of the detector, and the event that showed it.
        self._size: tuple[float, str] | None = None

    @functools.cached_property
    def _inputs(self) -> list[_Input]:
        """The readers, initialized, with the number of their first events.

        Raises:
            InputError: if an input cannot be read.
        """
        from mltrack_plugin.io import open_events

        paths = (self.config.path,) if isinstance(self.config.path, str) else self.config.path
        found, first = [], 0
        for path in paths:
            reader = open_events(path, self.config.format, **self.config.reader)
            reader.initialize()
            found.append(_Input(reader, first))
            first += reader.num_events()
        if not found:
            raise ConfigurationError("data set files: path names no input")
        return found

    @property
    def available(self) -> int:
        """Number of events of all inputs."""
        last = self._inputs[-1]
        return int(last.first + last.reader.num_events())

    @functools.cached_property
    def _block_size(self) -> int:
        """Events of a block, by the hits of the first event: memory holds two blocks."""
        first = next(iter(self._inputs[0].reader.events(0, 1)), None)
        hits = first.collections.get("hits") if first is not None else None
        return max(1, min(_BLOCK, _BLOCK_HITS // max(1, len(hits or ()))))

    @property
    def detector(self) -> str:
        """As the inputs state it.

        Raises:
            ConfigurationError: if they state none, or different ones.
        """
        names = {str(source.reader.source): source.reader.detector for source in self._inputs}
        if len(set(names.values())) > 1:
            listed = ", ".join(f"{path}: {name or 'not stated'}" for path, name in names.items())
            raise ConfigurationError(
                f"data set files: the inputs are of different detectors or coordinate systems ({listed}). "
                "Train on one, or name them alike with  reader: {detector: NAME}"
            )
        (name,) = set(names.values())
        if name is None:
            raise ConfigurationError(
                f"data set files: {self._inputs[0].reader.source} does not name its detector; give "
                "dataset_settings: {reader: {detector: NAME}}"
            )
        return str(name)

    def close(self) -> None:
        """Close the inputs; they open again when they are needed."""
        for source in self.__dict__.pop("_inputs", []):
            source.reader.finalize()

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index`` of a split.

        Raises:
            ConfigurationError: if the split owns no events, or validation or test fewer than asked for.
            InputError: if an event is damaged, or has no truth, or another unit of length than those before it.
        """
        entropy = self.entropy(index, seed, split)
        first, n = split_window(self.available, self.config.shares, split)
        if index >= n and (split != "train" or not n):
            # The name of the setting is what a training stumbles over.
            hint = f"; set validation_events: {n}" if split == "validation" and n else ""
            raise ConfigurationError(
                f"data set files: the {split} split has {n} of the {self.available} events, so there is no event "
                f"{index}{hint}, give more events, or other shares (now {', '.join(map(str, self.config.shares))})"
            )
        if split != "train":
            return self._at(first + index)
        number, place = divmod(index, n)
        event = self._at(first + int(self._order(first, n, seed, number)[place]))
        rng = np.random.default_rng(np.random.SeedSequence(entropy))
        if self.config.keep_particles != (1.0, 1.0):
            event = thinned(event, float(rng.uniform(*self.config.keep_particles)), rng)
        if self.config.augment == "train":
            event = turned(event, float(rng.uniform(-np.pi, np.pi)), bool(rng.random() < 0.5))
        return event

    def _shuffled(self, first: int, n: int, seed: int, number: int) -> Array:
        """(n,) places in the training split in the order of pass ``number``: block by block, for lazy reading."""
        rng = np.random.default_rng([_TAG, SPLITS["train"], seed, number])
        places = np.arange(n)
        # Blocks are those of the input, so that the first and last of the split may be short.
        blocks = np.split(places, np.flatnonzero(np.diff((first + places) // self._block_size)) + 1)
        return np.concatenate([rng.permutation(blocks[i]) for i in rng.permutation(len(blocks))])

    def _at(self, place: int) -> SimulatedEvent:
        return self._block(place // self._block_size)[place % self._block_size]

    def _read_block(self, block: int) -> list[SimulatedEvent]:
        start = block * self._block_size
        stop = min(start + self._block_size, self.available)
        events = []
        for source in self._inputs:
            for read in source.reader.events(start - source.first, stop - source.first):
                events.append(self._checked(read, f"{source.reader.source}: event {read.event_number}"))
        self._check_truth(events, start)
        return events

    def _checked(self, read: ReadEvent, place: str) -> SimulatedEvent:
        if read.error is not None:
            raise InputError(f"{place}: {read.error}") from read.error
        keys = {
            "hits": "hits",
            "truth_links": "truth links (which particle made each hit)",
            "particles": "particles",
        }
        missing = [text for key, text in keys.items() if key not in read.collections]
        if missing:
            raise InputError(
                f"{place} has no {' and no '.join(missing)}: training needs hits with their truth"
            )
        event = SimulatedEvent(**{key: read.collections[key] for key in keys})
        event.truth_links.check_against(event.hits)
        self._check_size(event.hits, place)
        return event

    def _check_truth(self, events: list[SimulatedEvent], first: int) -> None:
        """Refuse an input whose truth is there but says nothing; later events may well hold noise alone."""
        n_hits = sum(len(event.hits) for event in events)
        self._has_truth = self._has_truth or any(
            np.isin(event.truth_links.particle_id, event.particles.particle_id).any() for event in events
        )
        if not self._has_truth:
            raise InputError(
                f"{self._inputs[0].reader.source}: none of the {n_hits} hits of the events {first} to "
                f"{first + len(events) - 1} belongs to a particle: training needs hits with their truth. Look "
                "at the input with  mltrack inspect"
            )

    def _check_size(self, hits: Hits, place: str) -> None:
        """Refuse inputs whose coordinates are in different units."""
        if len(hits) < _MIN_HITS:
            return
        size = float(np.abs(hits.positions).max())
        if self._size is None:
            self._size = (size, place)
        known, where = self._size
        if not known / _SIZE_FACTOR < size < known * _SIZE_FACTOR:
            raise InputError(
                f"{place} reaches {size:.4g} mm, but {where} {known:.4g} mm: the inputs mix units of length, or are of "
                "different detectors. State the unit with  reader: {length_unit: m}, and train on one detector"
            )


def turned(event: SimulatedEvent, angle: float, mirror: bool) -> SimulatedEvent:
    """An event turned around the beam and, if asked for, mirrored in z; ids stay those of the unturned modules."""
    cosine, sine = np.cos(angle), np.sin(angle)
    sign = np.float32(-1.0 if mirror else 1.0)

    def rotate(x: Array, y: Array) -> tuple[Array, Array]:
        return cosine * x - sine * y, sine * x + cosine * y

    hits, particles = event.hits, event.particles
    x, y = rotate(hits.x, hits.y)
    vx, vy = rotate(particles.vx, particles.vy)
    px, py = rotate(particles.px, particles.py)
    return SimulatedEvent(
        dataclasses.replace(hits, x=x, y=y, z=sign * hits.z),
        event.truth_links,
        dataclasses.replace(
            particles, vx=vx, vy=vy, vz=sign * particles.vz, px=px, py=py, pz=sign * particles.pz
        ),
    )


def thinned(event: SimulatedEvent, share: float, rng: np.random.Generator) -> SimulatedEvent:
    """An event with a random share of its particles (at least one), their hits, and that share of the noise."""
    particles = event.particles
    n = max(1, round(share * len(particles)))
    rows = np.sort(rng.permutation(len(particles))[:n])
    truth = event.truth_links.particle_id
    kept = np.isin(truth, particles.particle_id[rows])
    # Hits of particles that the input does not list are thinned as noise is.
    other = ~np.isin(truth, particles.particle_id)
    kept |= other & (rng.random(len(truth)) < share)
    chosen = np.flatnonzero(kept)
    weight = event.truth_links.weight
    return SimulatedEvent(
        event.hits.take(chosen),
        TruthLinks(truth[chosen], None if weight is None else weight[chosen]),
        Particles(**{name: values[rows] for name, values in particles.arrays().items()}),
    )
