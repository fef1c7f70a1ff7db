"""Hits on surfaces: the same in NumPy and in a network, and nothing happens without surfaces."""

import numpy as np
import pytest
import torch

from mltrack_plugin.detectors.surfaces import SurfacesConfig, nearest_surface
from mltrack_plugin.models.surfaces import Surfaces
from mltrack_plugin.simulation.redvid import RedvidConfig, simulate_redvid

REDVID = SurfacesConfig(
    discs=(*range(-10, -1), *range(2, 11)),
    barrels=(4, 5, 6, 7),
    barrel_z=6.5,
    barrel_distance=0.15,
    disc_distance=0.5,
)


def event():
    return simulate_redvid(RedvidConfig(track_type="helical", noise=0.1), np.random.default_rng(1))


def test_every_hit_of_redvid_gets_its_own_layer():
    hits = event()
    surface, r, z = nearest_surface(hits.r, hits.z, REDVID)
    # The simulation numbers discs at negative z from the inside out.
    own = np.where(hits.layer < 9, 8 - hits.layer, hits.layer)
    assert (surface == own).mean() > 0.999
    barrel = surface >= 18
    assert set(np.unique(r[barrel])) == {4, 5, 6, 7}
    np.testing.assert_array_equal(z[barrel], hits.z[barrel])
    assert set(np.unique(np.abs(z[~barrel]))) <= set(range(2, 11))
    np.testing.assert_array_equal(r[~barrel], hits.r[~barrel])


def test_hits_far_from_all_surfaces_stay():
    surface, r, z = nearest_surface(np.array([1.0, 4.5, 4.5]), np.array([0.5, 0.7, 20.0]), REDVID)
    assert surface.tolist() == [-1, -1, -1]
    assert r.tolist() == [1.0, 4.5, 4.5]
    assert z.tolist() == [0.5, 0.7, 20.0]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_the_network_does_the_same():
    hits = event()
    x, y = hits.r * np.cos(hits.theta), hits.r * np.sin(hits.theta)
    points = torch.tensor(np.stack([x, y, hits.z], 1), dtype=torch.float32)
    moved = torch.jit.script(Surfaces(REDVID))(points).numpy()
    _, r, z = nearest_surface(hits.r, hits.z, REDVID)
    np.testing.assert_allclose(np.hypot(*moved[:, :2].T), r, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(moved[:, 2], z, rtol=1e-6)
    np.testing.assert_allclose(np.arctan2(moved[:, 1], moved[:, 0]), hits.theta, atol=1e-5)
    assert (Surfaces(SurfacesConfig())(points) == points).all()
    assert Surfaces(REDVID)(points[:0]).shape == (0, 3)
