"""Hits become pixels where they lie, and nowhere else."""

import numpy as np
import pytest

from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.models.plane_raster import PlaneRaster
from mltrack_plugin.published.heptrkx.images.raster import (
    bin_of,
    plane_image,
    plane_pixels,
    unrolled_images,
)

RASTER = PlaneRaster(planes=3, pixels=4, pitch=0.5)


def plane_hits(y, layer):
    n = len(y)
    return Hits(np.arange(n), np.zeros(n), y, np.zeros(n), layer_id=layer)


def test_a_bin_owns_its_lower_edge_and_values_beyond_are_clipped_and_marked():
    index, inside = bin_of(np.array([-0.01, 0.0, 1.99, 2.0, 5.9, 6.0]), 0.0, 2.0, 3)
    assert index.tolist() == [0, 0, 0, 1, 2, 2]
    assert inside.tolist() == [False, True, True, True, True, False]


def test_planes_are_layers_and_pixels_follow_y():
    plane, pixel, inside = plane_pixels(plane_hits([0.25, 1.75, 0.9], [0, 2, 1]), RASTER)
    assert plane.tolist() == [0, 2, 1]
    assert pixel.tolist() == [0, 3, 1]
    assert inside.all()


@pytest.mark.parametrize(("y", "layer"), [(-0.1, 0), (2.0, 0), (1.0, 3), (1.0, -1)])
def test_hits_beside_the_planes_are_marked(y, layer):
    _, _, inside = plane_pixels(plane_hits([1.0, y], [1, layer]), RASTER)
    assert inside.tolist() == [True, False]


def test_hits_without_layers_are_refused():
    hits = Hits(np.arange(2), *np.zeros((3, 2)))
    with pytest.raises(EventError, match="layer_id"):
        plane_pixels(hits, RASTER)


def test_planes_of_a_detector_are_its_layers_and_pixels_follow_the_azimuth():
    raster = PlaneRaster(
        planes=3, pixels=4, pitch=np.pi / 2, coordinate="phi", layers=((8, 2), (8, 4), (13, 2))
    )
    phi = np.array([-3.1, -0.1, 0.1, 3.1])
    volume, layer = [8, 8, 13, 9], [2, 4, 2, 4]
    hits = Hits(np.arange(4), np.cos(phi), np.sin(phi), np.zeros(4), volume_id=volume, layer_id=layer)
    plane, pixel, inside = plane_pixels(hits, raster)
    assert plane[:3].tolist() == [0, 1, 2]
    assert pixel.tolist() == [0, 1, 2, 3]
    assert inside.tolist() == [True, True, True, False]
    with pytest.raises(EventError, match="volume_id"):
        plane_pixels(plane_hits([1.0], [0]), raster)


def test_two_hits_in_a_pixel_are_one():
    image = plane_image(np.array([1, 1]), np.array([2, 2]), 2, 3)
    assert image.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert image.dtype == np.float32


def test_unrolled_layers_wrap_in_azimuth_and_end_in_z():
    images, inside = unrolled_images(
        np.array([0, 0, 1, 1]),
        np.array([0, 1, 0, 0]),
        np.array([-np.pi, np.pi, 3 * np.pi / 4 + 2 * np.pi, 0.1]),
        np.array([-10.0, 9.99, 0.0, 10.0]),
        shape=(2, 2, 4, 2),
        z_max=10.0,
    )
    assert inside.tolist() == [True, True, True, False]
    expected = np.zeros((2, 2, 4, 2))
    # phi = pi is phi = -pi, and full turns change nothing.
    expected[0, 0, 0, 0] = expected[0, 1, 0, 1] = expected[1, 0, 3, 1] = 1
    np.testing.assert_array_equal(images, expected)
