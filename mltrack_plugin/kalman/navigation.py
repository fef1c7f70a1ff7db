"""Which layer a track comes to next.

Barrels are numbered from the inside out and discs after them along z (`hit_grid.make_event`), so a track crosses both
in ascending or descending order of their numbers. Two numbers, those of the next barrel and of the next disc, say where
it is; only these two layers have to be looked at.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy.typing as npt

from mltrack_plugin.compiled import inlined, kernel
from mltrack_plugin.kalman.state import Record, chord

Array = npt.NDArray[Any]


@inlined
def arc_of(omega: float, t: float) -> float:
    """2 atan(omega t) / omega: path length from the tangent of half the turn, over omega."""
    x = omega * t
    if abs(x) < 0.1:
        x2 = x * x
        return float(2.0 * t * (1.0 - x2 * (1.0 / 3.0 - x2 * (0.2 - x2 * (1.0 / 7.0 - x2 / 9.0)))))
    return float(2.0 * math.atan(x) / omega)


@kernel
def crossing(state: Record, layer: Record, backwards: bool) -> float:
    """Path length to the first crossing of a layer ahead of a state (behind it if ``backwards``); NaN without one."""
    sign = -1.0 if backwards else 1.0
    if layer.disc:
        if abs(state.cot) < 1e-6:
            return math.nan
        s = (layer.position - state.z) / state.cot
        # Half a turn is as far as a track is followed.
        return s if s * sign > 0.0 and abs(s * state.omega) < math.pi else math.nan
    x, y, omega = state.x, state.y, state.omega
    along = x * state.cos_phi + y * state.sin_phi
    across = y * state.cos_phi - x * state.sin_phi
    half = 0.5 * (x * x + y * y - layer.position**2)
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


class Ahead(NamedTuple):
    """What is ahead of a state: along or ``backwards`` against its direction."""

    backwards: bool
    #: 1 where barrels (discs) follow each other in ascending order of their numbers, -1 where descending.
    barrel_step: int
    disc_step: int
    #: Numbers of the next barrel and the next disc; beyond the first or last one where there is none.
    barrel: int
    disc: int


@inlined
def disc_behind(z: float, layers: Array) -> int:
    """Number of the first disc at a larger z."""
    low, high = int(layers[0].n_barrels), len(layers)
    while low < high:
        middle = (low + high) // 2
        if layers[middle].position <= z:
            low = middle + 1
        else:
            high = middle
    return low


@kernel
def first_ahead(state: Record, backwards: bool, layers: Array) -> Ahead:
    """The barrel and the disc next to a state."""
    n_barrels = layers[0].n_barrels
    outwards = (state.x * state.cos_phi + state.y * state.sin_phi >= 0.0) != backwards
    upwards = (state.cot > 0.0) != backwards
    r = math.sqrt(state.x * state.x + state.y * state.y)
    barrel = 0
    while barrel < n_barrels and layers[barrel].position <= r:
        barrel += 1
    disc = disc_behind(state.z, layers)
    return Ahead(
        backwards,
        1 if outwards else -1,
        1 if upwards else -1,
        barrel if outwards else barrel - 1,
        disc if upwards else disc - 1,
    )


@kernel
def next_layer(
    state: Record, ahead: Ahead, sigma_cot: float, searched: Array, layers: Array
) -> tuple[int, float, float, Ahead]:
    """The next layer that a state crosses where it has hits, or not far from there.

    Layers that are not met are passed by for good, also if the state changes later on.

    Args:
        sigma_cot: standard deviation of cot theta.
        searched: (m,) bool: layers that are left out.

    Returns:
        its number, -1 if there is none, path length to it and running coordinate there, and what is ahead of it.
    """
    n_barrels, n = layers[0].n_barrels, len(layers)
    barrel, disc, barrel_step, disc_step = ahead.barrel, ahead.disc, ahead.barrel_step, ahead.disc_step
    r2 = state.x * state.x + state.y * state.y
    r = math.sqrt(r2)
    cot, sign = state.cot, -1.0 if ahead.backwards else 1.0
    s_barrel, z = math.inf, 0.0
    while 0 <= barrel < n_barrels:
        layer = layers[barrel]
        position = layer.position
        if searched[barrel] or (r - position) * barrel_step >= 0.0:
            barrel += barrel_step
            continue
        if barrel_step > 0:
            # On its way out a track is at least as long as this: a cheap look first.
            z = state.z + cot * (position - layer.half_width - r)
            margin = 30.0 + 0.05 * abs(z) + sigma_cot * (position - r)
            if z < layer.low - margin if cot < 0.0 else z > layer.high + margin:
                barrel += barrel_step
                continue
        s_barrel = crossing(state, layer, ahead.backwards)
        if not math.isfinite(s_barrel):
            # It turns round before.
            s_barrel, barrel = math.inf, -1
            break
        z = state.z + cot * s_barrel
        margin = 20.0 + 0.02 * abs(z) + sigma_cot * abs(s_barrel)
        if layer.low - margin < z < layer.high + margin:
            break
        s_barrel = math.inf
        barrel += barrel_step
    while n_barrels <= disc < n and abs(cot) > 1e-6:
        layer = layers[disc]
        s = (layer.position - state.z) / cot
        if abs(s) > abs(s_barrel):
            break
        if searched[disc] or s * sign <= 0.0:
            disc += disc_step
            continue
        if abs(s * state.omega) > math.pi:
            # Half a turn is as far as a track is followed.
            disc = -1
            break
        dx, dy = chord(state, s)
        running = math.sqrt((state.x + dx) ** 2 + (state.y + dy) ** 2)
        margin = 20.0 + 0.02 * running + sigma_cot * abs(s) / max(abs(cot), 0.1)
        if layer.low - margin < running < layer.high + margin:
            return disc, s, running, Ahead(ahead.backwards, barrel_step, disc_step, barrel, disc + disc_step)
        disc += disc_step
    if math.isfinite(s_barrel):
        next_one = Ahead(ahead.backwards, barrel_step, disc_step, barrel + barrel_step, disc)
        return barrel, s_barrel, z, next_one
    return -1, 0.0, 0.0, Ahead(ahead.backwards, barrel_step, disc_step, barrel, disc)
