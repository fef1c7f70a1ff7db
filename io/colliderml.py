"""ColliderML parquet (Open Data Detector), also what ACTS writes: one row per event, list columns.

The path is a ``tracker_hits`` file or a folder of such files. The particles are in the file whose name has
``particles`` in place of ``tracker_hits`` (and ``truth`` in place of ``reco``), beside it or in a folder that is
named so in its turn, or in ``particles_path``.

Hits: x, y, z (digitised), time, volume_id, layer_id, surface_id (-> ``module_id``); early files also have
cell_id, which is not read. ``hit_id`` is the row, from 0, which ``hit_ids`` of the tracks files count.
Particles: the early files lack ``primary`` and the perigee columns, which are not needed. Times are ns in
the files (``time_unit: mm`` for those of ACTS's own writer), mm (c = 1) here.

Particle ids are stored increased by 1, because 0 is a particle there and noise here; "none" (2**64 - 1, or
-1 in early files) becomes 0. Hits of particles that the particle table does not hold (secondaries that were
dropped) keep their id by default.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import InputError
from mltrack_plugin.framework.source import Source
from mltrack_plugin.io import storage
from mltrack_plugin.io.columns import Chunk, Table, align
from mltrack_plugin.io.event_numbers import event_numbers, require_unique
from mltrack_plugin.io.guarded import DamagedError
from mltrack_plugin.io.parquet_file import ParquetInput, flat_column, list_column
from mltrack_plugin.io.reading import MM_PER_NS, ColumnInfo, EventReader, ReaderConfig
from mltrack_plugin.io.root_events import row_numbers
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]

_HITS = {n: n for n in ("x", "y", "z", "time", "volume_id", "layer_id", "particle_id")} | {
    "module_id": "surface_id"
}
_PARTICLES = {n: n for n in ("particle_id", "vx", "vy", "vz", "px", "py", "pz", "pdg_id")} | {
    "q": "charge",
    "nhits": "num_tracker_hits",
}
_OPTIONAL = {"time", "volume_id", "layer_id", "module_id", "particle_id", "pdg_id", "nhits"}


class ColliderMLConfig(ReaderConfig):
    """Settings of the reader of ColliderML files."""

    particles_path: str | None = None
    """File of the particles, if it is not found by its name."""
    time_unit: Literal["ns", "mm"] = "ns"
    """Unit of the times in the files: ns as in the released data, or mm (c = 1) as ACTS has them."""
    unknown_particles: Literal["error", "noise", "keep"] = "keep"
    """See ReaderConfig; the released files drop many secondaries from the particle table."""


@dataclasses.dataclass(slots=True)
class _Part:
    """Some rows of one row group of one file: a chunk."""

    file: int
    row_group: int
    #: Number of batches of the row group before this one.
    batch: int
    rows_per_batch: int


@dataclasses.dataclass(slots=True)
class _Pair:
    """A hits file and its particles file."""

    path: str
    hits: ParquetInput
    hit_fields: dict[str, str]
    event_ids: Array
    particles: ParquetInput | None = None
    particles_path: str = ""
    particle_fields: dict[str, str] = dataclasses.field(default_factory=dict)
    row_of_event: dict[int, int] = dataclasses.field(default_factory=dict)


class ColliderMLReader(EventReader):
    """Reads ColliderML files row group by row group, in batches."""

    Config: ClassVar[type[Config]] = ColliderMLConfig
    format_name = "colliderml"
    format_detector = "odd"

    @classmethod
    def recognises(cls, source: Source) -> float:
        """Parquet with the columns of hits, or a folder with such files by their names."""
        columns = source.parquet_columns
        if {"x", "y", "z"} <= columns and not columns.isdisjoint(("event_id", "surface_id")):
            return 0.8
        return 1.0 if _names_of_hits(source.path, source.names) else 0.0

    def initialize(self) -> None:
        """Open the files.

        Raises:
            InputError: if a file or column is missing or damaged, or there are no events.
        """
        config: ColliderMLConfig = self.config
        paths = self._hit_files()
        self._pairs = [self._open_pair(p) for p in paths]
        if any("event_id" in p.hits.names for p in self._pairs):
            everything = np.concatenate([p.event_ids for p in self._pairs])
            require_unique(everything, f"{config.path}, column 'event_id'", "rows")
        edges = [0]
        self._parts: list[_Part] = []
        for k, pair in enumerate(self._pairs):
            meta = pair.hits.metadata
            for group in range(meta.num_row_groups):
                rows = meta.row_group(group).num_rows
                size = max(1, meta.row_group(group).total_byte_size)
                step = max(1, min(rows, config.chunk_bytes * rows // size))
                for batch, start in enumerate(range(0, rows, step)):
                    self._parts.append(_Part(k, group, batch, step))
                    edges.append(edges[-1] + min(step, rows - start))
        if len(edges) == 1:
            raise InputError(f"{config.path} holds no events")
        self._part_of_edge = dict(zip(edges, self._parts, strict=False))
        self._offset_of_file = np.concatenate([[0], np.cumsum([len(p.event_ids) for p in self._pairs])])
        self._stream: tuple[_Part | None, Any] = (None, None)
        self._particle_rows: tuple[int, int, Any] = (-1, -1, None)
        self._plan(
            edges,
            truth=all("particle_id" in p.hit_fields for p in self._pairs),
            particles=all(p.particles is not None for p in self._pairs),
        )

    def column_info(self) -> list[ColumnInfo]:
        """Columns of the first file and its particles."""
        pair = self._pairs[0]
        info = [ColumnInfo("tracker_hits", f.name, str(f.type)) for f in pair.hits.schema_arrow]
        if pair.particles is not None:
            info += [ColumnInfo("particles", f.name, str(f.type)) for f in pair.particles.schema_arrow]
        return info

    def _hit_files(self) -> list[str]:
        path = self.config.path
        if storage.kind_of(path) == "file":
            return [path]
        folder = storage.open_folder(path)
        names = _names_of_hits(path, folder.names)
        if not names:
            raise InputError(f"{path} holds no events: there is no *tracker_hits*.parquet in it")
        return [folder.path(n) for n in names]

    def _open_pair(self, path: str) -> _Pair:
        file = ParquetInput(path)
        fields = _choose(file, _HITS)
        pair = _Pair(path, file, fields, _event_ids(file))
        particles_path = self.config.particles_path or _particles_beside(path)
        if particles_path is not None and self.config.read_truth:
            pair.particles = ParquetInput(particles_path)
            pair.particles_path = particles_path
            pair.particle_fields = _choose(pair.particles, _PARTICLES)
            ids = _event_ids(pair.particles)
            require_unique(ids, f"{particles_path}, column 'event_id'", "rows")
            pair.row_of_event = {n: i for i, n in enumerate(ids.tolist())}
            lost = [n for n in pair.event_ids.tolist() if n not in pair.row_of_event]
            if lost:
                raise InputError(
                    f"{particles_path} has no row for {len(lost)} events of {path} (first: event_id "
                    f"{lost[0]}); give the right file with particles_path, or read_truth: false"
                )
        return pair

    def _event_numbers(self, first: int, last: int) -> Array:
        part = self._part_of_edge[first]
        offset = int(self._offset_of_file[part.file])
        return self._pairs[part.file].event_ids[first - offset : last - offset]

    def _read_chunk(self, first: int, last: int) -> Chunk:
        part = self._part_of_edge[first]
        pair = self._pairs[part.file]
        batch = self._batch(part)
        offset = int(self._offset_of_file[part.file])
        numbers = pair.event_ids[first - offset : last - offset]
        hits, errors = _table(batch, pair.hit_fields, pair.path, numbers)
        hits.columns["hit_id"] = row_numbers(hits.offsets)
        if "time" in hits.columns and self.config.time_unit == "ns":
            hits.columns["time"] = hits.columns["time"] * MM_PER_NS
        if not self._keys["truth_links"]:
            hits.columns.pop("particle_id", None)
        else:
            hits.columns["particle_id"] = _shifted(hits.columns["particle_id"])
        particles = None
        if self._keys["particles"]:
            particles = self._particles_of(part.file, numbers, errors)
        return Chunk(first, numbers, hits, particles, errors)

    def _batch(self, part: _Part) -> Any:
        """The part's record batch; reading on from the part before it decodes nothing twice."""
        previous, stream = self._stream
        following = previous is not None and dataclasses.replace(previous, batch=previous.batch + 1) == part
        if not following:
            pair = self._pairs[part.file]
            columns = list(pair.hit_fields.values())
            stream = pair.hits.batches(columns, part.rows_per_batch, part.row_group)
            for _ in range(part.batch):
                next(stream, None)
        self._stream = (None, None)
        batch = next(stream, None)
        if batch is None:
            raise DamagedError(f"{self._pairs[part.file].path}, row group {part.row_group} ends too early")
        self._stream = (part, stream)
        return batch

    def _particles_of(self, k: int, numbers: Array, errors: dict[int, Exception]) -> Table:
        """Particles of the events with these numbers, in this order."""
        pair = self._pairs[k]
        assert pair.particles is not None
        rows = [pair.row_of_event[n] for n in numbers.tolist()]
        tables = []
        ends = pair.particles.ends
        for row in rows:
            group = int(np.searchsorted(ends, row, side="right"))
            if self._particle_rows[:2] != (k, group):
                table = pair.particles.read(list(pair.particle_fields.values()), [group])
                self._particle_rows = (k, group, table.combine_chunks())
            start = row - (int(ends[group - 1]) if group else 0)
            tables.append(self._particle_rows[2].slice(start, 1))
        counts: list[int] = []
        columns: dict[str, list[Array]] = {f: [] for f in pair.particle_fields}
        for i, one in enumerate(tables):
            batch = one.to_batches()[0]
            table, problems = _table(batch, pair.particle_fields, pair.particles_path, numbers[i : i + 1])
            if problems:
                errors.setdefault(i, problems[0])
            counts.append(int(table.offsets[-1]))
            for field, values in table.columns.items():
                columns[field].append(values)
        joined = {f: np.concatenate(v) for f, v in columns.items()}
        joined["particle_id"] = _shifted(joined["particle_id"])
        return Table(joined, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


def _choose(file: ParquetInput, fields: dict[str, str]) -> dict[str, str]:
    file.require([c for f, c in fields.items() if f not in _OPTIONAL])
    return {f: c for f, c in fields.items() if c in file.names}


def _event_ids(file: ParquetInput) -> Array:
    if "event_id" not in file.names:
        return np.arange(file.metadata.num_rows)
    place = f"{file.path}, column 'event_id'"
    return event_numbers(flat_column(file.read(["event_id"]), "event_id", file.path), place)


def _names_of_hits(path: str, names: Iterable[str]) -> list[str]:
    """The Parquet files of hits in a folder: by their names, or all if the folder's name says so."""
    found = [n for n in names if n.endswith(".parquet")]
    named = [n for n in found if "tracker_hits" in n]
    folder = path.rstrip("/").rsplit("/", 1)[-1]
    return named or (found if "tracker_hits" in folder else [])


def _particles_beside(path: str) -> str | None:
    """The particles file that belongs to a hits file by its name, or by that of its folders, if it exists."""
    if "tracker_hits" not in path:
        return None
    name = path.rsplit("/", 1)[-1]
    if "tracker_hits" in name:
        there = set(storage.sibling_names(path))
        plain = name.replace("tracker_hits", "particles")
        for candidate in (plain.replace("reco.", "truth."), plain):
            if candidate in there:
                return storage.sibling(path, candidate)
    # Released data sets, and ACTS, keep particles in a folder of their own, in files of the same names.
    other = path.replace("tracker_hits", "particles")
    return other if other.rsplit("/", 1)[-1] in storage.sibling_names(other) else None


def _table(
    batch: Any, fields: dict[str, str], path: str, numbers: Array
) -> tuple[Table, dict[int, Exception]]:
    flat = {f: list_column(batch.column(c), f"{path}, column {c!r}") for f, c in fields.items()}
    return align(flat, fields, path, numbers)


def _shifted(ids: Array) -> Array:
    """Ids increased by 1 modulo 2**64: "none" (all bits set) becomes 0, the mark of noise."""
    return ids.astype(np.uint64) + np.uint64(1)
