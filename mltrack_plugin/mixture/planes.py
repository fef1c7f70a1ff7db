"""Hits in the planes in which tracks from the origin are points, with their resolution.

Straight tracks: pseudorapidity and azimuth. REDVID's expanding helices (r = a t, azimuth = d t, z = b t):
pseudorapidity and the logarithm of the length per turning angle, for each direction d of turning.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mltrack_plugin.detectors.surfaces import SurfacesConfig, nearest_surface
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]


class Smearing(Config):
    """Standard deviations of a hit's coordinates."""

    r: float = Field(gt=0)
    """Radius, in the unit of length."""
    phi: float = Field(gt=0)
    """Azimuth, rad."""
    z: float = Field(gt=0)
    """z, in the unit of length."""


class PlaneHits(NamedTuple):
    """N hits in P planes, sorted by surface."""

    #: (N,) int64: row of each hit in the input.
    row: Array
    #: (N,) int64, ascending: surface, numbered from 0 without gaps.
    layer: Array
    #: (L,) int64: first hit of each surface.
    first: Array
    #: (N,) float64: pseudorapidity, and its standard deviation.
    eta: Array
    eta_sigma: Array
    #: (P, N) float64: second coordinate, and its standard deviation.
    second: Array
    second_sigma: Array
    #: Whether the second coordinate is an angle.
    angle: bool


def in_planes(
    positions: Array,
    surfaces: SurfacesConfig,
    smearing: Smearing,
    turning: bool,
    pitch: float,
    least_turn: float,
) -> PlaneHits:
    """Hits in the planes of straight tracks or expanding helices.

    Args:
        positions: (n, 3) Cartesian.
        surfaces: of the detector; hits on none of them are left out.
        smearing: of all hits.
        turning: whether tracks are expanding helices that leave the origin at azimuth 0.
        pitch: largest distance in z per turning angle; a hit has turned by at least abs(z) / pitch, by at least
            ``least_turn``, and by less than 2 pi more than that.
        least_turn: rad.
    """
    x, y, z = positions.T
    surface, r, z = nearest_surface(np.hypot(x, y).astype(np.float64), z, surfaces)
    row = np.flatnonzero(surface >= 0)
    row = row[np.argsort(surface[row], kind="stable")]
    layer = np.unique(surface[row], return_inverse=True)[1].reshape(-1)
    r, z, barrel = np.maximum(r[row], 1e-6), z[row], surface[row] >= len(surfaces.discs)
    phi = np.arctan2(y[row], x[row]).astype(np.float64)
    length = np.hypot(r, z)
    # On a disc r is measured, on a barrel z.
    eta_sigma = np.where(barrel, smearing.z / length, smearing.r * np.abs(z) / (r * length))
    if turning:
        least = np.maximum(np.abs(z) / pitch, least_turn)
        angles = [np.mod(direction * phi - least, 2 * np.pi) + least for direction in (1.0, -1.0)]
        along = np.where(barrel, smearing.z * np.abs(z), smearing.r * r) / length**2
        second = [np.log(length / angle) for angle in angles]
        sigma = [np.hypot(along, smearing.phi / angle) for angle in angles]
    else:
        second, sigma = [phi], [np.full(len(row), smearing.phi)]
    return PlaneHits(
        row,
        layer,
        np.searchsorted(layer, np.arange(int(layer.max(initial=-1)) + 1)),
        np.arcsinh(z / r),
        np.maximum(eta_sigma, 1e-6),
        np.stack(second),
        np.stack(sigma),
        angle=not turning,
    )
