"""Columns of many events at once, checked vectorised and handed out event by event.

Readers fill a :class:`Chunk` with the columns of a few hundred events; :func:`check_chunk` finds the events
that violate the event data contract with array operations over the whole chunk, and :func:`deliver` slices
the good ones without validating them again. A bad event goes through the ordinary validating constructors,
so that its error has the same words as anywhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError, EventError, InputError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.framework.algorithm import ReadEvent

Array = npt.NDArray[Any]

#: Columns of a hit table and their types; ``particle_id`` and ``weight`` become TruthLinks.
HIT_COLUMNS: dict[str, npt.DTypeLike] = {
    "hit_id": np.uint64,
    "x": np.float32,
    "y": np.float32,
    "z": np.float32,
    "time": np.float32,
    "volume_id": np.int32,
    "layer_id": np.int32,
    "module_id": np.int32,
    "geometry_id": np.uint64,
    "particle_id": np.uint64,
    "weight": np.float32,
}
TRUTH_COLUMNS = ("particle_id", "weight")

#: Columns of a particle table and their types.
PARTICLE_COLUMNS: dict[str, npt.DTypeLike] = {
    "particle_id": np.uint64,
    **dict.fromkeys(("vx", "vy", "vz", "px", "py", "pz", "q"), np.float32),
    "nhits": np.int32,
    "pdg_id": np.int32,
}
REQUIRED_PARTICLE_COLUMNS = ("particle_id", "vx", "vy", "vz", "px", "py", "pz", "q")

#: Columns that carry a length and are multiplied by the length unit.
LENGTH_COLUMNS = frozenset({"x", "y", "z", "time", "vx", "vy", "vz"})


@dataclasses.dataclass(slots=True)
class Table:
    """Rows of several events, one event after the other."""

    #: Flat columns of equal length, by field name.
    columns: dict[str, Array]
    #: (n_events + 1,) int64; event i owns rows ``offsets[i]:offsets[i + 1]``.
    offsets: Array

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def event(self, i: int, names: tuple[str, ...] | None = None) -> dict[str, Array]:
        """Columns of event ``i`` (all, or those of ``names`` that are there)."""
        rows = slice(int(self.offsets[i]), int(self.offsets[i + 1]))
        return {k: v[rows] for k, v in self.columns.items() if names is None or k in names}


@dataclasses.dataclass(slots=True)
class Chunk:
    """A few consecutive events."""

    #: Position of the first event in the input.
    first: int
    #: (n_events,) numbers of the events in the input.
    event_numbers: Array
    hits: Table
    particles: Table | None = None
    #: What is wrong with an event (by position in the chunk), found while reading it.
    errors: dict[int, Exception] = dataclasses.field(default_factory=dict)


def join(tables: list[dict[str, Array]]) -> Table:
    """One table from the columns of single events; all have the same names."""
    counts = [len(next(iter(t.values()))) if t else 0 for t in tables]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    filled = [t for t in tables if t]
    if not filled:
        return Table({}, offsets)
    names = [n for n in filled[0] if all(n in t for t in filled)]
    return Table({n: np.concatenate([t[n] for t in filled]) for n in names}, offsets)


def merge(chunks: list[Chunk]) -> Chunk:
    """One chunk from consecutive ones; tables without columns have no rows."""
    errors: dict[int, Exception] = {}
    position = 0
    for chunk in chunks:
        errors |= {position + i: error for i, error in chunk.errors.items()}
        position += len(chunk.event_numbers)
    particles = [c.particles for c in chunks if c.particles is not None]
    return Chunk(
        chunks[0].first,
        np.concatenate([c.event_numbers for c in chunks]),
        _stacked([c.hits for c in chunks]),
        _stacked(particles) if particles else None,
        errors,
    )


def _stacked(tables: list[Table]) -> Table:
    filled = [t for t in tables if t.columns]
    names = [n for n in filled[0].columns if all(n in t.columns for t in filled)] if filled else []
    counts = np.concatenate([np.diff(t.offsets) for t in tables])
    columns = {n: np.concatenate([t.columns[n] for t in filled]) for n in names}
    return Table(columns, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def align(
    flat: Mapping[str, tuple[Array, Array]], label: Mapping[str, str], place: str, numbers: Array
) -> tuple[Table, dict[int, Exception]]:
    """One table from columns with offsets of their own.

    Events whose columns differ in length are emptied and reported.

    Args:
        flat: column -> (values, offsets).
        label: column -> what it is called in the file, for messages.
        place: file and tree for messages.
        numbers: event numbers, for messages.
    """
    names = list(flat)
    counts = {n: np.diff(flat[n][1]) for n in names}
    first = counts[names[0]]
    good = np.ones(len(first), dtype=bool)
    errors: dict[int, Exception] = {}
    for n in names[1:]:
        for i in np.flatnonzero(counts[n] != first).tolist():
            good[i] = False
            errors[i] = EventError(
                f"{place}, event {numbers[i]}: {label[n]!r} has {counts[n][i]} entries, "
                f"{label[names[0]]!r} has {first[i]}"
            )
    columns = {n: values for n, (values, _) in flat.items()}
    if errors:
        columns = {n: values[np.repeat(good, counts[n])] for n, values in columns.items()}
        first = np.where(good, first, 0)
    return Table(columns, np.concatenate([[0], np.cumsum(first)]).astype(np.int64)), errors


def check_chunk(chunk: Chunk, place: str, unknown_particles: str = "error") -> Chunk:
    """Convert all columns to their types and find every event that breaks the event data contract.

    Args:
        chunk: what was read; its columns may still have the input's types.
        place: file and tree for messages.
        unknown_particles: ``"error"``: a truth link to a particle that is not in the particle table makes the
            event an error; ``"noise"``: such links become 0; ``"keep"``: they stay.

    Returns:
        The chunk with typed read-only columns and ``errors`` complete.

    Raises:
        InputError: if a column cannot have the type it needs (ids stored as floating point numbers).
    """
    errors = dict(chunk.errors)
    surface = chunk.hits.columns.get("geometry_id")
    if surface is not None and surface.dtype == np.int64:
        # The bits of ACTS's unsigned ids, as programs without unsigned integers store them.
        chunk.hits.columns["geometry_id"] = surface.view(np.uint64)
    hits, bad = _typed(chunk.hits, HIT_COLUMNS, place)
    particles = None
    if chunk.particles is not None:
        particles, bad_particles = _typed(chunk.particles, PARTICLE_COLUMNS, place)
        bad |= bad_particles
        if "particle_id" in particles.columns:
            bad |= _events_of(np.flatnonzero(particles.columns["particle_id"] == 0), particles.offsets)
            bad |= _events_with_repeats(particles.columns["particle_id"], particles.offsets)
    for name in ("x", "y", "z"):
        values = hits.columns.get(name)
        # The extremes are NaN or infinite if anything is, and cost less than a look at every value.
        if values is not None and len(values) and not np.isfinite([values.min(), values.max()]).all():
            bad |= _events_of(np.flatnonzero(~np.isfinite(values)), hits.offsets)
    if "hit_id" in hits.columns:
        bad |= _events_with_repeats(hits.columns["hit_id"], hits.offsets)
    if "weight" in hits.columns:
        weight = hits.columns["weight"]
        bad |= _events_of(np.flatnonzero(~((weight >= 0) & (weight < np.inf))), hits.offsets)
    for i in sorted(bad - errors.keys()):
        errors[i] = _explain(chunk, i, place)
    if particles is not None and "particle_id" in hits.columns and unknown_particles != "keep":
        orphans = _orphans(hits, particles)
        if len(orphans) and unknown_particles == "noise":
            ids = hits.columns["particle_id"].copy()
            ids[orphans] = 0
            ids.flags.writeable = False
            hits.columns["particle_id"] = ids
        elif len(orphans):
            ids = hits.columns["particle_id"]
            rows_event = np.searchsorted(hits.offsets, orphans, side="right") - 1
            for i in sorted({int(e) for e in rows_event} - errors.keys()):
                rows = orphans[rows_event == i]
                errors[i] = EventError(
                    f"{place}, event {chunk.event_numbers[i]}: the truth of {len(rows)} hits points to "
                    f"particles that are not in the particle table (first: particle_id {ids[rows[0]]}). Set "
                    "unknown_particles to 'noise' to treat these hits as noise, or to 'keep' to keep "
                    "their ids"
                )
    return Chunk(chunk.first, chunk.event_numbers, hits, particles, errors)


def deliver(chunk: Chunk, keys: Mapping[str, str | None], start: int, stop: int) -> Iterator[ReadEvent]:
    """Events ``start <= index < stop`` (positions in the input) of a checked chunk.

    Args:
        chunk: the result of :func:`check_chunk`.
        keys: event store keys of "hits", "truth_links" and "particles"; ``None`` = not wanted.
    """
    first, last = max(start - chunk.first, 0), min(stop - chunk.first, len(chunk.event_numbers))
    columns = chunk.hits.columns
    space = [(n, columns[n]) for n in HIT_COLUMNS if n in columns and n not in TRUTH_COLUMNS]
    truth = [(n, columns[n]) for n in TRUTH_COLUMNS if n in columns]
    kinematics: list[tuple[str, Array]] = []
    hits_rows = particle_rows = _slices(chunk.hits.offsets)
    if chunk.particles is not None:
        there = chunk.particles.columns
        kinematics = [(n, there[n]) for n in PARTICLE_COLUMNS if n in there]
        particle_rows = _slices(chunk.particles.offsets)
    hits_key, truth_key, particles_key = keys["hits"], keys["truth_links"], keys["particles"]
    numbers = chunk.event_numbers.tolist()
    for i in range(first, last):
        collections: dict[str, Any] = {}
        error = chunk.errors.get(i)
        if error is None:
            rows = hits_rows[i]
            if hits_key is not None:
                collections[hits_key] = Hits.trusted({n: c[rows] for n, c in space})
            if truth_key is not None:
                collections[truth_key] = TruthLinks.trusted({n: c[rows] for n, c in truth})
            if particles_key is not None:
                rows = particle_rows[i]
                collections[particles_key] = Particles.trusted({n: c[rows] for n, c in kinematics})
        yield ReadEvent(chunk.first + i, numbers[i], collections, error)


def _slices(offsets: Array) -> list[slice]:
    edges = offsets.tolist()
    return list(map(slice, edges[:-1], edges[1:]))


def _typed(table: Table, types: Mapping[str, npt.DTypeLike], place: str) -> tuple[Table, set[int]]:
    """Typed read-only columns, and the events with an id that its type cannot hold."""
    bad: set[int] = set()
    columns = {}
    for name, values in table.columns.items():
        wanted = np.dtype(types[name])
        if wanted.kind in "iu" and values.size and values.dtype.kind not in "iub":
            raise InputError(
                f"{place}: column {name!r} holds {values.dtype}, integers are needed; 64-bit ids lose "
                "digits as floating point numbers"
            )
        if wanted.kind in "iu" and not np.can_cast(values.dtype, wanted) and values.size:
            limits = np.iinfo(wanted)
            # Python's integers compare exactly where NumPy's of different types would be made floating point.
            if int(values.min()) < limits.min or int(values.max()) > limits.max:
                beyond = [not limits.min <= value <= limits.max for value in values.tolist()]
                bad |= _events_of(np.flatnonzero(beyond), table.offsets)
        # A double beyond float32 becomes infinite and is reported as such.
        with np.errstate(over="ignore", invalid="ignore"):
            typed = values.astype(wanted, copy=False)
        if typed.flags.writeable:
            typed = typed.view()
            typed.flags.writeable = False
        columns[name] = typed
    return Table(columns, table.offsets), bad


def _events_of(rows: Array, offsets: Array) -> set[int]:
    """Events that own these rows."""
    return set(np.unique(np.searchsorted(offsets, rows, side="right") - 1).tolist()) if len(rows) else set()


def _events_with_repeats(ids: Array, offsets: Array) -> set[int]:
    """Events in which an id occurs twice; ascending ids, the usual case, cost one comparison."""
    falling = np.flatnonzero(ids[1:] <= ids[:-1]) + 1
    if not len(falling):
        return set()
    if np.array_equal(falling, offsets[1:-1]):
        return set()
    inner = falling[~np.isin(falling, offsets)]
    return {
        i
        for i in _events_of(inner, offsets)
        if len(np.unique(ids[offsets[i] : offsets[i + 1]])) != offsets[i + 1] - offsets[i]
    }


def _orphans(hits: Table, particles: Table) -> Array:
    """Rows of hits whose particle is not in the particle table of their event (0 = noise never counts)."""
    ids = hits.columns["particle_id"]
    known = particles.columns["particle_id"]
    found = []
    start = 0
    while start < len(hits):
        # Blocks of events small enough for the processor's cache.
        limit = hits.offsets[start] + 65536
        stop = max(start + 1, int(np.searchsorted(hits.offsets, limit, side="right")) - 1)
        a, b = int(hits.offsets[start]), int(hits.offsets[stop])
        c, d = int(particles.offsets[start]), int(particles.offsets[stop])
        block = _orphans_in_block(
            ids[a:b], hits.offsets[start : stop + 1] - a, known[c:d], particles.offsets[start : stop + 1] - c
        )
        if len(block):
            found.append(block + a)
        start = stop
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)


def _consecutive(ids: Array, offsets: Array) -> bool:
    """Whether the ids of every event are consecutive numbers."""
    jumps = np.flatnonzero(ids[1:] - ids[:-1] != 1) + 1
    return bool(np.isin(jumps, offsets).all())


def _orphans_in_block(ids: Array, offsets: Array, known: Array, known_offsets: Array) -> Array:
    """As :func:`_orphans` for a few events.

    Hash tables of (event, particle) keys settle almost all hits in a few passes; the rest, real orphans
    among them, is looked up event by event. Keys are 64-bit hashes themselves: an orphan is overlooked if
    its key equals that of a particle of another event in the block, about once in 1e15 orphans.
    """
    if len(known) == 0:
        return np.flatnonzero(ids)
    if _consecutive(known, known_offsets):
        n_particles = np.diff(known_offsets)
        first = known[np.minimum(known_offsets[:-1], len(known) - 1)]
        # Ids below the first wrap around to very large numbers.
        position = ids - np.repeat(first, np.diff(offsets))
        return np.flatnonzero(
            (position >= np.repeat(n_particles.astype(np.uint64), np.diff(offsets))) & (ids != 0)
        )
    # An event's number, spread over all bits, makes equal ids of different events different keys.
    salt = np.arange(1, len(offsets), dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
    known_keys = known ^ np.repeat(salt, np.diff(known_offsets))
    keys = ids ^ np.repeat(salt, np.diff(offsets))
    bits = max(4, (8 * len(known)).bit_length())
    rows: Array = np.flatnonzero(ids)
    if len(rows) != len(ids):
        keys = keys[rows]
    for factor in _HASH_FACTORS:
        table = np.zeros(1 << bits, dtype=np.uint64)
        shift = np.uint64(64 - bits)
        table[(known_keys * factor) >> shift] = known_keys
        unsettled = np.flatnonzero(table[(keys * factor) >> shift] != keys)
        if not len(unsettled):
            return unsettled
        rows, keys = rows[unsettled], keys[unsettled]
    event_of_row = np.searchsorted(offsets, rows, side="right") - 1
    events, starts = np.unique(event_of_row, return_index=True)
    missing = []
    for i, part in zip(events.tolist(), np.split(rows, starts[1:]), strict=True):
        missing.append(part[~np.isin(ids[part], known[known_offsets[i] : known_offsets[i + 1]])])
    return np.concatenate(missing)


#: Odd factors of multiplicative hashing (Knuth, TAOCP 6.4; 64-bit mixing constants of MurmurHash3 and
#: xxHash).
_HASH_FACTORS = tuple(
    np.uint64(f) for f in (0x9E3779B97F4A7C15, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53, 0x9FB21C651E98DF25)
)


def noise_advice(particle_id: Any) -> str:
    """How to read files that mark noise by an id of their own."""
    return f"If it marks noise, say so with reader: {{noise_particle: {particle_id}}}"


def _explain(chunk: Chunk, i: int, place: str) -> EventError:
    """The error that the validating constructors raise for event ``i``."""
    where = f"{place}, event {chunk.event_numbers[i]}"
    names = tuple(n for n in HIT_COLUMNS if n not in TRUTH_COLUMNS)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            Hits(**chunk.hits.event(i, names))
            if truth := chunk.hits.event(i, TRUTH_COLUMNS):
                TruthLinks(**truth)
            if chunk.particles is not None:
                Particles(**chunk.particles.event(i, tuple(PARTICLE_COLUMNS)))
    except EventDataError as error:
        ids = chunk.hits.event(i, ("particle_id",)).get("particle_id", np.zeros(0))
        hint = f". {noise_advice(ids.min())}" if len(ids) and ids.min() < 0 else ""
        return EventError(f"{where}: {error}{hint}")
    raise AssertionError(f"{where}: the check of the chunk and of the event disagree")
