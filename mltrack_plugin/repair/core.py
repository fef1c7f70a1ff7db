"""The largest part of a group of hits that lies on one helix."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel
from mltrack_plugin.following.complete import fit_and_drop
from mltrack_plugin.following.follow import (
    ARCS,
    BEND,
    BUFFER,
    DROP_CHI2,
    MAX_HITS,
    STATE_ROW,
    THICKNESS,
    Work,
)
from mltrack_plugin.kalman.hit_grid import LAYER, TABLE, TAGS, Event
from mltrack_plugin.kalman.state import residual, to_closest
from mltrack_plugin.kalman.track_fit import start_state

Array = npt.NDArray[Any]

#: Helices through three hits that are tried on a group that is no single track.
MAX_TRIALS = 80
#: Larger groups hold no single track that so few trials could find: their hits are left to others.
MAX_GROUP = 4 * MAX_HITS


@kernel
def scattering_angle(state: Array, settings: Array) -> float:
    """Standard deviation of the deflection at one layer, without its logarithm and the crossing angle; radian."""
    slope = math.sqrt(1.0 + state[6] * state[6])
    momentum = slope * settings[BEND] / max(abs(state[5]), 1e-9)
    beta = momentum / math.sqrt(momentum * momentum + 0.0195)
    return float(min(0.0136 / (momentum * beta) * math.sqrt(max(settings[THICKNESS], 0.0)), 0.1))


@kernel
def inliers(
    pool: Array, m: int, event: Event, settings: Array, state: Array, length: float, chosen: Array
) -> int:
    """Hits near the helix of a state that was put through three hits over ``length``; their rows go to ``chosen``."""
    angle = scattering_angle(state, settings)
    slope2 = 1.0 + state[6] * state[6]
    n = 0
    for i in range(m):
        hit = event[TABLE][pool[i]]
        s = to_closest(state, hit[0], hit[1])
        if not abs(s) < 1e4:
            continue
        u, w = residual(state, s, hit)
        beyond = max(-s, s - length, 0.0)
        lever = 3.0 * angle * (0.3 * length + beyond + beyond * beyond / length)
        across = min(0.3 + lever, 20.0)
        error = 3.0 * math.sqrt(hit[6] + state[6] * state[6] * (hit[3] + hit[5]))
        along = min(0.5 + lever * slope2 + error, 60.0)
        if abs(u) < across and abs(w) < along and n < MAX_HITS:
            chosen[n] = pool[i]
            n += 1
    return n


@kernel
def find_core(
    pool: Array, m: int, event: Event, settings: Array, work: Work, rows: Array, hit_chi2: Array
) -> tuple[int, float]:
    """Fit the part of a group that lies on one helix.

    First all hits, then all but a few; if that fails the helix through three hits that most others are near.

    Args:
        pool: the first m are the group's rows.
        rows: receives the hits of the part (room for MAX_HITS); ``work`` holds their fit.

    Returns:
        number of hits and chi2; 0 and infinite if no three lie on a helix, or if there are more than MAX_GROUP.
    """
    if m < 3 or m > MAX_GROUP:
        return 0, math.inf
    if m <= MAX_HITS:
        for i in range(m):
            rows[i] = pool[i]
        n, chi2 = fit_and_drop(
            rows, m, max(3, m - m // 5), settings[DROP_CHI2], event, settings, work, hit_chi2
        )
        if math.isfinite(chi2):
            return n, chi2
    # Along the way out.
    distance = np.empty(m)
    ordered = np.empty(m, dtype=np.int64)
    for i in range(m):
        row = pool[i]
        hit = event[TABLE][row]
        far = hit[0] * hit[0] + hit[1] * hit[1] + hit[2] * hit[2]
        j = i - 1
        while j >= 0 and distance[j] > far:
            distance[j + 1], ordered[j + 1] = distance[j], ordered[j]
            j -= 1
        distance[j + 1], ordered[j + 1] = far, row
    state, s = work[BUFFER][STATE_ROW], work[BUFFER][ARCS]
    best, trials = 0, 0
    chosen = np.empty(MAX_HITS, dtype=np.int64)
    triple = np.empty(3, dtype=np.int64)
    for gap in range(1, 4):
        for i in range(m - 2 * gap):
            a, b, c = ordered[i], ordered[i + gap], ordered[i + 2 * gap]
            la, lb, lc = event[TAGS][a, LAYER], event[TAGS][b, LAYER], event[TAGS][c, LAYER]
            if la in (lb, lc) or lb == lc:
                continue
            triple[0], triple[1], triple[2] = a, b, c
            if not start_state(event[TABLE], triple, 3, state, s):
                continue
            length = s[2] - s[0]
            if not 10.0 < length < 2000.0:
                continue
            trials += 1
            n = inliers(pool, m, event, settings, state, length, chosen)
            if n > best:
                best = n
                for j in range(n):
                    rows[j] = chosen[j]
            if 5 * best >= 4 * m or trials >= MAX_TRIALS:
                break
        if 5 * best >= 4 * m or trials >= MAX_TRIALS:
            break
    if best < 3:
        return 0, math.inf
    n, chi2 = fit_and_drop(rows, best, 3, settings[DROP_CHI2], event, settings, work, hit_chi2)
    return (n, chi2) if math.isfinite(chi2) else (0, math.inf)
