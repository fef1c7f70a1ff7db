"""Two ways in which ROOT trees hold events: one entry per hit, and one entry per event beside such a tree."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import InputError
from mltrack_plugin.io.columns import Table
from mltrack_plugin.io.event_numbers import ADVICE, event_numbers, require_unique
from mltrack_plugin.io.root_file import flatten, jagged_table, read_arrays, scalars

Array = npt.NDArray[Any]

#: Entries read at once while a flat tree is searched for its events.
_SCAN_ENTRIES = 2_000_000


@dataclasses.dataclass(slots=True)
class FlatTree:
    """A tree with one entry per hit and a branch that tells the event; memory grows with the events only."""

    tree: Any
    place: str
    #: (n_events,) event numbers in order of their first entry.
    numbers: Array
    #: (n_events,) entry ranges.
    starts: Array
    stops: Array

    @classmethod
    def scan(cls, tree: Any, place: str, event_branch: str) -> FlatTree:
        """Find the events of a flat tree.

        Raises:
            InputError: if an event number is none, or the entries of an event do not lie together.
        """
        column = f"{place}, branch {event_branch!r}"
        n = int(tree.num_entries)
        heads, head_numbers = [], []
        previous = None
        for start in range(0, n, _SCAN_ENTRIES):
            array = read_arrays(tree, place, [event_branch], start, min(n, start + _SCAN_ENTRIES))
            ids = event_numbers(scalars(array[event_branch], column), column)
            new = np.flatnonzero(ids[1:] != ids[:-1]) + 1
            if previous is None or ids[0] != previous:
                new = np.append(0, new)
            heads.append(new + start)
            head_numbers.append(ids[new])
            previous = ids[-1]
        starts = np.concatenate(heads) if heads else np.empty(0, dtype=np.int64)
        numbers = np.concatenate(head_numbers) if heads else np.empty(0, dtype=np.int64)
        stops = np.append(starts[1:], n) if len(starts) else starts
        unique, first, counts = np.unique(numbers, return_index=True, return_counts=True)
        if len(unique) != len(numbers):
            number = numbers[first[counts > 1].min()]
            runs = np.flatnonzero(numbers == number)
            raise InputError(
                f"{column}: event {number}: its entries lie in {len(runs)} separate blocks (the second begins "
                f"at entry {starts[runs[1]]}; {int((counts > 1).sum())} of {len(unique)} events are like "
                f"this). {ADVICE}; if the entries are out of order, sort them by {event_branch!r}"
            )
        return cls(tree, place, numbers, starts, stops)

    def edges(self, entries_per_chunk: int) -> list[int]:
        """Chunk edges in events, for chunks of about so many entries."""
        edges = [0]
        while edges[-1] < len(self.numbers):
            limit = self.starts[edges[-1]] + entries_per_chunk
            edges.append(max(edges[-1] + 1, int(np.searchsorted(self.stops, limit, side="right"))))
        return edges if len(edges) > 1 else [0, 0]

    def read(self, branches: Iterable[str], first: int, last: int) -> tuple[dict[str, ak.Array], Array]:
        """Branches of events ``first <= i < last`` one after the other, and the events' offsets."""
        begin, end = int(self.starts[first]), int(self.stops[last - 1])
        array = read_arrays(self.tree, self.place, branches, begin, end)
        return {b: array[b] for b in branches}, np.append(self.starts[first:last], end) - begin

    def read_scalars(self, branches: Iterable[str], first: int, last: int) -> tuple[dict[str, Array], Array]:
        """As :meth:`read` for branches with one number per hit."""
        arrays, offsets = self.read(branches, first, last)
        return {b: scalars(a, f"{self.place}, branch {b!r}") for b, a in arrays.items()}, offsets


@dataclasses.dataclass(slots=True)
class EventTree:
    """A tree with one entry per event, looked up by event number."""

    tree: Any
    place: str
    entry_of: dict[int, int]

    @classmethod
    def scan(cls, tree: Any, place: str, event_branch: str) -> EventTree:
        """Read the event numbers.

        Raises:
            InputError: if an event number is none, or is that of several entries.
        """
        column, n = f"{place}, branch {event_branch!r}", int(tree.num_entries)
        if n == 0:
            return cls(tree, place, {})
        ids = scalars(read_arrays(tree, place, [event_branch], 0, n)[event_branch], column)
        require_unique(ids := event_numbers(ids, column), column)
        return cls(tree, place, {number: i for i, number in enumerate(ids.tolist())})

    def read(self, fields: Mapping[str, str], numbers: Array) -> Table:
        """Jagged branches of the events with these numbers; events without an entry are empty."""
        entries = [self.entry_of.get(number, -1) for number in numbers.tolist()]
        parts: list[Table] = []
        i = 0
        while i < len(entries):
            j = i + 1
            if entries[i] < 0:
                parts.append(Table({}, np.zeros(2, dtype=np.int64)))
                i = j
                continue
            while j < len(entries) and entries[j] == entries[j - 1] + 1:
                j += 1
            array = read_arrays(self.tree, self.place, fields.values(), entries[i], entries[j - 1] + 1)
            table, errors = jagged_table(array, fields, self.place, numbers[i:j])
            if errors:
                raise InputError(str(next(iter(errors.values()))))
            parts.append(table)
            i = j
        counts = np.concatenate([np.diff(p.offsets) for p in parts])
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        filled = [p for p in parts if p.columns]
        columns = {n: np.concatenate([p.columns[n] for p in filled]) for n in fields} if filled else {}
        if not filled:
            columns = {n: np.empty(0, dtype=np.uint64) for n in fields}
        return Table(columns, offsets)


def first_of_each(array: ak.Array, place: str) -> Array:
    """The first number of each list, 0 where a list is empty."""
    values, offsets = flatten(array, place)
    if not len(values):
        return np.zeros(len(offsets) - 1, dtype=np.uint64)
    filled = np.diff(offsets) > 0
    return np.where(filled, values[np.minimum(offsets[:-1], len(values) - 1)], values.dtype.type(0))
