"""From candidates that share hits to tracks: ambiguity resolution, and further hits where modules overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.published.heptrkx.graphs.construct import wrapped
from mltrack_plugin.published.heptrkx.sequences.barrel import N_LAYERS
from mltrack_plugin.published.heptrkx.sequences.builder import Candidates
from mltrack_plugin.published.heptrkx.sequences.windows import LayerHits, best_of_group

Array = npt.NDArray[Any]

#: Largest distance in (r phi, z) between a track and its second hit on a layer, mm: about five times the resolution
#: of the pixels, short strips and long strips, and the error of the track's direction over the gap between modules.
OVERLAP_WINDOWS = (*((0.15, 0.3),) * 4, *((0.4, 2.5),) * 4, *((0.6, 20.0),) * 2)


def ranking(candidates: Candidates) -> Array:
    """(c,) int64: candidates from the best on: more hits first, then smaller squared distance per step."""
    steps = np.maximum(candidates.length - 2, 1)
    # Holes beyond the last hit say nothing about the track: it may have left the barrel.
    inside = np.arange(N_LAYERS) < candidates.length[:, None]
    mean = (candidates.distance * inside).sum(axis=1) / steps
    return np.lexsort((-candidates.log_likelihood, mean, -candidates.n_hits))


def resolve_shared(
    rows: Array, order: Array, *, max_shared: int = 2, min_hits: int = 4
) -> tuple[Array, Array]:
    """Greedy choice of candidates such that no hit is on two of them.

    Equal to going through the candidates from the best on: a candidate loses the hits that better ones have taken; it
    is dropped if these are more than ``max_shared`` or leave fewer than ``min_hits``. Candidates whose hits no better
    one wants are taken together.

    Args:
        rows: (c, L) hit rows, -1 = none.
        order: (c,) candidates from the best on.
        max_shared: see above.
        min_hits: see above.

    Returns:
        (k,) kept candidates, from the best on; (k, L) their hit rows, -1 where a hit was lost.
    """
    rows = rows.copy()
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    open_ = (rows >= 0).sum(axis=1) >= min_hits
    kept = np.zeros(len(order), dtype=bool)
    taken = np.zeros(int(rows.max(initial=-1)) + 1, dtype=bool)
    lost = np.zeros(len(order), dtype=np.int64)
    while open_.any():
        who = np.flatnonzero(open_)
        candidate, place = np.nonzero(rows[who] >= 0)
        hit = rows[who][candidate, place]
        best = np.full(len(taken), len(order), dtype=np.int64)
        np.minimum.at(best, hit, rank[who][candidate])
        contested = np.bincount(candidate[best[hit] < rank[who][candidate]], minlength=len(who)) > 0
        winners = who[~contested]
        kept[winners], open_[winners] = True, False
        taken[rows[winners][rows[winners] >= 0]] = True
        losers = who[contested]
        gone = (rows[losers] >= 0) & taken[rows[losers]]
        lost[losers] += gone.sum(axis=1)
        rows[losers] = np.where(gone, -1, rows[losers])
        open_[losers] = (lost[losers] <= max_shared) & ((rows[losers] >= 0).sum(axis=1) >= min_hits)
    chosen = order[kept[order]]
    return chosen, rows[chosen]


def overlap_hits(
    values: Array, layer: Array, module: Array | None, tracks: Candidates, used: Array
) -> tuple[Array, Array]:
    """Second hits of tracks on layers where they cross two overlapping modules.

    A hit that no track has belongs to a track if it lies in OVERLAP_WINDOWS around the straight line along the
    track's direction there, on another module than the track's own hit.

    Args:
        values: (n, 3): r [mm], phi [rad], z [mm].
        layer: (n,) barrel layers.
        module: (n,) numbers of the modules; None = unknown, and not asked for.
        tracks: candidates that share no hits.
        used: (n,) bool, is on a track.

    Returns:
        (p,) tracks and (p,) hit rows; each hit once, for the nearest track.
    """
    track, row, cost = [], [], []
    free = np.where(used, -1, layer)
    for number in range(N_LAYERS):
        near = LayerHits.select(values, free, number)
        have = np.flatnonzero(tracks.rows[:, number] >= 0)
        if not len(near.rows) or not len(have):
            continue
        here = tracks.hits[have, number].astype(np.float64)
        slope = _direction(tracks, have, number)
        width, length = OVERLAP_WINDOWS[number]
        # A hit on the neighbouring module lies at another radius, by less than the spacing of the layers.
        reach = width / here[:, 0] + np.abs(slope[:, 0]) * _SPREAD
        query, position = near.near(here[:, 1], reach)
        step = near.values[position].astype(np.float64) - here[query]
        dphi = (wrapped(step[:, 1]) - slope[query, 0] * step[:, 0]) * here[query, 0] / width
        dz = (step[:, 2] - slope[query, 1] * step[:, 0]) / length
        distance = dphi**2 + dz**2
        good = (np.abs(dphi) < 1.0) & (np.abs(dz) < 1.0)
        if module is not None:
            good &= module[near.rows[position]] != module[tracks.rows[have[query], number]]
        track.append(have[query[good]])
        row.append(near.rows[position[good]])
        cost.append(distance[good])
    if not track:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    tracks_, rows_, costs = (np.concatenate(parts) for parts in (track, row, cost))
    nearest = best_of_group(rows_, costs, 1)
    return tracks_[nearest], rows_[nearest]


#: Largest difference in radius between hits on two modules of a layer, mm.
_SPREAD = 12.0


def _direction(tracks: Candidates, have: Array, number: int) -> Array:
    """(k, 2) float64: slopes of phi [rad/mm] and z in r of tracks at a layer, from the hits before and behind it."""
    before = max(number - 1, 0)
    behind = np.minimum(number + 1, np.maximum(tracks.length[have] - 1, number))
    rise = (tracks.hits[have, behind] - tracks.hits[have, before]).astype(np.float64)
    rise[:, 1] = wrapped(rise[:, 1])
    return np.asarray(rise[:, 1:] / np.maximum(rise[:, :1], 1.0))
