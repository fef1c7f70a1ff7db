"""Detector surfaces onto which hits are put.

Some detectors, REDVID's among them, smear hits in all three coordinates, although the position of a surface is known.
What a smeared coordinate across the surface adds to a hit's direction is noise, and often most of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]


class SurfacesConfig(Config):
    """Discs across and barrels around the beam; in the unit of the coordinates."""

    discs: tuple[float, ...] = ()
    """z of each disc, in the unit of the coordinates."""
    barrels: tuple[float, ...] = ()
    """Radius of each barrel, in the unit of the coordinates."""
    barrel_z: float = Field(default=0.0, ge=0)
    """Largest |z| of hits on a barrel, in the unit of the coordinates."""
    barrel_distance: float = Field(default=0.0, ge=0)
    """Largest distance in radius of a hit from its barrel, in the unit of the coordinates."""
    disc_distance: float = Field(default=0.0, ge=0)
    """Largest distance in z of a hit, that is on no barrel, from its disc, in the unit of the coordinates."""


def nearest_surface(r: Array, z: Array, surfaces: SurfacesConfig) -> tuple[Array, Array, Array]:
    """The surface of each hit, and where it is on it.

    Args:
        r, z: (n,) radius and z of hits.
        surfaces: at least one of them.

    Returns:
        (n,) int64 surface, discs from 0 on in the order of the configuration, then barrels, -1 = none; (n,) r and (n,)
        z on the surface, as measured where there is none.
    """
    discs, barrels = np.array(surfaces.discs), np.array(surfaces.barrels)
    surface = np.full(len(r), -1, dtype=np.int64)
    new_r, new_z = np.array(r, dtype=np.float64), np.array(z, dtype=np.float64)
    if len(discs):
        distance = np.abs(new_z[:, None] - discs)
        nearest = distance.argmin(axis=1)
        near = distance[np.arange(len(r)), nearest] <= surfaces.disc_distance
        surface[near] = nearest[near]
    if len(barrels):
        distance = np.abs(new_r[:, None] - barrels)
        nearest = distance.argmin(axis=1)
        near = distance[np.arange(len(r)), nearest] <= surfaces.barrel_distance
        near &= np.abs(new_z) <= surfaces.barrel_z
        surface[near] = len(discs) + nearest[near]
        new_r[near] = barrels[nearest[near]]
    on_disc = (surface >= 0) & (surface < len(discs))
    new_z[on_disc] = discs[surface[on_disc]]
    return surface, new_r, new_z
