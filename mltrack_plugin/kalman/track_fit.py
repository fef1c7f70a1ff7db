"""Fit of one track: a forward filter and a backward recursion that gives every hit's chi2 given all the others.

The start comes from the circle fit of V. Karimäki (NIM A 305 (1991) 187) and a straight line in s-z; its covariance is
so wide that it does not matter. The backward recursion is that of P. de Jong (Biometrika 76 (1989) 79): no covariance
is inverted, and a hit's residual from the fit without it comes for free.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from mltrack_plugin.compiled import kernel
from mltrack_plugin.kalman.state import (
    STATE,
    STEP,
    chi2_of,
    cross_material,
    move,
    shift,
    to_closest,
    update,
)

Array = npt.NDArray[Any]

#: Columns of the record of a hit on a track: predicted state, step to it, gain, adjoint vector and matrix there.
GAIN = STATE + STEP
ADJOINT = GAIN + 15
RECORD = ADJOINT + 5 + 15


@kernel
def start_state(table: Array, rows: Array, n: int, state: Array, s: Array) -> bool:
    """Order hits along their circle and put a state with a wide covariance at the first of them.

    Args:
        table: (n_hits, HIT).
        rows: the first ``n`` (3 or more) are rows of ``table``; they are put in order.
        state: (STATE,) is filled.
        s: (n,) scratch, arc lengths.

    Returns:
        False if the hits do not determine a helix.
    """
    mx = my = mr = 0.0
    for i in range(n):
        mx += table[rows[i], 0]
        my += table[rows[i], 1]
    mx /= n
    my /= n
    # Relative to the centre of the hits, where direction and distance are determined best.
    for i in range(n):
        mr += (table[rows[i], 0] - mx) ** 2 + (table[rows[i], 1] - my) ** 2
    mr /= n
    xx = xy = yy = xr = yr = rr = 0.0
    for i in range(n):
        x, y = table[rows[i], 0] - mx, table[rows[i], 1] - my
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
    state[0], state[1], state[2] = mx - d0 * sin, my + d0 * cos, 0.0
    state[3], state[4], state[5], state[6] = cos, sin, omega, 0.0
    if not math.isfinite(omega):
        return False
    for i in range(n):
        s[i] = to_closest(state, table[rows[i], 0], table[rows[i], 1])
    for i in range(1, n):
        row, at, j = rows[i], s[i], i - 1
        while j >= 0 and s[j] > at:
            rows[j + 1], s[j + 1] = rows[j], s[j]
            j -= 1
        rows[j + 1], s[j + 1] = row, at
    first, last = rows[0], rows[n - 1]
    if table[first, 0] ** 2 + table[first, 1] ** 2 > table[last, 0] ** 2 + table[last, 1] ** 2:
        # Towards the beam axis: turn the track round.
        for i in range(n // 2):
            j = n - 1 - i
            rows[i], rows[j] = rows[j], rows[i]
            s[i], s[j] = s[j], s[i]
        for i in range(n):
            s[i] = -s[i]
        state[3], state[4], state[5] = -state[3], -state[4], -state[5]
    total = ms = mz = 0.0
    for i in range(n):
        weight = line_weight(table, rows[i])
        total += weight
        ms += weight * s[i]
        mz += weight * table[rows[i], 2]
    ms /= total
    mz /= total
    ss = sz = 0.0
    for i in range(n):
        weight = line_weight(table, rows[i])
        ss += weight * (s[i] - ms) ** 2
        sz += weight * (s[i] - ms) * (table[rows[i], 2] - mz)
    if ss <= 1e-6 * total:
        return False
    state[6] = sz / ss
    state[2] = mz - state[6] * ms
    widen(state)
    move_only(state, s[0])
    state[7] = 0.0
    return math.isfinite(state[0] + state[1] + state[2] + state[3])


@kernel
def line_weight(table: Array, row: int) -> float:
    """Weight of a hit in the straight line that starts the fit; the constant stands for scattering."""
    return float(1.0 / (0.09 + table[row, 6] + table[row, 3] + table[row, 5]))


@kernel
def move_only(state: Array, s: float) -> None:
    """Move a state whose covariance does not matter."""
    omega = state[5]
    half = 0.5 * omega * s
    chord = s if abs(half) < 1e-9 else s * math.sin(half) / half
    sin, cos = math.sin(half), math.cos(half)
    c, d = state[3], state[4]
    state[0] += chord * (c * cos - d * sin)
    state[1] += chord * (d * cos + c * sin)
    state[2] += state[6] * s
    sin, cos = math.sin(2.0 * half), math.cos(2.0 * half)
    state[3], state[4] = c * cos - d * sin, d * cos + c * sin


@kernel
def widen(state: Array) -> None:
    """Set a covariance that constrains nothing."""
    for k in range(8, STATE):
        state[k] = 0.0
    state[8] = 25.0
    state[13] = 0.1
    state[17] = 1e-5
    state[20] = 1e3
    state[22] = 0.3 * (1.0 + state[6] * state[6])


@kernel
def filter_forward(
    table: Array, rows: Array, n: int, state: Array, records: Array, thickness: float, bend: float
) -> float:
    """Filter hits in order, starting from ``state`` near the first; leaves the filtered state behind the last.

    Args:
        records: (>= n, RECORD) is filled up to ADJOINT.

    Returns:
        chi2 of the track; not finite if the filter failed.
    """
    total = 0.0
    for i in range(n):
        hit = table[rows[i]]
        record = records[i]
        s = to_closest(state, hit[0], hit[1])
        if not abs(s) < 1e5:
            return math.inf
        move(state, s, record[STATE:])
        for k in range(STATE):
            record[k] = state[k]
        total += update(state, hit, record[GAIN:])
        cross_material(state, thickness, bend, False)
    return total


@kernel
def pull(
    step: Array, ru: float, rf: float, ro: float, rw: float, rl: float
) -> tuple[float, float, float, float, float]:
    """F^T r of a step."""
    return (
        step[0] * ru + step[3] * rf + step[4] * rw,
        step[1] * ru + step[0] * rf + step[5] * rw,
        step[2] * ru + step[1] * rf + ro + step[6] * rw,
        rw,
        step[7] * rw + rl,
    )


@kernel
def smooth_back(records: Array, n: int, hit_chi2: Array) -> None:
    """Backward recursion over the records of `filter_forward`.

    Fills the adjoint columns of the records, and ``hit_chi2`` (>= n,) with the chi2 of each hit's residual from
    the fit to all other hits (two degrees of freedom).
    """
    r0 = r1 = r2 = r3 = r4 = 0.0
    n00 = n01 = n02 = n03 = n04 = n11 = n12 = n13 = n14 = n22 = n23 = n24 = n33 = n34 = n44 = 0.0
    for i in range(n - 1, -1, -1):
        record = records[i]
        g = record[GAIN:]
        u0, u1, u2, u3, u4 = g[0], g[1], g[2], g[3], g[4]
        w0, w1, w2, w3, w4 = g[5], g[6], g[7], g[8], g[9]
        # N K, K^T N K, K^T r.
        a0 = n00 * u0 + n01 * u1 + n02 * u2 + n03 * u3 + n04 * u4
        a1 = n01 * u0 + n11 * u1 + n12 * u2 + n13 * u3 + n14 * u4
        a2 = n02 * u0 + n12 * u1 + n22 * u2 + n23 * u3 + n24 * u4
        a3 = n03 * u0 + n13 * u1 + n23 * u2 + n33 * u3 + n34 * u4
        a4 = n04 * u0 + n14 * u1 + n24 * u2 + n34 * u3 + n44 * u4
        b0 = n00 * w0 + n01 * w1 + n02 * w2 + n03 * w3 + n04 * w4
        b1 = n01 * w0 + n11 * w1 + n12 * w2 + n13 * w3 + n14 * w4
        b2 = n02 * w0 + n12 * w1 + n22 * w2 + n23 * w3 + n24 * w4
        b3 = n03 * w0 + n13 * w1 + n23 * w2 + n33 * w3 + n34 * w4
        b4 = n04 * w0 + n14 * w1 + n24 * w2 + n34 * w3 + n44 * w4
        duu = g[10] + u0 * a0 + u1 * a1 + u2 * a2 + u3 * a3 + u4 * a4
        duw = g[11] + w0 * a0 + w1 * a1 + w2 * a2 + w3 * a3 + w4 * a4
        dww = g[12] + w0 * b0 + w1 * b1 + w2 * b2 + w3 * b3 + w4 * b4
        eu = g[10] * g[13] + g[11] * g[14] - (u0 * r0 + u1 * r1 + u2 * r2 + u3 * r3 + u4 * r4)
        ew = g[11] * g[13] + g[12] * g[14] - (w0 * r0 + w1 * r1 + w2 * r2 + w3 * r3 + w4 * r4)
        hit_chi2[i] = chi2_of(eu, ew, duu, duw, dww)
        # Back through the update.
        r0 += eu
        r3 += ew
        n00 += duu - 2.0 * a0
        n01 -= a1
        n02 -= a2
        n03 += duw - a3 - b0
        n04 -= a4
        n13 -= b1
        n23 -= b2
        n33 += dww - 2.0 * b3
        n34 -= b4
        adjoint = record[ADJOINT:]
        adjoint[0], adjoint[1], adjoint[2], adjoint[3], adjoint[4] = r0, r1, r2, r3, r4
        adjoint[5], adjoint[6], adjoint[7], adjoint[8], adjoint[9] = n00, n01, n02, n03, n04
        adjoint[10], adjoint[11], adjoint[12], adjoint[13] = n11, n12, n13, n14
        adjoint[14], adjoint[15], adjoint[16] = n22, n23, n24
        adjoint[17], adjoint[18], adjoint[19] = n33, n34, n44
        # Back through the step.
        step = record[STATE:]
        r0, r1, r2, r3, r4 = pull(step, r0, r1, r2, r3, r4)
        m00, m10, m20, m30, _ = pull(step, n00, n01, n02, n03, n04)
        m01, m11, m21, m31, _ = pull(step, n01, n11, n12, n13, n14)
        m02, m12, m22, m32, _ = pull(step, n02, n12, n22, n23, n24)
        m03, m13, m23, m33, m43 = pull(step, n03, n13, n23, n33, n34)
        m04, m14, m24, m34, m44 = pull(step, n04, n14, n24, n34, n44)
        n00, n01, n02, n03, n04 = pull(step, m00, m01, m02, m03, m04)
        _, n11, n12, n13, n14 = pull(step, m10, m11, m12, m13, m14)
        _, _, n22, n23, n24 = pull(step, m20, m21, m22, m23, m24)
        _, _, _, n33, n34 = pull(step, m30, m31, m32, m33, m34)
        n44 = step[7] * m43 + m44


@kernel
def smoothed_state(record: Array, state: Array, scratch: Array) -> None:
    """State at a hit from all hits of the track, into ``state`` (>= STATE,); ``scratch`` holds 80 numbers or more."""
    for k in range(STATE):
        state[k] = record[k]
    # P, N and P N as full matrices, row by row.
    p, q, pq = scratch[0:25], scratch[25:50], scratch[50:75]
    k = 0
    for a in range(5):
        for b in range(a, 5):
            p[5 * a + b] = p[5 * b + a] = record[8 + k]
            q[5 * a + b] = q[5 * b + a] = record[ADJOINT + 5 + k]
            k += 1
    for a in range(5):
        for b in range(5):
            element = 0.0
            for c in range(5):
                element += p[5 * a + c] * q[5 * b + c]
            pq[5 * a + b] = element
        scratch[75 + a] = 0.0
        for b in range(5):
            scratch[75 + a] += p[5 * a + b] * record[ADJOINT + b]
    k = 8
    for a in range(5):
        for b in range(a, 5):
            change = 0.0
            for c in range(5):
                change += pq[5 * a + c] * p[5 * b + c]
            state[k] -= change
            k += 1
    shift(state, scratch[75], scratch[76], scratch[77], scratch[78], scratch[79])


@kernel
def fit_track(
    table: Array,
    rows: Array,
    n: int,
    state: Array,
    records: Array,
    hit_chi2: Array,
    scratch: Array,
    thickness: float,
    bend: float,
) -> float:
    """Order the hits, filter and smooth them; ``state`` is the filtered one behind the last hit.

    Returns:
        chi2 (2 n - 5 degrees of freedom); infinite if the hits determine no helix.
    """
    if not start_state(table, rows, n, state, scratch):
        return math.inf
    total = filter_forward(table, rows, n, state, records, thickness, bend)
    if not math.isfinite(total):
        return math.inf
    smooth_back(records, n, hit_chi2)
    return total
