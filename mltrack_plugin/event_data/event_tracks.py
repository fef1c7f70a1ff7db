"""Tracks of many events, in memory or streamed from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, data_frame
from mltrack_plugin.event_data.tracks import PER_HIT, PERIGEE_PARAMETERS, TRACK_COLUMNS, ProtoTracks, Tracks
from mltrack_plugin.reprs import counted, html_table, text_table

if TYPE_CHECKING:
    import awkward as ak

#: Events that a ``repr`` lists.
_SHOWN = 10
#: Columns that are never absent.
_ALWAYS = {ProtoTracks: ("hit_indices",), Tracks: ("hit_indices", *PERIGEE_PARAMETERS, "chi2", "ndf")}


class EventTracks:
    """The tracks of several events: iterating gives ``(event number, Tracks)``, ``[number]`` those of one event.

    Args:
        stream: called for each pass over the events; gives event numbers and tracks.
        source: where they come from, for messages.
    """

    def __init__(
        self, stream: Callable[[], Iterator[tuple[int, ProtoTracks]]], source: str = "memory"
    ) -> None:
        self._stream = stream
        self.source = source

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        return self._stream()

    @cached_property
    def _counts(self) -> list[tuple[int, int]]:
        """Number of each event, and how many tracks it has."""
        return [(number, len(tracks)) for number, tracks in self]

    @property
    def event_numbers(self) -> list[int]:
        """Numbers of the events in their order."""
        return [number for number, _ in self._counts]

    def __len__(self) -> int:
        """Number of events."""
        return len(self._counts)

    def __getitem__(self, event_number: int) -> Any:
        """Tracks of the event with this number.

        Raises:
            EventDataError: if there is no such event, or two have this number.
        """
        found = [tracks for number, tracks in self if number == event_number]
        if len(found) != 1:
            numbers = self.event_numbers
            there = f"numbers from {min(numbers)} to {max(numbers)}" if numbers else "no events"
            raise EventDataError(
                f"{self.source}: {len(found) or 'no'} events have the number {event_number}; there are {there}"
            )
        return found[0]

    def to_awkward(self) -> ak.Array:
        """One record per event: ``event_number`` and the list of its ``tracks``, as ``Tracks.to_awkward`` gives them.

        A column that only some events have is NaN in the others.
        """
        import awkward as ak

        events = list(self)
        numbers = np.array([number for number, _ in events], dtype=np.int64)
        counts = np.array([len(tracks) for _, tracks in events], dtype=np.int64)
        records = ak.unflatten(_joined([tracks for _, tracks in events]).to_awkward(), counts)
        return ak.zip({"event_number": numbers, "tracks": records}, depth_limit=1)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame`` with one row per track: ``event_number``, ``track`` (its place in the event) and the
        columns of ``Tracks.to_pandas``.

        Raises:
            MissingExtraError: without pandas, with the install line.
        """
        events = list(self)
        counts = [len(tracks) for _, tracks in events]
        tracks = np.concatenate([np.arange(n) for n in counts]) if counts else np.zeros(0, np.int64)
        numbers = np.repeat(np.array([number for number, _ in events], dtype=np.int64), counts)
        joined = _joined([tracks for _, tracks in events])
        return data_frame({"event_number": numbers, "track": tracks, **joined._table()})

    def _headline(self) -> str:
        n_tracks = sum(n for _, n in self._counts)
        return f"tracks of {counted(len(self), 'event')}: {counted(n_tracks, 'track')} ({self.source})"

    def _rows(self) -> list[tuple[str, str]]:
        rows = [(f"event {number}", counted(n, "track")) for number, n in self._counts[:_SHOWN]]
        return [*rows, ("...", "")] if len(self) > _SHOWN else rows

    def __repr__(self) -> str:
        rows = self._rows()
        return self._headline() + ("\n" + text_table(rows, indent="  ") if rows else "")

    def _repr_html_(self) -> str:
        return html_table(self._headline(), self._rows())


def _joined(events: list[Any]) -> ProtoTracks:
    """Tracks of all events one after the other, not in canonical order: for conversions only."""
    kind = Tracks if all(isinstance(tracks, Tracks) for tracks in events) else ProtoTracks
    n_hits = [np.zeros(0, np.int64), *(tracks.n_hits for tracks in events)]
    columns: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(kind))
    columns["offsets"] = np.concatenate([[0], np.cumsum(np.concatenate(n_hits))]).astype(np.int64)
    for name in columns.keys() - {"offsets"}:
        parts = [getattr(tracks, name) for tracks in events]
        if name in _ALWAYS[kind] or any(part is not None for part in parts):
            columns[name] = _column(name, parts, events)
    return kind.trusted(columns)


def _column(name: str, parts: list[Array | None], events: list[Any]) -> Array:
    dtype, per_hit, shape = TRACK_COLUMNS.get(name, (np.int64, name in PER_HIT, ()))
    lengths = [len(tracks.hit_indices) if per_hit else len(tracks) for tracks in events]
    filled = [
        np.full((n, *shape), np.nan) if part is None else part for part, n in zip(parts, lengths, strict=True)
    ]
    return np.concatenate([np.zeros((0, *shape), dtype), *filled]).astype(dtype, copy=False)
