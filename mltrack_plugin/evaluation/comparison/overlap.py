"""Which tracks two collections have in common."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from mltrack_plugin.event_data.base import Array


@dataclasses.dataclass(frozen=True, eq=False)
class Overlap:
    """Common tracks of two collections of one event."""

    #: (n_first,) bool: the second collection has this track, too.
    first: Array
    #: (n_second,) bool: the first collection has this track, too.
    second: Array
    #: (n_first,) bool: the second collection has a track of exactly the same hits.
    identical: Array


def common_tracks(
    first_offsets: npt.ArrayLike,
    first_hits: npt.ArrayLike,
    second_offsets: npt.ArrayLike,
    second_hits: npt.ArrayLike,
) -> Overlap:
    """Tracks of which the other collection has one with more than half of the hits in common, both ways.

    Two tracks are the same if they share strictly more than half of the hits of each: the double majority
    that is asked between track and particle, asked between tracks. Where no hit is on two tracks of a
    collection, a track has one such partner at most, so both collections have the same number of common
    tracks.

    Args:
        first_offsets: (n_first + 1,); track i owns ``first_hits[first_offsets[i]:first_offsets[i + 1]]``.
        first_hits: rows of the event's hits, each at most once per track.
        second_offsets: of the other collection.
        second_hits: of the other collection.

    >>> o = common_tracks([0, 4, 7], [0, 1, 2, 3, 4, 5, 6], [0, 3], [0, 1, 2])
    >>> o.first.tolist(), o.second.tolist(), o.identical.tolist()
    ([True, False], [True], [False, False])
    """
    edges_a, edges_b = (np.asarray(o, dtype=np.int64) for o in (first_offsets, second_offsets))
    hits_a, hits_b = (np.asarray(h, dtype=np.int64) for h in (first_hits, second_hits))
    size_a, size_b = np.diff(edges_a), np.diff(edges_b)
    result = Overlap(
        np.zeros(len(size_a), dtype=bool),
        np.zeros(len(size_b), dtype=bool),
        np.zeros(len(size_a), dtype=bool),
    )
    if not len(hits_a) or not len(hits_b):
        return result
    # Join the two lists of (hit, track) on the hit; a hit may be on several tracks of both.
    order = np.argsort(hits_b, kind="stable")
    start, stop = (np.searchsorted(hits_b[order], hits_a, side=side) for side in ("left", "right"))
    count = stop - start
    entry_a = np.repeat(np.arange(len(hits_a)), count)
    within = np.arange(len(entry_a)) - np.repeat(np.cumsum(count) - count, count)
    entry_b = order[np.repeat(start, count) + within]
    track_a = np.repeat(np.arange(len(size_a)), size_a)[entry_a]
    track_b = np.repeat(np.arange(len(size_b)), size_b)[entry_b]
    pairs, shared = np.unique(track_a * len(size_b) + track_b, return_counts=True)
    a, b = np.divmod(pairs, len(size_b))
    same = (2 * shared > size_a[a]) & (2 * shared > size_b[b])
    result.first[a[same]] = True
    result.second[b[same]] = True
    result.identical[a[(shared == size_a[a]) & (shared == size_b[b])]] = True
    return result
