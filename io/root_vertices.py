"""Vertices in this package's own ROOT layout (see docs/formats.md): writer and exact reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mltrack_plugin.errors import EventDataError, InputError
from mltrack_plugin.event_data import Vertices
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io import root_file
from mltrack_plugin.io.root_output import Column
from mltrack_plugin.io.root_writer import Chunk, RootWriter, RootWriterConfig, joined

TREE = "vertices"
_PER_VERTEX = ("z", "z_error", "weight")
_COLUMNS = {"event_number": Column("u8"), **{name: Column("f4", "n_vertices") for name in _PER_VERTEX}}
#: Events decoded at once by the reader.
_READ_EVENTS = 1000


class _Event(NamedTuple):
    event_number: int
    vertices: Vertices


class RootVerticesWriter(RootWriter):
    """Writes vertices: one entry per event, the primary vertex first, the job in ``meta``."""

    format_name: ClassVar[str] = "root-vertices"
    content_name = "mltrack-vertices"

    class Config(RootWriterConfig):
        """Settings."""

        vertices: str = "vertices"
        """Event store key of the vertices (input)."""

    def __init__(self, config: RootWriterConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._vertices = self.read_handle(Vertices, self.config.vertices)

    def _collect(self, event_store: EventStore) -> tuple[_Event, int]:
        vertices = self._vertices(event_store)
        return _Event(event_store.event_number, vertices), 8 + 12 * len(vertices)

    def _schema(self, events: Sequence[_Event]) -> dict[str, dict[str, Column]]:
        return {TREE: _COLUMNS}

    def _chunk(self, events: Sequence[_Event]) -> dict[str, Chunk]:
        values = {name: joined([getattr(e.vertices, name) for e in events], "f4") for name in _PER_VERTEX}
        values["event_number"] = np.array([e.event_number for e in events], dtype=np.uint64)
        return {TREE: Chunk(values, {"n_vertices": np.array([len(e.vertices) for e in events])})}


def read_vertices(path: Path | str) -> Iterator[tuple[int, Vertices]]:
    """Stream the vertices of a file written by :class:`RootVerticesWriter`, event by event.

    Yields:
        event number and vertices, exactly as they were written.

    Raises:
        InputError: if the file is missing, damaged or has another layout; file, tree and event are named.
    """
    with root_file.open_root(str(path)) as file:
        _, tree = root_file.find_tree(file, str(path), [TREE])
        place = f"{path}, tree {TREE!r}"
        branches = root_file.choose_branches(tree, place, {}, _COLUMNS, ())
        for start in range(0, tree.num_entries, _READ_EVENTS):
            stop = min(start + _READ_EVENTS, tree.num_entries)
            arrays = root_file.read_arrays(tree, place, branches, start, stop)
            numbers = root_file.scalars(arrays["event_number"], f"{place}, branch 'event_number'")
            flat, edges = root_file.equal_lists(arrays, _PER_VERTEX, place, numbers)
            for row, number in enumerate(numbers):
                rows = slice(edges[row], edges[row + 1])
                columns = {name: values[rows].astype(np.float32) for name, values in flat.items()}
                try:
                    yield int(number), Vertices(**columns)
                except EventDataError as error:
                    raise InputError(f"{place}, event {number}: {error}") from error
