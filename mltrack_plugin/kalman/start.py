"""Where the fit of a track starts: circle fit and straight line, with a covariance that constrains nothing.

The circle is that of V. Karimäki (NIM A 305 (1991) 187), the line is in z and path length.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from mltrack_plugin.compiled import kernel
from mltrack_plugin.kalman.state import Record, clear_covariance, path_to_closest

Array = npt.NDArray[Any]


@kernel
def start_state(hits: Array, rows: Array, n: int, state: Record, path: Array) -> bool:
    """Order hits along their circle and put a state at the first of them.

    Args:
        hits: (n_hits,) MEASUREMENT.
        rows: the first ``n`` (3 or more) are rows of ``hits``; they are put in order.
        state: receives the state.
        path: (>= n,) receives path lengths.

    Returns:
        False if the hits do not determine a helix.
    """
    if not circle(hits, rows, n, state):
        return False
    for i in range(n):
        path[i] = path_to_closest(state, hits[rows[i]].x, hits[rows[i]].y)
    for i in range(1, n):
        row, s, j = rows[i], path[i], i - 1
        while j >= 0 and path[j] > s:
            rows[j + 1], path[j + 1] = rows[j], path[j]
            j -= 1
        rows[j + 1], path[j + 1] = row, s
    first, last = hits[rows[0]], hits[rows[n - 1]]
    if first.x**2 + first.y**2 > last.x**2 + last.y**2:
        # The direction is to the beam axis: reverse the track.
        for i in range(n // 2):
            j = n - 1 - i
            rows[i], rows[j] = rows[j], rows[i]
            path[i], path[j] = path[j], path[i]
        for i in range(n):
            path[i] = -path[i]
        state.cos_phi, state.sin_phi, state.omega = -state.cos_phi, -state.sin_phi, -state.omega
    if not line(hits, rows, n, state, path):
        return False
    clear_covariance(state)
    inflate_covariance(state)
    propagate_parameters(state, path[0])
    return math.isfinite(state.x + state.y + state.z + state.cos_phi)


@kernel
def circle(hits: Array, rows: Array, n: int, state: Record) -> bool:
    """Position, azimuth and curvature of a state on the circle through hits, near their centre."""
    mx = my = mr = 0.0
    for i in range(n):
        mx += hits[rows[i]].x
        my += hits[rows[i]].y
    mx /= n
    my /= n
    # Relative to the centre of the hits, where direction and distance are determined best.
    for i in range(n):
        mr += (hits[rows[i]].x - mx) ** 2 + (hits[rows[i]].y - my) ** 2
    mr /= n
    xx = xy = yy = xr = yr = rr = 0.0
    for i in range(n):
        x, y = hits[rows[i]].x - mx, hits[rows[i]].y - my
        r = x * x + y * y - mr
        xx += x * x
        xy += x * y
        yy += y * y
        xr += x * r
        yr += y * r
        rr += r * r
    if mr < 1e-6:
        return False
    rr = max(rr, 1e-9 * mr * mr)
    phi = 0.5 * math.atan2(2.0 * (xy - xr * yr / rr), (xx - xr * xr / rr) - (yy - yr * yr / rr))
    sin, cos = math.sin(phi), math.cos(phi)
    kappa = (cos * yr - sin * xr) / rr
    delta = -kappa * mr
    root = math.sqrt(1.0 - 4.0 * kappa * delta)
    omega = 2.0 * kappa / root
    d0 = 2.0 * delta / (1.0 + root)
    state.x, state.y, state.z = mx - d0 * sin, my + d0 * cos, 0.0
    state.cos_phi, state.sin_phi, state.omega, state.cot = cos, sin, omega, 0.0
    return math.isfinite(omega)


@kernel
def line(hits: Array, rows: Array, n: int, state: Record, path: Array) -> bool:
    """z at path length 0 and cot theta of a state from the straight line through z and path length of hits."""
    total = ms = mz = 0.0
    for i in range(n):
        weight = line_weight(hits[rows[i]])
        total += weight
        ms += weight * path[i]
        mz += weight * hits[rows[i]].z
    ms /= total
    mz /= total
    ss = sz = 0.0
    for i in range(n):
        weight = line_weight(hits[rows[i]])
        ss += weight * (path[i] - ms) ** 2
        sz += weight * (path[i] - ms) * (hits[rows[i]].z - mz)
    if ss <= 1e-6 * total:
        return False
    state.cot = sz / ss
    state.z = mz - state.cot * ms
    return True


@kernel
def line_weight(hit: Record) -> float:
    """Weight of a hit in the straight line; the constant stands for scattering."""
    return float(1.0 / (0.09 + hit.zz + hit.xx + hit.yy))


@kernel
def propagate_parameters(state: Record, s: float) -> None:
    """Propagate the parameters alone, where the covariance does not matter."""
    omega = state.omega
    half = 0.5 * omega * s
    chord = s if abs(half) < 1e-9 else s * math.sin(half) / half
    sin, cos = math.sin(half), math.cos(half)
    c, d = state.cos_phi, state.sin_phi
    state.x += chord * (c * cos - d * sin)
    state.y += chord * (d * cos + c * sin)
    state.z += state.cot * s
    sin, cos = math.sin(2.0 * half), math.cos(2.0 * half)
    state.cos_phi, state.sin_phi = c * cos - d * sin, d * cos + c * sin


@kernel
def inflate_covariance(state: Record) -> None:
    """Variances that constrain nothing, where there are none yet."""
    state.u_u = 25.0
    state.phi_phi = 0.1
    state.omega_omega = 1e-5
    state.w_w = 1e3
    state.cot_cot = 0.3 * (1.0 + state.cot * state.cot)
