"""Tracks of a collection, one event at a time, from any file of tracks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mltrack_plugin.errors import InputError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.tracks import PERIGEE_PARAMETERS
from mltrack_plugin.io import root_file, tracksummary
from mltrack_plugin.io.track_rows import TrackRows
from mltrack_plugin.io.tracks_files import (
    UNKNOWN_HITS,
    HitIdentity,
    check_identity,
    read_event_numbers,
    read_identities,
    read_rows_any,
    tracks_format,
)
from mltrack_plugin.io.tracksummary_reader import (
    TrackSummaries,
    read_tracksummary,
    read_tracksummary_numbers,
)

#: Name of the format of files that do not say which hits are on a track.
WITHOUT_HITS = "acts-tracksummary"


@dataclasses.dataclass(frozen=True, eq=False)
class EventTracks:
    """The tracks of one collection in one event, in the order of the file; tracks may share hits."""

    #: (n_tracks,) int64.
    n_hits: Array
    #: (n_tracks, 5) float64: d0, z0, phi, theta, q/p; NaN where there is no fit.
    perigee: Array
    #: (n_tracks, 5, 5) float64; ``None`` if the file has none.
    covariance: Array | None
    #: (sum of n_hits,) int64, rows of the event's hits, track after track; ``None`` where the file has none.
    hit_indices: Array | None = None
    #: What the file says about the event's hits.
    identity: HitIdentity = UNKNOWN_HITS
    #: The truth matching that a file without hits carries.
    summary: TrackSummaries | None = None

    def __len__(self) -> int:
        return len(self.n_hits)

    @property
    def offsets(self) -> Array:
        """(n_tracks + 1,) int64: where each track's hits begin."""
        return np.concatenate([[0], np.cumsum(self.n_hits)])

    @property
    def track_of_entry(self) -> Array:
        """(sum of n_hits,) int64: the track that each hit index belongs to."""
        return np.repeat(np.arange(len(self)), self.n_hits)

    @property
    def fitted(self) -> Array:
        """(n_tracks,) bool: has parameters, all five of them."""
        return np.asarray(np.isfinite(self.perigee).all(axis=1))


class Collection:
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

    def take(self, number: int) -> EventTracks:
        """The tracks of the next event with this number; events before it are passed over.

        Raises:
            InputError: if there is none any more: the other input has the events in another order.
        """
        for found, tracks in self._stream:
            if found == number:
                return tracks
        raise InputError(f"{self.path} has the events in another order (event {number} comes too early)")

    def _events(self) -> Iterator[tuple[int, EventTracks]]:
        if not self.has_hits:
            for number, summary in read_tracksummary(self.path):
                yield (
                    number,
                    EventTracks(summary.n_hits, summary.perigee, summary.covariance, summary=summary),
                )
            return
        pairs = zip(read_rows_any(self.path), read_identities(self.path), strict=False)
        for rows, identity in pairs:
            yield rows.event_number, from_rows(rows, identity)


def from_rows(rows: TrackRows, identity: HitIdentity = UNKNOWN_HITS) -> EventTracks:
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
    return EventTracks(
        counts[kept],
        perigee[kept].astype(np.float64),
        None if covariance is None else covariance[kept],
        indices,
        identity,
    )


def hits_of(tracks: EventTracks, track: int) -> Array:
    """Hit indices of one track; none where the file has none."""
    if tracks.hit_indices is None:
        return np.zeros(0, dtype=np.int64)
    offsets = tracks.offsets
    return np.asarray(tracks.hit_indices[offsets[track] : offsets[track + 1]])


def check_against_hits(tracks: EventTracks, hits: Hits, place: str) -> None:
    """Refuse tracks of other hits.

    Raises:
        InputError: see :func:`mltrack_plugin.io.tracks_files.check_identity`.
    """
    if tracks.hit_indices is not None:
        check_identity(hits, tracks.hit_indices, tracks.identity, place)


def check_against_each_other(first: EventTracks, second: EventTracks, place: str) -> None:
    """Refuse two collections that were made from different hits, as far as their files tell.

    Raises:
        InputError: if number or ids of the hits differ, or a hit index is beyond the other's hits.
    """
    if first.hit_indices is None or second.hit_indices is None:
        return
    counts = (first.identity.n_hits, second.identity.n_hits)
    if None not in counts and counts[0] != counts[1]:
        raise InputError(f"{place} has {counts[0]} hits in the one file and {counts[1]} in the other")
    for n, indices in itertools.product(counts, (first.hit_indices, second.hit_indices)):
        if n is not None and len(indices) and int(indices.max()) >= n:
            raise InputError(
                f"{place} has {n} hits in one file, a track of the other holds hit {indices.max()}"
            )
    if first.identity.hit_id is None or second.identity.hit_id is None:
        return
    assert counts[0] is not None
    known: Array = np.zeros(counts[0], dtype=bool)
    ids: Array = np.zeros(counts[0], dtype=np.uint64)
    known[first.hit_indices] = True
    ids[first.hit_indices] = first.identity.hit_id
    common = second.hit_indices
    if (known[common] & (ids[common] != second.identity.hit_id)).any():
        raise InputError(f"{place} has other hit ids in the one file than in the other")


def _format(path: str) -> str:
    if Path(path).is_file():
        with open(path, "rb") as file:
            is_root = file.read(4) == b"root"
        if is_root:
            with root_file.open_root(path) as opened:
                if tracksummary.TREE in root_file.trees(opened):
                    return WITHOUT_HITS
    return tracks_format(path)
