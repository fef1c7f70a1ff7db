"""HDBSCAN on the nearest-neighbour graph: the groups of the hdbscan package, at any number of points."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import distance_matrix

from mltrack_plugin.clustering import cluster_hdbscan, knn_hdbscan
from mltrack_plugin.clustering.knn_hdbscan import cluster_knn, spanning_forest
from mltrack_plugin.clustering.nearest import nearest_neighbours


def blobs(seed, n_groups=30, per_group=10, width=0.05, dimensions=4, noise=0):
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(np.arange(n_groups), per_group))
    points = rng.uniform(-10, 10, (n_groups, dimensions))[truth] + rng.normal(
        0, width, (len(truth), dimensions)
    )
    stray = rng.uniform(-10, 10, (noise, dimensions))
    return np.concatenate([points, stray]), np.concatenate([truth, np.full(noise, -1)])


def adjusted_rand(a, b):
    """Hubert and Arabie (1985): 1 for the same partition, 0 for unrelated ones."""
    pairs = lambda counts: float((counts * (counts - 1) / 2).sum())  # noqa: E731
    _, joint = np.unique(np.stack([a, b]), axis=1, return_counts=True)
    in_a, in_b = (pairs(np.unique(x, return_counts=True)[1]) for x in (a, b))
    expected = in_a * in_b / (len(a) * (len(a) - 1) / 2)
    return (pairs(joint) - expected) / ((in_a + in_b) / 2 - expected)


@pytest.mark.parametrize("width", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_agrees_with_the_package(width, seed):
    points, _ = blobs(seed, width=width, noise=40)
    exact, _ = cluster_hdbscan(points, 4, 2)
    found, _ = cluster_hdbscan(points, 4, 2, backend="knn", neighbours=len(points) - 1)
    # Ties between equal distances are resolved in another order, so a few points may differ.
    assert adjusted_rand(exact, found) > 0.95


def test_few_neighbours_suffice_for_separate_groups():
    points, truth = blobs(7, n_groups=200, noise=100)
    labels, membership = cluster_hdbscan(points, 4, 2, backend="knn", neighbours=16)
    assert labels.max() + 1 == 200
    inside = (labels >= 0) & (truth >= 0)
    assert inside.sum() > 0.97 * (truth >= 0).sum()
    assert adjusted_rand(labels[inside], truth[inside]) == 1.0
    assert ((membership > 0) == (labels >= 0)).all()
    assert membership.max() <= 1.0


def test_two_groups_that_only_see_each_other_stay_two():
    """A part of the graph that nothing connects to the rest is split all the same."""
    near, _ = blobs(3, n_groups=2, per_group=10, width=0.001)
    pairs = np.concatenate([near * 0.01 + shift for shift in (0.0, 100.0, 200.0)])
    labels, _ = cluster_hdbscan(pairs, 4, 2, backend="knn", neighbours=12)
    assert labels.max() + 1 == 6


def test_spanning_forest_has_the_weight_of_scipys():
    points, _ = blobs(5, n_groups=12, width=1.0)
    n = len(points)
    all_pairs = distance_matrix(points, points)
    distance, index = nearest_neighbours(points, n - 1)
    core = distance[:, 1]
    _, _, weight = spanning_forest(distance, index, core)
    assert len(weight) == n - 1
    reachability = np.maximum(all_pairs, np.maximum(core[:, None], core[None, :]))
    np.fill_diagonal(reachability, 0.0)
    assert weight.sum() == pytest.approx(minimum_spanning_tree(reachability).sum(), rel=1e-12)


@pytest.mark.parametrize("reach", [1.5, 2.5])
def test_spanning_forest_within_a_distance_is_that_of_all_pairs_within_it(reach, monkeypatch):
    points, _ = blobs(5, n_groups=12, width=1.0, noise=20)
    n = len(points)
    forests = []
    monkeypatch.setattr(
        knn_hdbscan, "spanning_forest", lambda *lists: forests.append(spanning_forest(*lists)) or forests[-1]
    )
    cluster_knn(points, 4, 2, n - 1, False, max_distance=reach)
    all_pairs = distance_matrix(points, points)
    core = np.sort(all_pairs, axis=1)[:, 2]
    reachability = np.maximum(all_pairs, np.maximum(core[:, None], core[None, :]))
    reachability[reachability >= reach] = 0.0
    np.fill_diagonal(reachability, 0.0)
    expected = minimum_spanning_tree(reachability)
    assert 0 < expected.nnz < n - 1
    (_, _, weight) = forests[0]
    assert len(weight) == expected.nnz
    assert weight.sum() == pytest.approx(expected.sum(), rel=1e-12)


def test_groups_far_apart_are_the_same_within_a_distance():
    points, truth = blobs(7, n_groups=50, noise=30)
    # Clusters of six: a group of ten cannot be two.
    labels, membership = cluster_hdbscan(points, 6, 2, backend="knn", neighbours=8, max_distance=0.5)
    inside = (labels >= 0) & (truth >= 0)
    assert labels.max() + 1 == 50
    assert inside.sum() > 0.97 * (truth >= 0).sum()
    assert adjusted_rand(labels[inside], truth[inside]) == 1.0
    assert (labels[truth < 0] == -1).all()
    assert ((membership > 0) == (labels >= 0)).all()


def test_points_without_neighbours_are_noise():
    points = 10.0 * np.arange(8.0)[:, None] * np.ones(3)
    labels, membership = cluster_hdbscan(points, 4, 2, backend="knn", max_distance=1.0)
    assert (labels == -1).all()
    assert (membership == 0).all()
    points = np.concatenate([points, points[:1] + 0.01 * np.eye(3)])
    labels, _ = cluster_hdbscan(points, 4, 2, backend="knn", max_distance=1.0)
    assert np.flatnonzero(labels == 0).tolist() == [0, 8, 9, 10]
    assert labels.max() == 0


def test_coinciding_points_are_one_cluster_each():
    points = np.repeat(np.arange(5.0)[:, None] * [1.0, 2.0], 6, axis=0)
    labels, membership = cluster_hdbscan(points, 4, 2, backend="knn", neighbours=8)
    assert labels.tolist() == np.repeat(np.arange(5), 6).tolist()
    assert (membership == 1).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(2, 40), st.booleans(), st.sampled_from([0.05, 0.3, np.inf]))
def test_any_points_give_valid_labels(seed, n, single, reach):
    points = np.random.default_rng(seed).normal(size=(n, 3)).round(1)
    labels, membership = cluster_knn(points, 3, min(2, n - 1), 5, single, max_distance=reach)
    used = np.unique(labels[labels >= 0])
    assert used.tolist() == list(range(len(used)))
    assert all((labels == label).sum() >= 3 for label in used)
    assert ((membership >= 0) & (membership <= 1)).all()
    assert ((membership > 0) == (labels >= 0)).all()


def test_single_cluster_only_if_allowed():
    points = np.random.default_rng(1).normal(size=(12, 2))
    assert (cluster_hdbscan(points, 8, 2, backend="knn")[0] == -1).all()
    assert (cluster_hdbscan(points, 8, 2, backend="knn", allow_single_cluster=True)[0] == 0).sum() >= 8


def test_epsilon_keeps_close_groups_together():
    rng = np.random.default_rng(0)
    centres = np.repeat([[0.0, 0.0], [0.5, 0.0], [50.0, 0.0], [100.0, 0.0]], 10, axis=0)
    points = centres + rng.normal(0, 0.01, (40, 2))
    apart, _ = cluster_hdbscan(points, 5, 2, backend="knn")
    joined, _ = cluster_hdbscan(points, 5, 2, backend="knn", epsilon=2.0)
    exact, _ = cluster_hdbscan(points, 5, 2, epsilon=2.0)
    assert apart.max() + 1 == 4
    assert len(set(joined[:20])) == 1
    assert joined.tolist() == np.repeat([0, 1, 2], [20, 10, 10]).tolist()
    assert adjusted_rand(joined, exact) == 1.0


def test_what_the_graph_cannot_do_is_refused():
    with pytest.raises(ValueError, match="leaf"):
        cluster_hdbscan(np.eye(8), 4, 2, backend="knn", cluster_selection_method="leaf")
    with pytest.raises(ValueError, match="max_distance must be larger than 0"):
        cluster_hdbscan(np.eye(8), 4, 2, backend="knn", max_distance=0.0)
