"""Helices in a solenoid field: the geometry that fit, tests and simulation share.

A helix is described at its perigee, the point closest to the z axis, in the conventions of ACTS:
the perigee lies at d0 (-sin phi, cos phi) in the transverse plane, phi and theta are the direction
of the momentum there, and a positive charge in a field along +z turns clockwise seen from +z.
Inside the kernels the columns are ``(d0, phi, omega, z0, cot theta)`` with the signed curvature
omega = d phi / d s in 1/mm, which stays well behaved for straight tracks. s is the transverse arc
length from the perigee in mm.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: pT [GeV] = GEV_PER_TESLA_MM * |q| [e] * B [T] * R [mm].
GEV_PER_TESLA_MM = 0.299792458e-3


class Inner(IntEnum):
    """Columns of a helix inside the kernels."""

    D0 = 0
    PHI = 1
    OMEGA = 2
    Z0 = 3
    COT = 4


class Perigee(IntEnum):
    """Columns of perigee parameters."""

    D0 = 0
    Z0 = 1
    PHI = 2
    THETA = 3
    QOP = 4


def to_perigee(inner: Array, field_z: float) -> Array:
    """(n, 5) ``(d0, phi, omega, z0, cot theta)`` to ``(d0, z0, phi, theta, q/p)``; phi in (-pi, pi]."""
    d0, phi, omega, z0, cot = inner.T
    theta = np.arctan2(1.0, cot)
    qop = -omega * np.sin(theta) / (GEV_PER_TESLA_MM * field_z)
    return np.stack([d0, z0, wrap_angle(phi), theta, qop], axis=1)


def from_perigee(perigee: npt.ArrayLike, field_z: float) -> Array:
    """The inverse of :func:`to_perigee`."""
    d0, z0, phi, theta, qop = np.asarray(perigee, dtype=np.float64).T
    omega = -qop * GEV_PER_TESLA_MM * field_z / np.sin(theta)
    return np.stack([d0, phi, omega, z0, 1.0 / np.tan(theta)], axis=1)


def perigee_jacobian(inner: Array, field_z: float) -> Array:
    """(n, 5, 5) derivatives of the perigee parameters with respect to the inner ones."""
    omega, cot = inner[:, Inner.OMEGA], inner[:, Inner.COT]
    sin = 1.0 / np.hypot(1.0, cot)
    cos = cot * sin
    jacobian = np.zeros((len(inner), 5, 5))
    jacobian[:, Perigee.D0, Inner.D0] = 1.0
    jacobian[:, Perigee.Z0, Inner.Z0] = 1.0
    jacobian[:, Perigee.PHI, Inner.PHI] = 1.0
    jacobian[:, Perigee.THETA, Inner.COT] = -(sin**2)
    jacobian[:, Perigee.QOP, Inner.OMEGA] = -sin / (GEV_PER_TESLA_MM * field_z)
    jacobian[:, Perigee.QOP, Inner.COT] = omega * cos * sin**2 / (GEV_PER_TESLA_MM * field_z)
    return jacobian


def helix_positions(perigee: npt.ArrayLike, field_z: float, s: npt.ArrayLike) -> Array:
    """Points on helices.

    Args:
        perigee: (n, 5) ``(d0, z0, phi, theta, q/p)`` in mm, radian, e/GeV.
        field_z: solenoid field in T.
        s: (n,) transverse arc length from the perigee in mm.

    Returns:
        (n, 3) positions in mm.
    """
    d0, phi, omega, z0, cot = from_perigee(perigee, field_z).T
    s = np.asarray(s, dtype=np.float64)
    half = 0.5 * omega * s
    # The chord of an arc: length s sinc(half angle), direction phi + half angle.
    chord = s * np.sinc(half / np.pi)
    x = -d0 * np.sin(phi) + chord * np.cos(phi + half)
    y = d0 * np.cos(phi) + chord * np.sin(phi + half)
    return np.stack([x, y, z0 + cot * s], axis=1)


def wrap_angle(angle: Array) -> Array:
    """Angles brought to (-pi, pi]."""
    return np.pi - np.mod(np.pi - angle, 2 * np.pi)
