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


def check_identity(hits: Hits, hit_indices: Array, identity: HitIdentity, place: str) -> None:
    """Refuse tracks that were made from other hits.

    Args:
        hit_indices: (n_assigned,) rows of the hits on the tracks.
        place: files and event, for the message.

    Raises:
        InputError: if number or ids of the hits differ, as far as the tracks file has them.
    """
    n = len(hits)
    if identity.n_hits not in (None, n):
        raise InputError(f"{place} has {n} hits, the tracks were made from {identity.n_hits}")
    if len(hit_indices) and int(hit_indices.max()) >= n:
        raise InputError(f"{place} has {n} hits, a track holds hit {hit_indices.max()}")
    if identity.hit_id is not None and not np.array_equal(hits.hit_id[hit_indices], identity.hit_id):
        raise InputError(f"{place} has other hit ids than its tracks")


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
