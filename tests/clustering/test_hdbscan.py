"""HDBSCAN backend: known groups in, the same groups out; small and degenerate events are defined."""

import numpy as np
import pytest

from mltrack_plugin.clustering import cluster_hdbscan
from mltrack_plugin.errors import EventDataError


@pytest.fixture
def groups():
    """30 groups of 10 points, 0.01 wide, about 10 apart; and the group of each point, shuffled."""
    rng = np.random.default_rng(7)
    truth = rng.permutation(np.repeat(np.arange(30), 10))
    centres = rng.uniform(-10, 10, (30, 4))
    return centres[truth] + rng.normal(0, 0.01, (300, 4)), truth


def same_partition(a, b):
    return len(set(zip(a, b, strict=True))) == len(set(a)) == len(set(b))


def test_separate_groups_are_found_exactly(groups):
    points, truth = groups
    labels, probabilities = cluster_hdbscan(points, min_cluster_size=5, min_samples=2)
    assert labels.dtype == np.int64
    assert probabilities.dtype == np.float32
    found = labels >= 0
    assert found.mean() > 0.97
    assert same_partition(labels[found], truth[found])
    assert ((probabilities > 0) == found).all()
    assert probabilities.max() <= 1


def test_isolated_points_are_noise(groups):
    points, _ = groups
    lonely = np.array([[100.0, 0, 0, 0], [0, 100.0, 0, 0]])
    labels, probabilities = cluster_hdbscan(np.concatenate([points, lonely]), 5, 2)
    assert (labels[-2:] == -1).all()
    assert (probabilities[-2:] == 0).all()


def test_same_points_give_same_labels(groups):
    points, _ = groups
    first = cluster_hdbscan(points, 4, 2)
    second = cluster_hdbscan(points.copy(), 4, 2)
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_single_precision_is_accepted(groups):
    points, truth = groups
    labels, _ = cluster_hdbscan(points.astype(np.float32), 5, 2)
    assert same_partition(labels[labels >= 0], truth[labels >= 0])


@pytest.mark.parametrize("n", [0, 1, 3])
def test_fewer_points_than_a_cluster_are_noise(n):
    labels, probabilities = cluster_hdbscan(np.zeros((n, 3)), min_cluster_size=4)
    assert labels.tolist() == [-1] * n
    assert probabilities.tolist() == [0] * n


@pytest.mark.parametrize("n", [4, 5, 50])
def test_coinciding_points_are_one_cluster(n):
    labels, probabilities = cluster_hdbscan(np.full((n, 3), 0.25), min_cluster_size=4, min_samples=2)
    assert labels.tolist() == [0] * n
    assert probabilities.tolist() == [1] * n


def test_two_groups_of_coinciding_points():
    labels, probabilities = cluster_hdbscan(np.repeat([[0.0, 0.0], [1.0, 0.0]], 5, axis=0), 4, 2)
    assert labels.tolist() == [0] * 5 + [1] * 5
    assert probabilities.tolist() == [1] * 10


def test_min_samples_above_the_number_of_points_is_harmless():
    points = np.arange(12.0).reshape(6, 2)
    labels, _ = cluster_hdbscan(points, min_cluster_size=4, min_samples=100)
    assert len(labels) == 6


def test_epsilon_joins_close_groups():
    rng = np.random.default_rng(0)
    near = np.repeat([[0.0, 0.0], [0.5, 0.0], [50.0, 0.0], [100.0, 0.0]], 10, axis=0) + rng.normal(
        0, 0.01, (40, 2)
    )
    apart, _ = cluster_hdbscan(near, 5, 2)
    joined, _ = cluster_hdbscan(near, 5, 2, epsilon=2.0)
    assert len(set(apart[apart >= 0])) == 4
    assert len(set(joined[joined >= 0])) == 3
    assert len(set(joined[:20])) == 1


def test_leaves_are_at_least_as_many_as_masses(groups):
    points, _ = groups
    eom, _ = cluster_hdbscan(points, 4, 1)
    leaf, _ = cluster_hdbscan(points, 4, 1, cluster_selection_method="leaf")
    assert leaf.max() >= eom.max()


def test_a_single_track_needs_allow_single_cluster():
    rng = np.random.default_rng(3)
    points = rng.normal(0, 0.01, (12, 3))
    assert (cluster_hdbscan(points, 4, 2)[0] == -1).all()
    labels, _ = cluster_hdbscan(points, 4, 2, allow_single_cluster=True, epsilon=1.0)
    assert (labels == 0).all()


@pytest.mark.parametrize("points", [np.zeros(5), np.zeros((2, 2, 2)), np.array([[0.0, np.nan]] * 6)])
def test_points_must_be_a_finite_table(points):
    with pytest.raises(EventDataError, match=r"shape|finite"):
        cluster_hdbscan(points)


@pytest.mark.parametrize(
    "settings", [{"min_cluster_size": 1}, {"min_samples": 0}, {"epsilon": -1.0}, {"epsilon": float("nan")}]
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        cluster_hdbscan(np.zeros((10, 2)), **settings)
