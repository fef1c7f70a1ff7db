"""Events of the vertex finder: hits on three layers, vertices where the particles come from."""

import numpy as np
import pytest

pytest.importorskip("acts")
pytest.importorskip("pythia8mc")

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.published.heptrkx.simulation.heptrkx_vertex import VERTEX_RADII
from mltrack_plugin.simulation.datasets import make_dataset

#: Pythia takes some ten seconds to set up.
pytestmark = pytest.mark.slow

SMALL = {"hard_sources": 6, "soft_sources": 30, "train_factor": 1, "pileup": 3.0}
AS_IMAGE = {"seed": 1, "split": "test", "shape": (32, 156), "z_max": 390.0}


@pytest.fixture(scope="module")
def bank_dir(tmp_path_factory):
    return tmp_path_factory.mktemp("collisions")


@pytest.fixture(scope="module")
def dataset(bank_dir):
    found = make_dataset("heptrkx-vertex", {**SMALL, "bank_dir": bank_dir})
    found.pool(1, "test")
    return found


def test_hits_lie_on_the_three_inner_barrel_layers(dataset):
    hits = dataset.event(0, seed=1, split="test").hits
    assert set(hits.volume_id) == {8}
    for layer, radius in zip((2, 4, 6), VERTEX_RADII, strict=True):
        np.testing.assert_allclose(hits.r[hits.layer_id == layer].mean(), radius, atol=1.0)


def test_true_vertices_are_where_the_particles_start(dataset):
    for index in range(5):
        event = dataset.event(index, seed=1, split="test")
        vertices = dataset.vertices(index, seed=1, split="test")
        z, counts = np.unique(event.particles.vz, return_counts=True)
        assert len(vertices) >= 1
        # The particles of the hard collision come first.
        assert vertices.z[0] == pytest.approx(
            np.median(event.particles.vz[: int(vertices.weight[0])]), abs=1e-3
        )
        for vertex in vertices.z:
            nearest = np.abs(z - vertex).argmin()
            assert z[nearest] == pytest.approx(vertex, abs=1e-3)
            assert counts[nearest] >= 2


def test_hits_point_back_to_the_vertex(dataset):
    """Straight lines through the hits of each particle on the inner and the outer layer meet the beam line there."""
    event = dataset.event(1, seed=1, split="test")
    hits, vertices = event.hits, dataset.vertices(1, seed=1, split="test")
    origins = []
    for particle in event.particles.particle_id[: int(vertices.weight[0])]:
        mine = event.truth_links.particle_id == particle
        inner, outer = mine & (hits.layer_id == 2), mine & (hits.layer_id == 6)
        if inner.any() and outer.any():
            z, r = (np.array([column[inner][0], column[outer][0]]) for column in (hits.z, hits.r))
            origins.append(z[0] - r[0] * (z[1] - z[0]) / (r[1] - r[0]))
    assert np.median(origins) == pytest.approx(vertices.z[0], abs=1.0)


def test_images_hold_the_hits_and_the_truth(dataset):
    found = dataset.images(0, 20, pileup=(0.0,), **AS_IMAGE)
    assert found.images.shape == (20, 3, 32, 156)
    assert set(np.unique(found.images)) == {0.0, 1.0}
    # Without pile-up all vertices are primary ones.
    np.testing.assert_allclose(found.z, found.primary[found.event])
    more = dataset.images(0, 20, pileup=(20.0,), **AS_IMAGE)
    assert more.images.sum() > 2 * found.images.sum()
    assert len(more.z) > 3 * len(found.z)
    np.testing.assert_array_equal(more.images, dataset.images(0, 20, pileup=(20.0,), **AS_IMAGE).images)


def test_a_shift_moves_hits_with_their_vertex(dataset):
    still, moved = (dataset.images(0, 200, pileup=(0.0,), shift=s, **AS_IMAGE) for s in (0.0, 50.0))
    column = np.arange(156) * 5.0 - 387.5

    def mean_z(images):
        return (images.images.sum(axis=(1, 2)) @ column) / images.images.sum(axis=(1, 2, 3))

    for images in (still, moved):
        assert np.corrcoef(mean_z(images), images.primary)[0, 1] > 0.6
    assert moved.primary.std() > still.primary.std()


def test_kept_collisions_are_used_again_and_others_refused(dataset, bank_dir):
    again = make_dataset("heptrkx-vertex", {**SMALL, "bank_dir": bank_dir})
    first, second = (d.event(2, seed=1, split="test") for d in (dataset, again))
    assert first.hits.equals(second.hits)
    other = make_dataset("heptrkx-vertex", {**SMALL, "bank_dir": bank_dir, "field": 3.8})
    with pytest.raises(ConfigurationError, match="other parameters"):
        other.event(0, seed=1, split="test")


def test_more_pileup_than_collisions_is_refused(dataset, bank_dir):
    dense = make_dataset("heptrkx-vertex", {**SMALL, "bank_dir": bank_dir, "pileup": 200.0})
    with pytest.raises(ConfigurationError, match="soft_sources"):
        dense.event(0, seed=1, split="test")
