"""The largest part of a group of hits that lies on one helix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel
from mltrack_plugin.following.complete import fit_without_outliers
from mltrack_plugin.following.search import MAX_HITS, Memory, Search
from mltrack_plugin.kalman.hit_grid import Event
from mltrack_plugin.kalman.material import Material, momentum_of
from mltrack_plugin.kalman.start import start_state
from mltrack_plugin.kalman.state import Record, path_to_closest, residual

Array = npt.NDArray[Any]

#: Helices through three hits that are tried on a group that is no single track.
MAX_TRIALS = 80
#: Larger groups hold no single track that so few trials could find: their hits are left to others.
MAX_GROUP = 4 * MAX_HITS


@kernel
def scattering_angle(state: Record, material: Material) -> float:
    """Standard deviation of the deflection at one layer, without its logarithm and the crossing angle; radian."""
    momentum = momentum_of(state, material)
    beta = momentum / math.sqrt(momentum * momentum + 0.0195)
    return float(min(0.0136 / (momentum * beta) * math.sqrt(max(material.thickness, 0.0)), 0.1))


@kernel
def inliers(
    pool: Array, m: int, event: Event, material: Material, state: Record, length: float, chosen: Array
) -> int:
    """Hits near the helix of a state that was put through three hits over ``length``; their rows go to ``chosen``."""
    angle = scattering_angle(state, material)
    slope2 = 1.0 + state.cot * state.cot
    n = 0
    for i in range(m):
        hit = event.hits[pool[i]]
        s = path_to_closest(state, hit.x, hit.y)
        if not abs(s) < 1e4:
            continue
        u, w = residual(state, s, hit)
        beyond = max(-s, s - length, 0.0)
        lever = 3.0 * angle * (0.3 * length + beyond + beyond * beyond / length)
        across = min(0.3 + lever, 20.0)
        error = 3.0 * math.sqrt(hit.zz + state.cot * state.cot * (hit.xx + hit.yy))
        along = min(0.5 + lever * slope2 + error, 60.0)
        if abs(u) < across and abs(w) < along and n < MAX_HITS:
            chosen[n] = pool[i]
            n += 1
    return n


@kernel
def from_inside_out(pool: Array, m: int, event: Event) -> Array:
    """The first m rows in the order of their distance from the origin."""
    distance = np.empty(m)
    ordered = np.empty(m, dtype=np.int64)
    for i in range(m):
        row = pool[i]
        hit = event.hits[row]
        far = hit.x * hit.x + hit.y * hit.y + hit.z * hit.z
        j = i - 1
        while j >= 0 and distance[j] > far:
            distance[j + 1], ordered[j + 1] = distance[j], ordered[j]
            j -= 1
        distance[j + 1], ordered[j + 1] = far, row
    return ordered


@kernel
def largest_consensus(
    pool: Array, m: int, event: Event, material: Material, memory: Memory, rows: Array
) -> int:
    """Hits near the helix through three hits of a group that most are near; how many are in ``rows``."""
    ordered = from_inside_out(pool, m, event)
    state, path = memory.fit.filtered[0], memory.fit.path
    best, trials = 0, 0
    chosen = np.empty(MAX_HITS, dtype=np.int64)
    triple = np.empty(3, dtype=np.int64)
    for gap in range(1, 4):
        for i in range(m - 2 * gap):
            a, b, c = ordered[i], ordered[i + gap], ordered[i + 2 * gap]
            la, lb, lc = event.tags[a].layer, event.tags[b].layer, event.tags[c].layer
            if la in (lb, lc) or lb == lc:
                continue
            for j in range(3):
                triple[j] = ordered[i + j * gap]
            if not start_state(event.hits, triple, 3, state, path):
                continue
            length = path[len(triple) - 1] - path[0]
            if not 10.0 < length < 2000.0:
                continue
            trials += 1
            n = inliers(pool, m, event, material, state, length, chosen)
            if n > best:
                best = n
                for j in range(n):
                    rows[j] = chosen[j]
            if 5 * best >= 4 * m or trials >= MAX_TRIALS:
                return best
    return best


@kernel
def find_core(
    pool: Array, m: int, event: Event, search: Search, memory: Memory, rows: Array, hit_chi2: Array
) -> tuple[int, float]:
    """Fit the part of a group that lies on one helix.

    First all hits, then all but a few; if that fails the helix through three hits that most others are near.

    Args:
        pool: the first m are the group's rows.
        rows: receives the hits of the part (room for MAX_HITS); ``memory`` holds their fit.

    Returns:
        number of hits and chi2; 0 and infinite if no three lie on a helix, or if there are more than MAX_GROUP.
    """
    if m < 3 or m > MAX_GROUP:
        return 0, math.inf
    cut, material = search.drop_chi2, search.material
    if m <= MAX_HITS:
        for i in range(m):
            rows[i] = pool[i]
        n, chi2 = fit_without_outliers(rows, m, max(3, m - m // 5), cut, event, material, memory, hit_chi2)
        if math.isfinite(chi2):
            return n, chi2
    best = largest_consensus(pool, m, event, material, memory, rows)
    if best < 3:
        return 0, math.inf
    n, chi2 = fit_without_outliers(rows, best, 3, cut, event, material, memory, hit_chi2)
    return (n, chi2) if math.isfinite(chi2) else (0, math.inf)
