"""What all readers of this package share: settings, the plan of chunks, one cached chunk, the detector."""

from __future__ import annotations

import bisect
import itertools
from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mltrack_plugin.errors import ConfigurationError, EventError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.framework.algorithm import Reader, ReadEvent
from mltrack_plugin.io.columns import LENGTH_COLUMNS, Chunk, Table, check_chunk, deliver, merge
from mltrack_plugin.io.guarded import DamagedError
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]

#: Millimetres in one unit of length.
LENGTH_UNITS = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0}
#: Millimetres that light travels in a nanosecond.
MM_PER_NS = 299.792458


class ReaderConfig(Config):
    """Settings of every reader."""

    path: str
    """File, folder or archive; local, or any URL that fsspec or uproot can open."""
    hits: str = "hits"
    """Event store key of the hits."""
    truth_links: str = "truth_links"
    """Event store key of the truth links."""
    particles: str = "particles"
    """Event store key of the particles."""
    detector: str | None = None
    """Name of the detector, if the file does not state it or states it wrongly."""
    length_unit: Literal["um", "mm", "cm", "m"] = "mm"
    """Unit of the lengths in the file (x, y, z, vx, vy, vz, and time as c t)."""
    read_truth: bool = True
    """Whether truth links and particles are read where the file has them."""
    unknown_particles: Literal["error", "noise", "keep"] = "error"
    """A truth link to a particle that is not in the particle table: makes the event an error, becomes
    noise, or stays.
    """
    noise_particle: int | None = None
    """Particle id that marks noise in the file, beside 0."""
    chunk_bytes: int = Field(16 * 1024**2, ge=1024)
    """Memory for one chunk of events, bytes."""


class ColumnInfo(NamedTuple):
    """One column as the file has it."""

    table: str
    name: str
    type: str


class EventReader(Reader):
    """Base of the readers: a subclass plans chunks in ``initialize`` and reads one chunk at a time.

    ``initialize`` of a subclass opens the input and calls :meth:`_plan`.
    """

    Config: ClassVar[type[Config]] = ReaderConfig
    #: Detector that files of this format come from, if that is certain.
    format_detector: ClassVar[str | None] = None

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._edges: list[int] | None = None
        self._cached: tuple[int, Chunk] | None = None
        self._file_detector: str | None = None
        self._file_dataset: str | None = None
        self._keys: dict[str, str | None] = {}
        # What an input may hold; initialize() finds out what this one does.
        self._declare(truth=True, particles=True)

    @property
    def source(self) -> str:
        """The path as given."""
        return str(self.config.path)

    @property
    def detector(self) -> str | None:
        """Name of the detector from the settings, the file or the format; ``None`` = unknown."""
        return self.config.detector or self._file_detector or self.format_detector

    @property
    def dataset(self) -> str | None:
        """Name of the simulated data set, where the file states it."""
        return self._file_dataset

    def num_events(self) -> int:
        """Number of events in the input."""
        return self._planned()[-1]

    def finalize(self) -> None:
        """Let go of the last chunk; ``initialize`` may be called again."""
        self._cached = None

    def column_info(self) -> list[ColumnInfo]:
        """The columns of the input as they are, for ``mltrack inspect`` (valid after ``initialize``)."""
        return []

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[ReadEvent]:
        """Events ``start <= index < stop`` in input order, read in chunks (see :class:`Reader`)."""
        edges = self._planned()
        end = edges[-1] if stop is None else min(stop, edges[-1])
        start = max(start, 0)
        if start >= end:
            return
        for k in range(bisect.bisect_right(edges, start) - 1, len(edges) - 1):
            if edges[k] >= end:
                return
            yield from deliver(self._chunk(k), self._keys, start, end)

    @abstractmethod
    def _read_chunk(self, first: int, last: int) -> Chunk:
        """Columns of events ``first <= index < last``, with the input's types and units."""

    def _unit_edges(self, first: int, last: int) -> list[int]:
        """Where a chunk falls into parts that can be read one by one: damage in one costs no event of the others."""
        return [first, last]

    def _event_numbers(self, first: int, last: int) -> Array:
        """Event numbers of a range that cannot be read, as far as they are known; else the positions."""
        return np.arange(first, last)

    def _place(self) -> str:
        """File and tree for messages about single events."""
        return self.source

    def _plan(self, edges: list[int], *, truth: bool, particles: bool) -> None:
        """Fix the chunks (``edges`` rise from 0 to the number of events) and declare what is delivered."""
        self._edges = edges if len(edges) > 1 else [0, 0]
        self._cached = None
        self._declare(truth, particles)

    def _declare(self, truth: bool, particles: bool) -> None:
        config: ReaderConfig = self.config
        truth, particles = truth and config.read_truth, particles and config.read_truth
        self._outputs = []
        self.write_handle(Hits, config.hits)
        if truth:
            self.write_handle(TruthLinks, config.truth_links)
        if particles:
            self.write_handle(Particles, config.particles)
        self._keys = {
            "hits": config.hits,
            "truth_links": config.truth_links if truth else None,
            "particles": config.particles if particles else None,
        }

    def _planned(self) -> list[int]:
        if self._edges is None:
            raise ConfigurationError(f"{type(self).__name__}: call initialize() before reading")
        return self._edges

    def _chunk(self, k: int) -> Chunk:
        """Chunk ``k``, checked. The last one is kept: workers ask for it in several short ranges."""
        if self._cached is None or self._cached[0] != k:
            edges = self._planned()
            self._cached = None
            chunk = self._readable(edges[k], edges[k + 1])
            _scale(chunk.hits, LENGTH_UNITS[self.config.length_unit])
            if chunk.particles is not None:
                _scale(chunk.particles, LENGTH_UNITS[self.config.length_unit])
            _mark_noise(chunk.hits, self.config.noise_particle)
            self._cached = (k, check_chunk(chunk, self._place(), self.config.unknown_particles))
        return self._cached[1]

    def _readable(self, first: int, last: int) -> Chunk:
        """As :meth:`_read_chunk`; events whose part of the input is damaged have their error instead of columns."""
        try:
            return self._read_chunk(first, last)
        except DamagedError as error:
            edges = self._unit_edges(first, last)
            if len(edges) > 2:
                return merge([self._readable(a, b) for a, b in itertools.pairwise(edges)])
            numbers = self._event_numbers(first, last)
            errors = {i: EventError(f"event {n}: {error}") for i, n in enumerate(numbers.tolist())}
            nothing = Table({}, np.zeros(last - first + 1, dtype=np.int64))
            return Chunk(first, numbers, nothing, nothing if self._keys["particles"] else None, dict(errors))


def even_edges(n_events: int, events_per_chunk: int) -> list[int]:
    """Chunk edges for ``n_events`` events in chunks of equal length."""
    return [*range(0, n_events, max(1, events_per_chunk)), n_events]


def _scale(table: Table, factor: float) -> None:
    if factor == 1.0:
        return
    for name in LENGTH_COLUMNS & table.columns.keys():
        values = table.columns[name]
        kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
        table.columns[name] = values.astype(kind) * kind.type(factor)


def _mark_noise(hits: Table, noise_particle: int | None) -> None:
    ids = hits.columns.get("particle_id")
    if ids is not None and noise_particle is not None:
        hits.columns["particle_id"] = np.where(ids == noise_particle, ids.dtype.type(0), ids)
