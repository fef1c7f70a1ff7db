"""TrackML events as flat Parquet tables with truth: one row per hit, with the columns of its particle.

Columns: event_id, hit_id, x, y, z, volume_id, layer_id, module_id, particle_id, vx, vy, vz, px, py, pz, q,
nhits; others are ignored. The path is a file, or a folder with files named ``*labelled*.parquet``.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventError, InputError
from mltrack_plugin.framework.source import Source
from mltrack_plugin.io import parquet_file, storage
from mltrack_plugin.io.columns import Chunk, Table
from mltrack_plugin.io.event_numbers import ADVICE, event_numbers, require_unique
from mltrack_plugin.io.guarded import DamagedError
from mltrack_plugin.io.reading import ColumnInfo, EventReader

Array = npt.NDArray[Any]

_HITS = ("hit_id", "x", "y", "z", "volume_id", "layer_id", "module_id", "particle_id")
_KINEMATICS = ("vx", "vy", "vz", "px", "py", "pz", "q", "nhits")
REQUIRED = ("event_id", *_HITS, *_KINEMATICS)


class TrackmlParquetReader(EventReader):
    """Reads labelled TrackML tables, one file at a time."""

    format_name = "trackml-parquet"
    format_detector = "trackml"

    @classmethod
    def recognises(cls, source: Source) -> float:
        """Parquet with hits and their particles, or a folder with such files by their names."""
        if {"hit_id", "x", "particle_id"} <= source.parquet_columns:
            return 0.9
        return 0.6 if any("labelled" in n and n.endswith(".parquet") for n in source.names) else 0.0

    def initialize(self) -> None:
        """Open the files and find the events.

        Raises:
            InputError: if a file or column is missing or damaged, or there are no events.
        """
        path = self.config.path
        paths = [path]
        if storage.kind_of(path) == "folder":
            folder = storage.open_folder(path)
            paths = [folder.path(n) for n in folder.names if "labelled" in n and n.endswith(".parquet")]
        self._files = {p: parquet_file.ParquetInput(p) for p in paths}
        self._path_of_edge: dict[int, str] = {}
        edges, numbers = [0], []
        for file_path, file in self._files.items():
            file.require(REQUIRED)
            place = f"{file_path}, column 'event_id'"
            events = event_numbers(self._columns(file_path, ["event_id"])["event_id"], place)
            if len(events):
                self._path_of_edge[edges[-1]] = file_path
                heads = _heads(events)
                numbers.append(np.unique(events[heads]))
                if len(numbers[-1]) != len(heads):
                    self._check_rows(file_path, events)
                edges.append(edges[-1] + len(numbers[-1]))
        if len(edges) == 1:
            raise InputError(f"{path} holds no events")
        require_unique(np.concatenate(numbers), f"{path}, column 'event_id'", "files")
        self._plan(edges, truth=True, particles=True)

    def _check_rows(self, path: str, events: Array) -> None:
        """Refuse a file whose events are not together because several events have the same number."""
        hit_id = self._columns(path, ["hit_id"])["hit_id"]
        order = np.lexsort((hit_id, events))
        again = np.flatnonzero((np.diff(events[order]) == 0) & (np.diff(hit_id[order]) == 0))
        if len(again):
            row = order[again[0]]
            raise InputError(
                f"{path}, column 'event_id': the rows of event {events[row]} do not lie together and have "
                f"hit_id {hit_id[row]} more than once. {ADVICE}"
            )

    def column_info(self) -> list[ColumnInfo]:
        """Columns of the first file."""
        path, file = next(iter(self._files.items()))
        return [ColumnInfo(path.rsplit("/", 1)[-1], f.name, str(f.type)) for f in file.schema_arrow]

    def _columns(self, path: str, names: list[str], row_group: int | None = None) -> dict[str, Array]:
        table = self._files[path].read(names, None if row_group is None else [row_group])
        return {n: parquet_file.flat_column(table, n, path) for n in names}

    def _good_row_groups(self, path: str) -> tuple[dict[str, Array], Array, InputError | None]:
        """Columns of all rows, which of them are from row groups that can be read, and what is wrong with the first
        of the others, whose rows are zeros but for the event.
        """
        try:
            columns = self._columns(path, list(REQUIRED))
            return columns, np.ones(len(columns["event_id"]), dtype=bool), None
        except DamagedError as error:
            damage = error
        parts, good = [], []
        for group in range(len(self._files[path].ends)):
            try:
                parts.append(self._columns(path, list(REQUIRED), group))
                good.append(np.ones(len(parts[-1]["event_id"]), dtype=bool))
            except DamagedError as error:
                damage = error
                ids = self._columns(path, ["event_id"], group)
                n = len(ids["event_id"])
                kinds = {name: self._files[path].schema_arrow.field(name).type for name in REQUIRED}
                parts.append(
                    {name: np.zeros(n, kind.to_pandas_dtype()) for name, kind in kinds.items()} | ids
                )
                good.append(np.zeros(n, dtype=bool))
        return {n: np.concatenate([p[n] for p in parts]) for n in REQUIRED}, np.concatenate(good), damage

    def _read_chunk(self, first: int, last: int) -> Chunk:
        columns, good, damage = self._good_row_groups(self._path_of_edge[first])
        events = event_numbers(columns["event_id"], self.source)
        heads = _heads(events)
        if len(np.unique(events[heads])) != len(heads):
            # The rows of an event keep their order; events come in that of their numbers.
            order = np.argsort(events, kind="stable")
            columns = {n: values[order] for n, values in columns.items()}
            events, good = events[order], good[order]
            heads = _heads(events)
        offsets = np.append(heads, len(events)).astype(np.int64)
        names = [n for n in _HITS if n != "particle_id" or self._keys["truth_links"]]
        hits = Table({n: columns[n] for n in names}, offsets)
        particles = _first_rows(columns, offsets) if self._keys["particles"] else None
        errors: dict[int, Exception] = {
            i: EventError(f"event {events[heads[i]]}: {damage}")
            for i in np.flatnonzero(~np.logical_and.reduceat(good, heads)).tolist()
        }
        return Chunk(first, events[heads], hits, particles, errors)


def _heads(events: Array) -> Array:
    """First row of each run of equal event numbers."""
    return np.append(0, np.flatnonzero(events[1:] != events[:-1]) + 1)


def _first_rows(columns: dict[str, Array], offsets: Array) -> Table:
    """Particles from the first hit of each, in order of their ids."""
    rows = []
    for start, stop in pairwise(offsets.tolist()):
        ids, first = np.unique(columns["particle_id"][start:stop], return_index=True)
        rows.append(first[ids != 0] + start)
    picked = np.concatenate(rows)
    counts = [len(r) for r in rows]
    particles = {n: columns[n][picked] for n in ("particle_id", *_KINEMATICS)}
    return Table(particles, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
