"""Hits as images: binary pixels of detector planes and of unrolled barrel layers."""

from __future__ import annotations

import numpy as np

from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.models.plane_raster import PlaneRaster
from mltrack_plugin.published.heptrkx.graphs.layers import hit_layers


def bin_of(values: Array, low: float, width: float, n: int) -> tuple[Array, Array]:
    """Bin of each value and whether there is one.

    Args:
        values: (m,) in any unit.
        low: lower edge of bin 0; a bin owns its lower edge.
        width: of a bin, in the same unit.
        n: number of bins.

    Returns:
        (m,) int64 bins, clipped to [0, n - 1], and (m,) bool: inside the bins.
    """
    index = np.floor((np.asarray(values, dtype=np.float64) - low) / width)
    inside = (index >= 0) & (index < n)
    return np.clip(index, 0, n - 1).astype(np.int64), inside


def plane_pixels(hits: Hits, raster: PlaneRaster) -> tuple[Array, Array, Array]:
    """Plane, pixel and validity of each hit.

    Args:
        hits: (n,) hits.
        raster: pixel i of a plane covers places from i to i + 1 times its pitch.

    Returns:
        (n,) int64 planes, (n,) int64 pixels, (n,) bool: on the detector (the others are clipped to its edge).

    Raises:
        EventError: if the hits have no ``layer_id``, or no ``volume_id`` where the raster needs one.
    """
    if raster.layers:
        plane = hit_layers(hits, raster.layers).astype(np.int64)
    elif hits.layer_id is not None:
        plane = hits.layer_id.astype(np.int64)
    else:
        raise EventError(
            "the hits have no layer_id, which gives the row of a pixel image. Name the branch that holds the "
            "number of the plane with reader: {branches: {layer_id: ...}}"
        )
    pixel, inside = bin_of(raster.place(hits), 0.0, raster.pitch, raster.pixels)
    on_plane = (plane >= 0) & (plane < raster.planes)
    return np.clip(plane, 0, raster.planes - 1), pixel, inside & on_plane


def plane_image(plane: Array, pixel: Array, planes: int, pixels: int) -> Array:
    """(planes, pixels) float32 with 1 where there is a hit.

    >>> plane_image(np.array([0, 1, 1]), np.array([0, 1, 1]), 2, 2)
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """
    image = np.zeros((planes, pixels), dtype=np.float32)
    image[plane, pixel] = 1.0
    return image


def unrolled_images(
    event: Array, channel: Array, phi: Array, z: Array, *, shape: tuple[int, int, int, int], z_max: float
) -> tuple[Array, Array]:
    """Barrel layers, unrolled in azimuth and along the beam, as channels of images of several events.

    Args:
        event: (n,) integers from 0.
        channel: (n,) integers: which layer, from 0.
        phi: (n,) radian, any; the first and the last row of an image are neighbours, phi = -pi is the lower edge of
            the first.
        z: (n,) mm.
        shape: events, channels, rows in phi, columns in z.
        z_max: mm; the columns cover -z_max to z_max.

    Returns:
        float32 of the given shape with 1 where there is a hit, and (n,) bool: the hit lies within ``z_max``.
    """
    n_phi, n_z = shape[2], shape[3]
    column, inside = bin_of(z, -z_max, 2.0 * z_max / n_z, n_z)
    turn = (np.asarray(phi, dtype=np.float64) + np.pi) / (2.0 * np.pi)
    row = np.floor(turn * n_phi).astype(np.int64) % n_phi
    images = np.zeros(shape, dtype=np.float32)
    images[event[inside], channel[inside], row[inside], column[inside]] = 1.0
    return images, inside
