"""Track state on a helix: propagation with its transport Jacobian, and measurement update.

A state is a point on the track with the direction there, and the covariance of small displacements of it:

- u, mm: transverse displacement along the normal (-sin phi, cos phi);
- phi, radian: azimuth of the direction;
- omega, 1/mm: signed curvature d phi / d s;
- w, mm: displacement in z at fixed path length;
- cot, cot theta = d z / d s.

s is the path length in the transverse plane. A hit is compared with the point of the track that is closest to it in the
transverse plane, where its residuals are (u, w); its position covariance is projected on these, so barrel modules,
discs and space points are treated alike.

Records have named fields (`STATE`, `MEASUREMENT`, `TRANSPORT`, `GAIN`); kernels take them by reference. A record that a
kernel takes out of an array is a bare pointer: the array must come from the caller, or be used or returned afterwards.

Conventions of the helix as in :mod:`mltrack_plugin.helix.helix`; filter equations as by R. Frühwirth, NIM A 262
(1987) 444.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mltrack_plugin.compiled import inlined

#: One record of a structured array.
Record = Any


def record_type(*names: str) -> np.dtype[Any]:
    """Type of a record of float64 fields."""
    return np.dtype([(name, np.float64) for name in names], align=True)


#: Upper triangle of the covariance of (u, phi, omega, w, cot), row by row.
COVARIANCE = (
    "u_u", "u_phi", "u_omega", "u_w", "u_cot", "phi_phi", "phi_omega", "phi_w", "phi_cot",
    "omega_omega", "omega_w", "omega_cot", "w_w", "w_cot", "cot_cot",
)  # fmt: skip
#: Position, mm; direction; curvature, 1/mm; cot theta; path length from where the state began, mm; covariance.
STATE = record_type("x", "y", "z", "cos_phi", "sin_phi", "omega", "cot", "path", *COVARIANCE)
#: Position of a hit, mm, and its covariance, mm^2 (none between z and the others).
MEASUREMENT = record_type("x", "y", "z", "xx", "xy", "yy", "zz")
#: Elements of the transport Jacobian that are not 0 or 1: cos_turn is both u_u and phi_phi, u_phi is phi_omega as well,
#: and the path length is w_cot.
TRANSPORT = record_type("cos_turn", "u_phi", "u_omega", "phi_u", "w_u", "w_phi", "w_omega", "path")
#: Of an update: Kalman gain of each parameter for the residuals u and w, the residuals and their inverse covariance.
GAIN = record_type(
    "u_u", "phi_u", "omega_u", "w_u", "cot_u", "u_w", "phi_w", "omega_w", "w_w", "cot_w",
    "inverse_uu", "inverse_uw", "inverse_ww", "residual_u", "residual_w",
)  # fmt: skip


def new_record(kind: np.dtype[Any]) -> Record:
    """A record of zeros whose fields are attributes, in Python as in kernels."""
    return np.zeros(1, dtype=kind).view(np.recarray)[0]


@inlined
def copy_state(source: Record, target: Record) -> None:
    """Copy parameters, path length and covariance."""
    target.x, target.y, target.z = source.x, source.y, source.z
    target.cos_phi, target.sin_phi = source.cos_phi, source.sin_phi
    target.omega, target.cot, target.path = source.omega, source.cot, source.path
    target.u_u, target.u_phi, target.u_omega = source.u_u, source.u_phi, source.u_omega
    target.u_w, target.u_cot = source.u_w, source.u_cot
    target.phi_phi, target.phi_omega = source.phi_phi, source.phi_omega
    target.phi_w, target.phi_cot = source.phi_w, source.phi_cot
    target.omega_omega, target.omega_w, target.omega_cot = (
        source.omega_omega,
        source.omega_w,
        source.omega_cot,
    )
    target.w_w, target.w_cot, target.cot_cot = source.w_w, source.w_cot, source.cot_cot


@inlined
def clear_covariance(state: Record) -> None:
    """Set the path length and every element of the covariance to 0."""
    state.path = 0.0
    state.u_u = state.u_phi = state.u_omega = state.u_w = state.u_cot = 0.0
    state.phi_phi = state.phi_omega = state.phi_w = state.phi_cot = 0.0
    state.omega_omega = state.omega_w = state.omega_cot = 0.0
    state.w_w = state.w_cot = state.cot_cot = 0.0


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
def chord(state: Record, s: float) -> tuple[float, float]:
    """Transverse displacement (x, y) after the path length s."""
    _, _, ahead, aside, _ = arc(state.omega, s)
    return ahead * state.cos_phi - aside * state.sin_phi, ahead * state.sin_phi + aside * state.cos_phi


@inlined
def path_to_closest(state: Record, x: float, y: float) -> float:
    """Path length from a state to the point of its helix closest to (x, y) in the transverse plane."""
    dx, dy = x - state.x, y - state.y
    along = dx * state.cos_phi + dy * state.sin_phi
    across = dy * state.cos_phi - dx * state.sin_phi
    omega = state.omega
    sideways, ahead = omega * along, 1.0 - omega * across
    if abs(sideways) < 0.02 * ahead:
        ratio = sideways / ahead
        return float(along / ahead * (1.0 - ratio * ratio / 3.0 * (1.0 - 0.6 * ratio * ratio)))
    return float(math.atan2(sideways, ahead) / omega)


@inlined
def residual(state: Record, s: float, hit: Record) -> tuple[float, float]:
    """Residuals (u, w) of a hit at the path length s from the state, which is left where it is."""
    sin, cos, ahead, aside, _ = arc(state.omega, s)
    c, d = state.cos_phi, state.sin_phi
    x = state.x + ahead * c - aside * d
    y = state.y + ahead * d + aside * c
    c1, s1 = c * cos - d * sin, d * cos + c * sin
    return (hit.y - y) * c1 - (hit.x - x) * s1, hit.z - state.z - state.cot * s


@inlined
def propagate(state: Record, s: float, transport: Record) -> None:
    """Propagate a state and its covariance along the helix by the path length s (negative = backwards).

    ``transport`` receives the transport Jacobian.
    """
    sin, cos, a, b, rest = arc(state.omega, s)
    cot, omega = state.cot, state.omega
    c, d = state.cos_phi, state.sin_phi
    state.x += a * c - b * d
    state.y += a * d + b * c
    state.z += cot * s
    c1, s1 = c * cos - d * sin, d * cos + c * sin
    # Rounding must not let the direction shrink or grow.
    norm = 1.5 - 0.5 * (c1 * c1 + s1 * s1)
    state.cos_phi, state.sin_phi = c1 * norm, s1 * norm
    state.path += s

    uo = 0.5 * s * s * (1.0 - (omega * s) ** 2 / 12.0) if abs(omega * s) < 0.02 else b / omega
    fu = -omega * sin
    wu, wf, wo = -cot * sin, -cot * b, -cot * rest
    transport.cos_turn, transport.u_phi, transport.u_omega, transport.phi_u = cos, a, uo, fu
    transport.w_u, transport.w_phi, transport.w_omega, transport.path = wu, wf, wo, s

    # Rows and columns u, f (phi), o (omega), w, l (cot) of the covariance P.
    puu, puf, puo, puw, pul = state.u_u, state.u_phi, state.u_omega, state.u_w, state.u_cot
    pff, pfo, pfw, pfl = state.phi_phi, state.phi_omega, state.phi_w, state.phi_cot
    poo, pow_, pol = state.omega_omega, state.omega_w, state.omega_cot
    pww, pwl, pll = state.w_w, state.w_cot, state.cot_cot
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
    state.u_u = uu * cos + uf * a + uq * uo
    state.u_phi = uu * fu + uf * cos + uq * a
    state.u_omega = uq
    state.u_w = uu * wu + uf * wf + uq * wo + uw + ul * s
    state.u_cot = ul
    state.phi_phi = fu_ * fu + ff * cos + fo * a
    state.phi_omega = fo
    state.phi_w = fu_ * wu + ff * wf + fo * wo + fw + fl * s
    state.phi_cot = fl
    state.omega_w = wo_
    state.w_w = wu_ * wu + wf_ * wf + wo_ * wo + ww + wl * s
    state.w_cot = wl


@inlined
def projected_covariance(state: Record, hit: Record) -> tuple[float, float, float]:
    """Covariance (uu, uw, ww) of a hit's residuals from its position covariance alone, mm^2."""
    c, s, cot = state.cos_phi, state.sin_phi, state.cot
    mixed = 2.0 * hit.xy * s * c
    nn = hit.xx * s * s + hit.yy * c * c - mixed
    tt = hit.xx * c * c + hit.yy * s * s + mixed
    nt = (hit.yy - hit.xx) * s * c + hit.xy * (c * c - s * s)
    return nn, -cot * nt, hit.zz + cot * cot * tt


@inlined
def residual_covariance(state: Record, hit: Record) -> tuple[float, float, float]:
    """Covariance (uu, uw, ww) of a hit's residuals from the state, mm^2: that of the state and that of the hit."""
    uu, uw, ww = projected_covariance(state, hit)
    return state.u_u + uu, state.u_w + uw, state.w_w + ww


@inlined
def chi2_of(u: float, w: float, uu: float, uw: float, ww: float) -> float:
    """(u, w) times the inverse of ((uu, uw), (uw, ww)) times (u, w)."""
    return (u * u * ww - 2.0 * u * w * uw + w * w * uu) / (uu * ww - uw * uw)


@inlined
def update(state: Record, hit: Record, gain: Record) -> float:
    """Measurement update with the hit at whose closest point the state is; ``gain`` receives what it took.

    Returns:
        chi2 of the hit given what the state knew before.
    """
    u = (hit.y - state.y) * state.cos_phi - (hit.x - state.x) * state.sin_phi
    w = hit.z - state.z
    a, b, c = residual_covariance(state, hit)
    determinant = a * c - b * b
    iuu, iuw, iww = c / determinant, -b / determinant, a / determinant
    # Rows u and w of the covariance.
    pu0, pu1, pu2, pu3, pu4 = state.u_u, state.u_phi, state.u_omega, state.u_w, state.u_cot
    pw0, pw1, pw2, pw3, pw4 = state.u_w, state.phi_w, state.omega_w, state.w_w, state.w_cot
    ku0, kw0 = pu0 * iuu + pw0 * iuw, pu0 * iuw + pw0 * iww
    ku1, kw1 = pu1 * iuu + pw1 * iuw, pu1 * iuw + pw1 * iww
    ku2, kw2 = pu2 * iuu + pw2 * iuw, pu2 * iuw + pw2 * iww
    ku3, kw3 = pu3 * iuu + pw3 * iuw, pu3 * iuw + pw3 * iww
    ku4, kw4 = pu4 * iuu + pw4 * iuw, pu4 * iuw + pw4 * iww
    state.u_u -= ku0 * pu0 + kw0 * pw0
    state.u_phi -= ku0 * pu1 + kw0 * pw1
    state.u_omega -= ku0 * pu2 + kw0 * pw2
    state.u_w -= ku0 * pu3 + kw0 * pw3
    state.u_cot -= ku0 * pu4 + kw0 * pw4
    state.phi_phi -= ku1 * pu1 + kw1 * pw1
    state.phi_omega -= ku1 * pu2 + kw1 * pw2
    state.phi_w -= ku1 * pu3 + kw1 * pw3
    state.phi_cot -= ku1 * pu4 + kw1 * pw4
    state.omega_omega -= ku2 * pu2 + kw2 * pw2
    state.omega_w -= ku2 * pu3 + kw2 * pw3
    state.omega_cot -= ku2 * pu4 + kw2 * pw4
    state.w_w -= ku3 * pu3 + kw3 * pw3
    state.w_cot -= ku3 * pu4 + kw3 * pw4
    state.cot_cot -= ku4 * pu4 + kw4 * pw4
    shift(
        state, ku0 * u + kw0 * w, ku1 * u + kw1 * w, ku2 * u + kw2 * w, ku3 * u + kw3 * w, ku4 * u + kw4 * w
    )
    gain.u_u, gain.phi_u, gain.omega_u, gain.w_u, gain.cot_u = ku0, ku1, ku2, ku3, ku4
    gain.u_w, gain.phi_w, gain.omega_w, gain.w_w, gain.cot_w = kw0, kw1, kw2, kw3, kw4
    gain.inverse_uu, gain.inverse_uw, gain.inverse_ww = iuu, iuw, iww
    gain.residual_u, gain.residual_w = u, w
    return float(u * u * iuu + 2.0 * u * w * iuw + w * w * iww)


@inlined
def shift(state: Record, u: float, phi: float, omega: float, w: float, cot: float) -> None:
    """Change the parameters of a state, not its covariance."""
    c, s = state.cos_phi, state.sin_phi
    state.x -= u * s
    state.y += u * c
    state.z += w
    turn = min(max(phi, -1.0), 1.0)
    sin, cos = math.sin(turn), math.cos(turn)
    state.cos_phi, state.sin_phi = c * cos - s * sin, s * cos + c * sin
    state.omega += omega
    state.cot += cot
