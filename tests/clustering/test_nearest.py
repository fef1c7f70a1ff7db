"""Nearest neighbours: those of all pairs, whatever the points look like."""

import numpy as np
import pytest
from scipy.spatial import distance_matrix

from mltrack_plugin.clustering.nearest import LEAF, nearest_neighbours, plant


def of_all_pairs(points, k, reach):
    """Distances (n, k) of the nearest others, infinite where they are not within ``reach``."""
    pairs = distance_matrix(points, points)
    np.fill_diagonal(pairs, np.inf)
    pairs[pairs >= reach] = np.inf
    nearest = np.full((len(points), k), np.inf)
    nearest[:, : min(k, len(points))] = np.sort(pairs, axis=1)[:, :k]
    return nearest


def uniform(n, d, rng):
    return rng.uniform(-1, 1, (n, d))


def clumped(n, d, rng):
    return rng.normal(0, 1, (max(n // 10, 1), d))[rng.integers(max(n // 10, 1), size=n)] + rng.normal(
        0, 0.05, (n, d)
    )


def on_a_lattice(n, d, rng):
    """Many equal distances, and points that coincide."""
    return rng.integers(-2, 3, (n, d)).astype(float)


def far_away(n, d, rng):
    return 1e4 + rng.normal(0, 1, (n, d))


@pytest.mark.parametrize("make", [uniform, clumped, on_a_lattice, far_away])
@pytest.mark.parametrize(("n", "d"), [(1, 3), (2, 1), (LEAF, 4), (LEAF + 1, 4), (333, 8), (1000, 2)])
@pytest.mark.parametrize(("k", "reach"), [(1, np.inf), (6, np.inf), (6, 0.7), (40, 1.5)])
def test_neighbours_are_those_of_all_pairs(make, n, d, k, reach):
    points = make(n, d, np.random.default_rng(n + k))
    distance, index = nearest_neighbours(points, k, reach)
    np.testing.assert_allclose(distance, of_all_pairs(points, k, reach), rtol=1e-9, atol=1e-12)
    assert (np.diff(np.where(np.isinf(distance), 1e300, distance), axis=1) >= 0).all()
    own = np.arange(n)[:, None]
    assert ((index == own) == np.isinf(distance)).all()
    apart = np.linalg.norm(points[index] - points[:, None], axis=2)
    np.testing.assert_allclose(np.where(np.isinf(distance), 0, distance), apart, rtol=1e-9, atol=1e-12)
    for row, found in zip(index, np.isfinite(distance), strict=True):
        assert len(set(row[found].tolist())) == found.sum()


def test_the_same_points_give_the_same_bytes():
    points = on_a_lattice(500, 4, np.random.default_rng(1))
    first, again = (nearest_neighbours(points.copy(), 5, 2.0) for _ in range(2))
    assert all(a.tobytes() == b.tobytes() for a, b in zip(first, again, strict=True))


def test_every_leaf_of_the_tree_holds_its_box():
    points = clumped(700, 5, np.random.default_rng(2))
    order, span, box = plant(points, 5)
    assert sorted(order.tolist()) == list(range(700))
    leaves = range(32, 64)
    assert np.concatenate([np.arange(*span[leaf]) for leaf in leaves]).tolist() == list(range(700))
    for leaf in leaves:
        inside = points[order[slice(*span[leaf])]]
        assert 0 < len(inside) <= LEAF
        assert (box[leaf] == [inside.min(axis=0), inside.max(axis=0)]).all()
