"""A collection of tracks to compare, one event at a time, from any file of tracks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mltrack_plugin.errors import InputError
from mltrack_plugin.event_data.file_tracks import UNKNOWN_HITS, FileTracks, HitIdentity
from mltrack_plugin.event_data.tracks import PERIGEE_PARAMETERS
from mltrack_plugin.io import root_file, tracksummary
from mltrack_plugin.io.track_rows import TrackRows
from mltrack_plugin.io.tracks_files import (
    read_event_numbers,
    read_rows_with_identities,
    tracks_format,
)
from mltrack_plugin.io.tracksummary_reader import read_tracksummary, read_tracksummary_numbers

#: Name of the format of files that do not say which hits are on a track.
WITHOUT_HITS = "acts-tracksummary"


class TrackCollection:
    """A file or folder of tracks, read once from the beginning to the end.

    Args:
        path: any format of tracks that this package reads, or ACTS ``tracksummary``.
        label: name in tables and plots.

    Raises:
        InputError: if it cannot be read or holds no events.
    """

    def __init__(self, path: Path | str, label: str) -> None:
        self.path, self.label = str(path), label
        self.format = _format(self.path)
        self.has_hits = self.format != WITHOUT_HITS
        numbers = read_event_numbers(self.path) if self.has_hits else read_tracksummary_numbers(self.path)
        if not numbers:
            raise InputError(f"{self.path} holds no events (an event without tracks would be an entry, too)")
        #: Event numbers in the order of the file.
        self.numbers: list[int] = numbers
        self._stream = self._events()

    def take(self, number: int) -> FileTracks:
        """The tracks of the next event with this number; events before it are passed over.

        Raises:
            InputError: if there is none any more: the other input has the events in another order.
        """
        for found, tracks in self._stream:
            if found == number:
                return tracks
        raise InputError(f"{self.path} has the events in another order (event {number} comes too early)")

    def _events(self) -> Iterator[tuple[int, FileTracks]]:
        if not self.has_hits:
            for number, summary in read_tracksummary(self.path):
                yield (
                    number,
                    FileTracks(summary.n_hits, summary.perigee, summary.covariance, summary=summary),
                )
            return
        for rows, identity in read_rows_with_identities(self.path):
            yield rows.event_number, from_rows(rows, identity)


def from_rows(rows: TrackRows, identity: HitIdentity = UNKNOWN_HITS) -> FileTracks:
    """The tracks of an event as a file has them; tracks without hits are left out.

    Raises:
        InputError: if a track holds a hit twice, or a hit index is negative.
    """
    counts = np.asarray(rows.counts, dtype=np.int64)
    indices = np.asarray(rows.hit_indices, dtype=np.int64)
    if len(indices):
        if int(indices.min()) < 0:
            raise InputError(f"{rows.place}: hit indices must not be negative, smallest is {indices.min()}")
        track = np.repeat(np.arange(len(counts)), counts)
        order = np.lexsort((indices, track))
        again = (np.diff(indices[order]) == 0) & (np.diff(track[order]) == 0)
        if again.any():
            first = order[int(np.argmax(again))]
            raise InputError(f"{rows.place}: track {track[first]} holds hit {indices[first]} twice")
    kept = counts > 0
    unknown = np.full(len(counts), np.nan)
    perigee = np.stack([rows.columns.get(name, unknown) for name in PERIGEE_PARAMETERS], axis=1)
    covariance = rows.columns.get("covariance")
    return FileTracks(
        counts[kept],
        perigee[kept].astype(np.float64),
        None if covariance is None else covariance[kept],
        indices,
        identity,
    )


def _format(path: str) -> str:
    if Path(path).is_file():
        with open(path, "rb") as file:
            is_root = file.read(4) == b"root"
        if is_root:
            with root_file.open_root(path) as opened:
                if tracksummary.TREE in root_file.trees(opened):
                    return WITHOUT_HITS
    return tracks_format(path)
