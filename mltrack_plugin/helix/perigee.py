"""True track parameters at the perigee, from where and how a particle was made."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.helix.helix import GEV_PER_TESLA_MM, wrap_angle

Array = npt.NDArray[Any]

#: Curvature in 1/mm below which a particle flies straight on: a radius of a thousand kilometres.
_STRAIGHT = 1e-12


def true_perigee(position: npt.ArrayLike, momentum: npt.ArrayLike, q: npt.ArrayLike, field_z: float) -> Array:
    """Follow the helix of each particle from its production vertex to its point closest to the z axis.

    Conventions as in `helix` (those of ACTS), propagation as by V. Karimäki (NIM A 305 (1991) 187). Energy
    loss and scattering are not modelled, so theta and q/p are those at production. The truth branches of ACTS's
    ``tracksummary`` extrapolate along a straight line instead, which differs for displaced particles.

    Args:
        position: (n, 3) production vertex in mm.
        momentum: (n, 3) at production in GeV.
        q: (n,) charge in e; neutral particles fly straight and get the q/p of charge 1, as in ACTS.
        field_z: solenoid field in T; 0 = no field.

    Returns:
        (n, 5) float64 ``(d0, z0, phi, theta, q/p)`` in mm, radian, e/GeV; NaN for a particle at rest or one
        that moves along z.

    >>> true_perigee([[0, 3, 1]], [[1, 0, 1]], [1], 0.0).round(3).tolist()
    [[3.0, 1.0, 0.0, 0.785, 0.707]]
    """
    x, y, z = np.asarray(position, dtype=np.float64).reshape(-1, 3).T
    px, py, pz = np.asarray(momentum, dtype=np.float64).reshape(-1, 3).T
    charge = np.asarray(q, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        pt = np.hypot(px, py)
        pt = np.where(pt > 0, pt, np.nan)
        phi = np.arctan2(py, px)
        omega = -charge * GEV_PER_TESLA_MM * field_z / pt
        along = x * np.cos(phi) + y * np.sin(phi)
        across = y * np.cos(phi) - x * np.sin(phi)
        # Distance of the circle from the axis without differences of large radii.
        a = 2 * across + omega * (across**2 + along**2)
        d0 = a / (1 + np.sqrt(np.maximum(1 + omega * a, 0.0)))
        turn = np.arctan2(-omega * along, 1 + omega * across)
        straight = np.abs(omega) < _STRAIGHT
        s = np.where(straight, along, -turn / np.where(straight, 1.0, omega))
        z0 = z - s * pz / pt
        theta = np.arctan2(pt, pz)
        qop = np.where(charge == 0, 1.0, charge) / np.hypot(pt, pz)
    return np.stack([d0, z0, wrap_angle(phi + turn), theta, qop], axis=1)
