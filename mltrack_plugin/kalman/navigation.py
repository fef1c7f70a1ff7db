"""Which layer a track comes to next.

Barrels are numbered from the inside out and discs behind them along z (`layers.make_event`), so a track on its way
meets both in the order of their numbers, forwards or backwards. Two numbers, those of the next barrel and of the next
disc, say where it is; only these two layers have to be looked at.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from mltrack_plugin.compiled import inlined, kernel
from mltrack_plugin.kalman.hit_grid import BARRELS, DISC, HIGH, LOW, POSITION, SPREAD
from mltrack_plugin.kalman.state import chord

Array = npt.NDArray[Any]


@inlined
def arc_of(omega: float, t: float) -> float:
    """2 atan(omega t) / omega: arc length from the tangent of half the turn, over omega."""
    x = omega * t
    if abs(x) < 0.1:
        x2 = x * x
        return float(2.0 * t * (1.0 - x2 * (1.0 / 3.0 - x2 * (0.2 - x2 * (1.0 / 7.0 - x2 / 9.0)))))
    return float(2.0 * math.atan(x) / omega)


@kernel
def crossing(state: Array, layer: Array, backwards: bool) -> float:
    """Arc length to the first crossing of a layer ahead of a state (behind it if ``backwards``); NaN without one."""
    sign = -1.0 if backwards else 1.0
    if layer[DISC] > 0.0:
        if abs(state[6]) < 1e-6:
            return math.nan
        s = (layer[POSITION] - state[2]) / state[6]
        # Half a turn is as far as a track is followed.
        return s if s * sign > 0.0 and abs(s * state[5]) < math.pi else math.nan
    x, y, omega = state[0], state[1], state[5]
    along = x * state[3] + y * state[4]
    across = y * state[3] - x * state[4]
    half = 0.5 * (x * x + y * y - layer[POSITION] ** 2)
    # tan(turn / 2) / omega solves a quadratic equation.
    a = 2.0 * (across * omega + 1.0) + half * omega * omega
    root = along * along - half * a
    if root < 0.0:
        return math.nan
    root = math.sqrt(root)
    best = math.nan
    for q in (-along - root, -along + root):
        # The two solutions are half / q.
        if q == 0.0 or half / q * sign <= 0.0:
            continue
        s = arc_of(omega, half / q)
        if not abs(s) >= abs(best):
            best = s
    return best


@inlined
def ways(state: Array, backwards: bool) -> tuple[int, int]:
    """1 where a state's barrels (discs) follow each other in ascending order of their numbers, -1 where descending."""
    outwards = (state[0] * state[3] + state[1] * state[4] >= 0.0) != backwards
    return 1 if outwards else -1, 1 if (state[6] > 0.0) != backwards else -1


@inlined
def disc_behind(z: float, layers: Array) -> int:
    """Number of the first disc at a larger z."""
    low, high = int(layers[0, BARRELS]), len(layers)
    while low < high:
        middle = (low + high) // 2
        if layers[middle, POSITION] <= z:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def first_ahead(state: Array, out: int, up: int, layers: Array) -> tuple[int, int]:
    """Numbers of the barrel and the disc next to a state, on its way ``out`` and ``up`` (see `ways`)."""
    n_barrels = int(layers[0, BARRELS])
    r = math.sqrt(state[0] * state[0] + state[1] * state[1])
    barrel = 0
    while barrel < n_barrels and layers[barrel, POSITION] <= r:
        barrel += 1
    disc = disc_behind(state[2], layers)
    return barrel if out > 0 else barrel - 1, disc if up > 0 else disc - 1


@kernel
def next_layer(
    state: Array,
    backwards: bool,
    out: int,
    up: int,
    barrel: int,
    disc: int,
    spread: float,
    seen: Array,
    layers: Array,
) -> tuple[int, float, float, int, int]:
    """The next layer that a state crosses where it has hits, or not far from there.

    Layers that are not met are passed by for good, also if the state changes later on.

    Args:
        out, up, barrel, disc: see `ways` and `first_ahead`.
        spread: uncertainty of cot theta.
        seen: (m,) layers with a number above 0 are left out.

    Returns:
        its number, -1 if there is none, arc length to it and running coordinate there, and the next barrel and disc.
    """
    n_barrels, n = int(layers[0, BARRELS]), len(layers)
    r2 = state[0] * state[0] + state[1] * state[1]
    r = math.sqrt(r2)
    lam, sign = state[6], -1.0 if backwards else 1.0
    s_barrel, z = math.inf, 0.0
    while 0 <= barrel < n_barrels:
        layer = layers[barrel]
        position = layer[POSITION]
        if seen[barrel] > 0.0 or (r - position) * out >= 0.0:
            barrel += out
            continue
        if out > 0:
            # On its way out a track is at least as long as this: a cheap look first.
            z = state[2] + lam * (position - layer[SPREAD] - r)
            margin = 30.0 + 0.05 * abs(z) + spread * (position - r)
            if z < layer[LOW] - margin if lam < 0.0 else z > layer[HIGH] + margin:
                barrel += out
                continue
        s_barrel = crossing(state, layer, backwards)
        if not math.isfinite(s_barrel):
            # It turns round before.
            s_barrel, barrel = math.inf, -1
            break
        z = state[2] + lam * s_barrel
        margin = 20.0 + 0.02 * abs(z) + spread * abs(s_barrel)
        if layer[LOW] - margin < z < layer[HIGH] + margin:
            break
        s_barrel = math.inf
        barrel += out
    while n_barrels <= disc < n and abs(lam) > 1e-6:
        layer = layers[disc]
        s = (layer[POSITION] - state[2]) / lam
        if abs(s) > abs(s_barrel):
            break
        if seen[disc] > 0.0 or s * sign <= 0.0:
            disc += up
            continue
        if abs(s * state[5]) > math.pi:
            # Half a turn is as far as a track is followed.
            disc = -1
            break
        dx, dy = chord(state, s)
        running = math.sqrt((state[0] + dx) ** 2 + (state[1] + dy) ** 2)
        margin = 20.0 + 0.02 * running + spread * abs(s) / max(abs(lam), 0.1)
        if layer[LOW] - margin < running < layer[HIGH] + margin:
            return disc, s, running, barrel, disc + up
        disc += up
    if math.isfinite(s_barrel):
        return barrel, s_barrel, z, barrel + out, disc
    return -1, 0.0, 0.0, barrel, disc
