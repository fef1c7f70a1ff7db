"""Tracks that grow from seeds by pointing to their next hit: true seeds, repeated tracks, and shared hits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Columns of a step of a track: row of the hit, probability.
HIT, PROBABILITY = range(2)


def true_seeds(positions: Array, particle_id: Array, n_hits: int) -> Array:
    """The first hits of each particle, by distance from the origin.

    Args:
        positions: (n, 3) mm.
        particle_id: (n,) unsigned 64-bit, 0 = noise.
        n_hits: hits of a seed; particles with fewer have none.

    Returns:
        (n,) int64 seed that a hit belongs to, -1 = none.

    >>> positions = np.array([[3.0, 0, 0], [1, 0, 0], [0, 2, 0], [2, 0, 0], [9, 9, 9]])
    >>> true_seeds(positions, np.array([7, 7, 5, 7, 0], dtype=np.uint64), 2)
    array([-1,  1, -1,  1, -1])
    """
    distance = np.square(positions.astype(np.float64)).sum(axis=1)
    order = np.lexsort((distance, particle_id))
    _, start, particle, count = np.unique(
        particle_id[order], return_index=True, return_inverse=True, return_counts=True
    )
    number = np.arange(len(order)) - start[particle]
    chosen = (number < n_hits) & (count[particle] >= n_hits) & (particle_id[order] > 0)
    label = np.full(len(order), -1, dtype=np.int64)
    label[order[chosen]] = particle[chosen]
    return label


def hits_of_tracks(tracks: Array) -> tuple[Array, Array]:
    """What the network EncDec returns for one event, as hits and claims.

    Args:
        tracks: (S, T, 2): rows of the hits of each track, -1 beyond its end, and the probability of each step.

    Returns:
        (S, T) int64 rows, and (S, T) float64 probability that the seed is one and all steps up to here are right.
    """
    steps = np.asarray(tracks[..., PROBABILITY], dtype=np.float64)
    return np.asarray(tracks[..., HIT]).astype(np.int64), np.cumprod(steps, axis=1)


def distinct_tracks(tracks: Array) -> Array:
    """Without true seeds, several hits of a particle may be taken for its first one: the tracks that are no repetition.

    Tracks are gone through by the sum of their steps' probabilities, largest first, then by their first hit; one whose
    first hit lies on a track that was kept starts in the middle of it, and is left out.

    Args:
        tracks: (S, T, 2), see :func:`hits_of_tracks`.

    Returns:
        (k,) kept tracks, ascending.

    >>> repeated = np.array([[[4, 0.3], [2, 0.9]], [[7, 0.9], [4, 0.9]], [[5, 0.8], [2, 0.3]]])
    >>> distinct_tracks(repeated)
    array([1, 2])
    """
    rows = np.asarray(tracks[..., HIT]).astype(np.int64)
    expected = np.asarray(tracks[..., PROBABILITY], dtype=np.float64).sum(axis=1)
    taken = np.zeros(int(rows.max(initial=-1)) + 1, dtype=bool)
    kept = []
    for track in np.lexsort((rows[:, :1].ravel(), -expected)):
        hits = rows[track][rows[track] >= 0]
        if len(hits) and not taken[hits[0]]:
            kept.append(track)
            taken[hits] = True
    return np.sort(np.array(kept, dtype=np.int64))


def resolve_claims(rows: Array, probability: Array, n_hits: int) -> tuple[Array, Array]:
    """The track of each hit: the one with the largest probability there, then the one with the smaller first hit.

    Args:
        rows: (S, T) int64 hits of the tracks, -1 = none.
        probability: (S, T) in [0, 1] of the claims.
        n_hits: hits of the event.

    Returns:
        (n_hits,) int64 track, -1 = none, and (n_hits,) float32 probability there.

    >>> rows = np.array([[0, 2, 3], [1, 3, -1]])
    >>> label, membership = resolve_claims(rows, np.array([[1.0, 0.9, 0.5], [1.0, 0.8, 0.0]]), 5)
    >>> label.tolist(), membership.round(1).tolist()
    ([0, 1, 0, 1, -1], [1.0, 1.0, 0.9, 0.8, 0.0])
    """
    label = np.full(n_hits, -1, dtype=np.int64)
    membership = np.zeros(n_hits, dtype=np.float32)
    track, place = np.nonzero(rows >= 0)
    hit, claim = rows[track, place], probability[track, place]
    # The last claim written to a hit stays, so the best one comes last.
    order = np.lexsort((-rows[:, :1].ravel()[track], claim))
    label[hit[order]], membership[hit[order]] = track[order], claim[order]
    return label, membership
