"""Tracks from files that other programs may have written: any order of tracks and of hits on a track."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mltrack_plugin.errors import EventDataError, InputError
from mltrack_plugin.event_data import Tracks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.tracks import PER_HIT, TRACK_COLUMNS


class TrackRows(NamedTuple):
    """The tracks of one event as a file has them: in its order, possibly with common hits."""

    event_number: int
    #: File and event, for messages.
    place: str
    #: (n_tracks,) hits per track.
    counts: Array
    #: The tracks' hit indices one after the other.
    hit_indices: Array
    #: Per-track columns of Tracks, by name.
    columns: dict[str, Array]

    def tracks(self) -> Tracks:
        """As tracks in canonical order.

        Raises:
            InputError: see :func:`tracks_from_rows`.
        """
        return tracks_from_rows(self.place, self.counts, self.hit_indices, **self.columns)


def tracks_from_rows(place: str, counts: Array, hit_indices: Array, **columns: Array | None) -> Tracks:
    """Tracks in canonical order.

    Args:
        place: file and event, for messages.
        counts: (n_tracks,) hits per track; tracks without hits are left out.
        hit_indices: the tracks' hit indices one after the other.
        columns: columns of Tracks, per track or per hit on a track.

    Raises:
        InputError: if a hit is on two tracks, or a value violates the contract of Tracks.
    """
    counts = np.asarray(counts, dtype=np.int64)
    indices = np.asarray(hit_indices, dtype=np.int64)
    track = np.repeat(np.arange(len(counts)), counts)
    if len(np.unique(indices)) != len(indices):
        values, seen = np.unique(indices, return_counts=True)
        raise InputError(
            f"{place}: hit {values[np.argmax(seen)]} is on {seen.max()} tracks; tracks that share hits "
            "cannot be read, resolve the ambiguities first"
        )
    by_hit = np.argsort(indices)
    # The first time a track is met while going through the hits in order is at its smallest hit.
    met, first = np.unique(track[by_hit], return_index=True)
    order = met[np.argsort(first)]
    rank = np.empty(len(counts), dtype=np.int64)
    rank[order] = np.arange(len(order))
    entries = by_hit[np.argsort(rank[track[by_hit]], kind="stable")]
    offsets = np.concatenate([[0], np.cumsum(counts[order])])
    given = {
        n: c if c is None else np.asarray(c)[entries if n in PER_HIT else order] for n, c in columns.items()
    }
    try:
        return Tracks(offsets, indices[entries], **given)
    except EventDataError as error:
        raise InputError(f"{place}: {error}") from error


def with_rows(tracks: Tracks, rows: Array, left_out: int | None, place: str) -> Tracks:
    """The tracks with other hit indices.

    Args:
        rows: (n_assigned,) hit indices in place of those of ``tracks``.
        left_out: a track to leave out.
        place: file and event, for messages.

    Raises:
        InputError: see :func:`tracks_from_rows`.
    """
    if left_out is None and rows is tracks.hit_indices:
        return tracks
    kept = np.arange(len(tracks)) != left_out
    entries = kept[tracks.track_of_entry()]
    columns = {
        n: column[entries if n in PER_HIT else kept]
        for n in TRACK_COLUMNS
        if (column := getattr(tracks, n)) is not None
    }
    return tracks_from_rows(place, tracks.n_hits[kept], rows[entries], **columns)
