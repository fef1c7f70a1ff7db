"""Track state on a helix: propagation, scattering, energy loss, update with a hit.

A state is a point on the track with its direction, and the covariance of small displacements there:

    0-2  x, y, z, mm                      5  signed curvature omega = d phi / d s, 1/mm
    3-4  cos phi, sin phi of the direction  6  lambda = cot theta = d z / d s
    7    s, transverse arc length from where the state began, mm
    8-22 covariance, upper triangle row by row, of (u, phi, omega, w, lambda)

u is the transverse displacement along the normal (-sin phi, cos phi), w the displacement in z at fixed s. A hit is
compared at the point of the track that is closest to it in the transverse plane, where its residuals are (u, w); its
position errors are projected on these, so barrel modules, discs and space points are treated alike.

Conventions of the helix as in :mod:`mltrack_plugin.helix.helix`; filter equations as by R. Frühwirth, NIM A 262
(1987) 444.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from mltrack_plugin.compiled import inlined

Array = npt.NDArray[Any]

#: Length of a state.
STATE = 23
#: Columns of the hit table: x, y, z, covariance xx, xy, yy and zz, mm and mm^2.
HIT = 7
#: Length of the record of a step, see `step`: what `carry_back` needs.
STEP = 8

#: GeV^2.
PION_MASS2 = 0.13957039**2
#: GeV per radiation length of silicon at minimum ionisation: 1.66 MeV cm^2/g times 21.8 g/cm^2.
ENERGY_LOSS = 0.036
#: Largest standard deviation of a scattering angle, radian.
_LARGEST_ANGLE = 0.1


@inlined
def arc(omega: float, s: float) -> tuple[float, float, float, float, float]:
    """Of an arc of length s: sin and cos of its turn psi, its chord along and across, (psi - sin psi) / omega^2."""
    psi = omega * s
    if abs(psi) < 0.02:
        p2 = psi * psi
        sin = psi * (1.0 - p2 / 6.0 * (1.0 - p2 / 20.0))
        cos = 1.0 - 0.5 * p2 * (1.0 - p2 / 12.0)
        ahead = s * (1.0 - p2 / 6.0 * (1.0 - p2 / 20.0))
        aside = 0.5 * s * psi * (1.0 - p2 / 12.0)
        rest = s * s * s * omega / 6.0 * (1.0 - p2 / 20.0)
        return sin, cos, ahead, aside, rest
    sin, cos = math.sin(psi), math.cos(psi)
    return sin, cos, sin / omega, (1.0 - cos) / omega, (psi - sin) / (omega * omega)


@inlined
def chord(state: Array, s: float) -> tuple[float, float]:
    """Transverse displacement (x, y) after the arc length s."""
    _, _, ahead, aside, _ = arc(state[5], s)
    return ahead * state[3] - aside * state[4], ahead * state[4] + aside * state[3]


@inlined
def to_closest(state: Array, x: float, y: float) -> float:
    """Arc length from a state to the point closest to (x, y) in the transverse plane."""
    dx, dy = x - state[0], y - state[1]
    along = dx * state[3] + dy * state[4]
    across = dy * state[3] - dx * state[4]
    omega = state[5]
    sideways, ahead = omega * along, 1.0 - omega * across
    if abs(sideways) < 0.02 * ahead:
        ratio = sideways / ahead
        return float(along / ahead * (1.0 - ratio * ratio / 3.0 * (1.0 - 0.6 * ratio * ratio)))
    return float(math.atan2(sideways, ahead) / omega)


@inlined
def residual(state: Array, s: float, hit: Array) -> tuple[float, float]:
    """(u, w) of a hit seen from the point at arc length s from the state, without moving the state."""
    sin, cos, ahead, aside, _ = arc(state[5], s)
    c, d = state[3], state[4]
    x = state[0] + ahead * c - aside * d
    y = state[1] + ahead * d + aside * c
    c1, s1 = c * cos - d * sin, d * cos + c * sin
    return (hit[1] - y) * c1 - (hit[0] - x) * s1, hit[2] - state[2] - state[6] * s


@inlined
def move(state: Array, s: float, record: Array) -> None:
    """Move a state along its helix by the arc length s (negative = backwards); the step is put down in ``record``."""
    sin, cos, a, b, rest = arc(state[5], s)
    lam, omega = state[6], state[5]
    c, d = state[3], state[4]
    state[0] += a * c - b * d
    state[1] += a * d + b * c
    state[2] += lam * s
    c1, s1 = c * cos - d * sin, d * cos + c * sin
    # Rounding must not let the direction shrink or grow.
    norm = 1.5 - 0.5 * (c1 * c1 + s1 * s1)
    state[3], state[4] = c1 * norm, s1 * norm
    state[7] += s

    uo = 0.5 * s * s * (1.0 - (omega * s) ** 2 / 12.0) if abs(omega * s) < 0.02 else b / omega
    fu = -omega * sin
    wu, wf, wo = -lam * sin, -lam * b, -lam * rest
    record[0], record[1], record[2], record[3] = cos, a, uo, fu
    record[4], record[5], record[6], record[7] = wu, wf, wo, s

    puu, puf, puo, puw, pul = state[8], state[9], state[10], state[11], state[12]
    pff, pfo, pfw, pfl = state[13], state[14], state[15], state[16]
    poo, pow_, pol = state[17], state[18], state[19]
    pww, pwl, pll = state[20], state[21], state[22]
    # Rows of F P, then (F P) F^T.
    uu = cos * puu + a * puf + uo * puo
    uf = cos * puf + a * pff + uo * pfo
    uq = cos * puo + a * pfo + uo * poo
    uw = cos * puw + a * pfw + uo * pow_
    ul = cos * pul + a * pfl + uo * pol
    fu_ = fu * puu + cos * puf + a * puo
    ff = fu * puf + cos * pff + a * pfo
    fo = fu * puo + cos * pfo + a * poo
    fw = fu * puw + cos * pfw + a * pow_
    fl = fu * pul + cos * pfl + a * pol
    wu_ = wu * puu + wf * puf + wo * puo + puw + s * pul
    wf_ = wu * puf + wf * pff + wo * pfo + pfw + s * pfl
    wo_ = wu * puo + wf * pfo + wo * poo + pow_ + s * pol
    ww = wu * puw + wf * pfw + wo * pow_ + pww + s * pwl
    wl = wu * pul + wf * pfl + wo * pol + pwl + s * pll
    state[8] = uu * cos + uf * a + uq * uo
    state[9] = uu * fu + uf * cos + uq * a
    state[10] = uq
    state[11] = uu * wu + uf * wf + uq * wo + uw + ul * s
    state[12] = ul
    state[13] = fu_ * fu + ff * cos + fo * a
    state[14] = fo
    state[15] = fu_ * wu + ff * wf + fo * wo + fw + fl * s
    state[16] = fl
    state[18] = wo_
    state[20] = wu_ * wu + wf_ * wf + wo_ * wo + ww + wl * s
    state[21] = wl


@inlined
def projected(state: Array, hit: Array) -> tuple[float, float, float]:
    """Covariance (uu, uw, ww) of a hit's residuals from its position errors alone, mm^2."""
    c, s, lam = state[3], state[4], state[6]
    mixed = 2.0 * hit[4] * s * c
    nn = hit[3] * s * s + hit[5] * c * c - mixed
    tt = hit[3] * c * c + hit[5] * s * s + mixed
    nt = (hit[5] - hit[3]) * s * c + hit[4] * (c * c - s * s)
    return nn, -lam * nt, hit[6] + lam * lam * tt


@inlined
def chi2_of(u: float, w: float, uu: float, uw: float, ww: float) -> float:
    """(u, w) times the inverse of ((uu, uw), (uw, ww)) times (u, w)."""
    return (u * u * ww - 2.0 * u * w * uw + w * w * uu) / (uu * ww - uw * uw)


@inlined
def update(state: Array, hit: Array, gain: Array) -> float:
    """Kalman update with the hit at whose closest point the state is.

    ``gain`` (15,) receives the 5 x 2 gain, the inverse (uu, uw, ww) of the residuals' covariance and the residuals.

    Returns:
        chi2 of the hit given what the state knew before.
    """
    nn, nt, tt = projected(state, hit)
    u = (hit[1] - state[1]) * state[3] - (hit[0] - state[0]) * state[4]
    w = hit[2] - state[2]
    a, b, c = state[8] + nn, state[11] + nt, state[20] + tt
    determinant = a * c - b * b
    iuu, iuw, iww = c / determinant, -b / determinant, a / determinant
    pu0, pu1, pu2, pu3, pu4 = state[8], state[9], state[10], state[11], state[12]
    pw0, pw1, pw2, pw3, pw4 = state[11], state[15], state[18], state[20], state[21]
    ku0, kw0 = pu0 * iuu + pw0 * iuw, pu0 * iuw + pw0 * iww
    ku1, kw1 = pu1 * iuu + pw1 * iuw, pu1 * iuw + pw1 * iww
    ku2, kw2 = pu2 * iuu + pw2 * iuw, pu2 * iuw + pw2 * iww
    ku3, kw3 = pu3 * iuu + pw3 * iuw, pu3 * iuw + pw3 * iww
    ku4, kw4 = pu4 * iuu + pw4 * iuw, pu4 * iuw + pw4 * iww
    state[8] -= ku0 * pu0 + kw0 * pw0
    state[9] -= ku0 * pu1 + kw0 * pw1
    state[10] -= ku0 * pu2 + kw0 * pw2
    state[11] -= ku0 * pu3 + kw0 * pw3
    state[12] -= ku0 * pu4 + kw0 * pw4
    state[13] -= ku1 * pu1 + kw1 * pw1
    state[14] -= ku1 * pu2 + kw1 * pw2
    state[15] -= ku1 * pu3 + kw1 * pw3
    state[16] -= ku1 * pu4 + kw1 * pw4
    state[17] -= ku2 * pu2 + kw2 * pw2
    state[18] -= ku2 * pu3 + kw2 * pw3
    state[19] -= ku2 * pu4 + kw2 * pw4
    state[20] -= ku3 * pu3 + kw3 * pw3
    state[21] -= ku3 * pu4 + kw3 * pw4
    state[22] -= ku4 * pu4 + kw4 * pw4
    shift(
        state, ku0 * u + kw0 * w, ku1 * u + kw1 * w, ku2 * u + kw2 * w, ku3 * u + kw3 * w, ku4 * u + kw4 * w
    )
    gain[0], gain[1], gain[2], gain[3], gain[4] = ku0, ku1, ku2, ku3, ku4
    gain[5], gain[6], gain[7], gain[8], gain[9] = kw0, kw1, kw2, kw3, kw4
    gain[10], gain[11], gain[12], gain[13], gain[14] = iuu, iuw, iww, u, w
    return float(u * u * iuu + 2.0 * u * w * iuw + w * w * iww)


@inlined
def shift(state: Array, u: float, phi: float, omega: float, w: float, lam: float) -> None:
    """Change the parameters of a state."""
    c, s = state[3], state[4]
    state[0] -= u * s
    state[1] += u * c
    state[2] += w
    turn = min(max(phi, -1.0), 1.0)
    sin, cos = math.sin(turn), math.cos(turn)
    state[3], state[4] = c * cos - s * sin, s * cos + c * sin
    state[5] += omega
    state[6] += lam


@inlined
def crossed_material(state: Array, thickness: float) -> float:
    """Radiation lengths of a layer on the way, which is a barrel or a disc, whichever is met more steeply."""
    slope = math.sqrt(1.0 + state[6] * state[6])
    return float(thickness * min(slope, slope / max(abs(state[6]), 1e-9)))


@inlined
def deflection2(state: Array, crossed: float, bend: float) -> float:
    """Variance of the scattering angle in a plane (Highland), for a pion; rad^2."""
    if crossed <= 0.0:
        return 0.0
    momentum = math.sqrt(1.0 + state[6] * state[6]) * bend / max(abs(state[5]), 1e-9)
    beta = momentum / math.sqrt(momentum * momentum + PION_MASS2)
    angle = 0.0136 / (momentum * beta) * math.sqrt(crossed) * (1.0 + 0.038 * math.log(crossed))
    return float(min(max(angle, 0.0), _LARGEST_ANGLE) ** 2)


@inlined
def cross_material(state: Array, thickness: float, bend: float, backwards: bool) -> None:
    """Scattering and mean energy loss of a pion in one layer.

    Args:
        thickness: radiation lengths at normal incidence; 0 = nothing happens.
        bend: pT in GeV times omega in 1/mm, 0.3 B.
        backwards: the state moves against the particle, which gains energy then.
    """
    if thickness <= 0.0:
        return
    crossed = crossed_material(state, thickness)
    angle2 = deflection2(state, crossed, bend)
    slope2 = 1.0 + state[6] * state[6]
    state[13] += angle2 * slope2
    state[22] += angle2 * slope2 * slope2
    momentum = math.sqrt(slope2) * bend / max(abs(state[5]), 1e-9)
    beta2 = momentum * momentum / (momentum * momentum + PION_MASS2)
    # dp = dE / beta.
    loss = min(ENERGY_LOSS * crossed / (beta2 * math.sqrt(beta2) * momentum), 0.2)
    state[5] *= 1.0 - loss if backwards else 1.0 + loss


@inlined
def bent_between(state: Array, before: float, after: float, thickness: float, bend: float) -> None:
    """Widen an interpolated state by the scattering in the layer it is on, which neighbouring hits do not see.

    Args:
        before, after: distance to the neighbouring hits, mm.
    """
    lever = before * after / max(before + after, 1e-9)
    spread = deflection2(state, crossed_material(state, thickness), bend) * lever * lever
    slope2 = 1.0 + state[6] * state[6]
    state[8] += spread * slope2
    state[20] += spread * slope2 * slope2
