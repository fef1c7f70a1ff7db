"""Tracks of an event as files have them: in their order, perhaps sharing hits, perhaps without a word on their hits."""

from __future__ import annotations

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np

from mltrack_plugin.errors import InputError
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.hits import Hits


class HitIdentity(NamedTuple):
    """What a tracks file says about the hits of an event; ``None`` where its format keeps nothing of it."""

    #: Hits of the event.
    n_hits: int | None = None
    #: (n_assigned,) uint64: ids of the hits on the tracks, beside ``Tracks.hit_indices``.
    hit_id: Array | None = None
    #: Of a format that lists hits with their track's number: how many hits it lists.
    n_listed: int | None = None
    #: Of such a format: the track numbered 0, which holds the hits on no track if all hits are listed.
    zero_track: int | None = None
    #: Hits that the format's indices count, where it counts those of one kind only.
    kind: str | None = None


#: Of a format that keeps nothing.
UNKNOWN_HITS = HitIdentity()


@dataclasses.dataclass(frozen=True, eq=False)
class TrackSummaries:
    """What a ``tracksummary`` file of ACTS says about the tracks of one event, in its order."""

    #: (n_tracks,) int64: measurements on the track.
    n_hits: Array
    #: (n_tracks,) int64: those of its majority particle.
    n_majority: Array
    #: (n_tracks, 5) int64: barcode of the majority particle; all zero where there is none.
    majority: Array
    #: (n_tracks, 5) float64: d0, z0, phi, theta, q/p; NaN where there is no fit.
    perigee: Array
    #: (n_tracks, 5, 5) float64; correlations that the file lacks are 0.
    covariance: Array


@dataclasses.dataclass(frozen=True, eq=False)
class FileTracks:
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

    def hits_of(self, track: int) -> Array:
        """Hit indices of one track; none where the file has none."""
        if self.hit_indices is None:
            return np.zeros(0, dtype=np.int64)
        offsets = self.offsets
        return np.asarray(self.hit_indices[offsets[track] : offsets[track + 1]])

    @property
    def fitted(self) -> Array:
        """(n_tracks,) bool: has parameters, all five of them."""
        return np.asarray(np.isfinite(self.perigee).all(axis=1))


class HitMatching:
    """Finds the rows of the hits on tracks, event by event of one file of tracks.

    Args:
        kind: what the input's hits are ("measurements", "hits", "spacepoints"); ``None`` = unknown.
    """

    def __init__(self, kind: str | None = None) -> None:
        self._kind = kind
        # Whether a track numbered 0 was among all hits of an event, or among some.
        self._zero: set[bool] = set()

    def rows(self, hits: Hits, hit_indices: Array, identity: HitIdentity, place: str) -> Array:
        """Rows of the hits on the tracks, by the hits' ids where the file of tracks has them.

        Args:
            hits: the event's.
            hit_indices: (n_assigned,) rows according to the file of tracks.
            identity: what it says about the hits.
            place: files and event, for the message.

        Returns:
            (n_assigned,) int64.

        Raises:
            InputError: if number or ids of the hits differ, as far as the tracks file has them.
        """
        n = len(hits)
        if None not in (identity.kind, self._kind) and identity.kind != self._kind:
            raise InputError(
                f"{place}: the tracks were made from {identity.kind}, the input's hits are {self._kind}; read "
                f"the {identity.kind}, or compare with tracks of these {self._kind}"
            )
        if identity.n_hits not in (None, n):
            raise InputError(f"{place} has {n} hits, the tracks were made from {identity.n_hits}")
        if identity.hit_id is None:
            if len(hit_indices) and int(hit_indices.max()) >= n:
                raise InputError(f"{place} has {n} hits, a track holds hit {hit_indices.max()}")
            return hit_indices
        wanted = identity.hit_id
        within = not len(hit_indices) or int(hit_indices.max()) < n
        if within and np.array_equal(hits.hit_id[hit_indices], wanted):
            return hit_indices
        order = np.argsort(hits.hit_id)
        found = np.minimum(np.searchsorted(hits.hit_id, wanted, sorter=order), max(n - 1, 0))
        strange = np.ones(len(wanted), dtype=bool) if n == 0 else hits.hit_id[order[found]] != wanted
        if strange.any():
            raise InputError(
                f"{place} has other hit ids than its tracks: {int(strange.sum())} of {len(wanted)} hits on tracks "
                f"do not exist (first: hit_id {wanted[strange][0]})"
            )
        return np.asarray(order[found], dtype=np.int64)

    def unassigned(self, identity: HitIdentity, n_hits: int | None, place: str) -> int | None:
        """The track that is none: number 0 of a list of all hits, as in the challenge's sample submission.

        Without ``n_hits`` number 0 is taken for it.

        Raises:
            InputError: if the file lists all hits of one event and some of another: its track 0 may be both.
        """
        if identity.zero_track is None or n_hits is None:
            return identity.zero_track
        complete = identity.n_listed == n_hits
        self._zero.add(complete)
        if len(self._zero) == 2:
            raise InputError(
                f"{place}: track_id 0 is on all hits that are listed of one event and on some of those of another, "
                "so it may mean a track or none; number tracks from 1, or give hits on no track track_id -1"
            )
        return identity.zero_track if complete else None


def with_rows(tracks: FileTracks, rows: Array, left_out: int | None) -> FileTracks:
    """The tracks with other hit indices, and without one of them."""
    if left_out is None:
        return dataclasses.replace(tracks, hit_indices=rows)
    kept = np.arange(len(tracks)) != left_out
    covariance = None if tracks.covariance is None else tracks.covariance[kept]
    entries = kept[tracks.track_of_entry]
    return FileTracks(tracks.n_hits[kept], tracks.perigee[kept], covariance, rows[entries])


def with_common_rows(
    first: FileTracks, second: FileTracks, matchings: tuple[HitMatching, HitMatching], place: str
) -> tuple[FileTracks, FileTracks]:
    """Both collections with hit indices that mean the same hits, where one of them is a list of hit ids.

    Raises:
        InputError: see :meth:`HitMatching.unassigned`.
    """
    ids = (first.identity.hit_id, second.identity.hit_id)
    if all(i.n_listed is None for i in (first.identity, second.identity)):
        return first, second
    result = []
    n_hits = first.identity.n_hits if second.identity.n_hits is None else second.identity.n_hits
    known: Array | None = None
    if ids[0] is not None and ids[1] is not None:
        known = np.unique(np.concatenate([ids[0], ids[1]]))
    for tracks, matching in zip((first, second), matchings, strict=True):
        rows = tracks.hit_indices
        if known is not None and tracks.identity.hit_id is not None:
            rows = np.searchsorted(known, tracks.identity.hit_id)
        assert rows is not None
        result.append(with_rows(tracks, rows, matching.unassigned(tracks.identity, n_hits, place)))
        if known is not None:
            result[-1] = dataclasses.replace(result[-1], identity=UNKNOWN_HITS)
    return result[0], result[1]


def check_against_each_other(first: FileTracks, second: FileTracks, place: str) -> None:
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
