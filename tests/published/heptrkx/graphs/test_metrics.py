"""Accuracy, purity, efficiency; the balanced threshold; uncertainties."""

import numpy as np
import pytest

from mltrack_plugin.published.heptrkx.graphs.metrics import PUBLISHED, balanced_threshold, bootstrap, count


def test_quantities_by_hand():
    score = np.array([0.9, 0.8, 0.4, 0.7, 0.1, 0.2])
    target = np.array([True, True, True, False, False, False])
    counts = count(score, target, np.zeros(6, dtype=int), 1, 0.5)
    np.testing.assert_allclose(counts.sum().quantities(), [4 / 6, 2 / 3, 2 / 3])


def test_graphs_are_counted_apart_and_together():
    score, graph = np.array([0.9, 0.9, 0.9, 0.1]), np.array([0, 0, 2, 2])
    target = np.array([True, False, True, True])
    counts = count(score, target, graph, 3, 0.5)
    np.testing.assert_array_equal(counts.total, [2, 0, 2])
    np.testing.assert_allclose(counts.quantities()[:, 0], [0.5, 0.5, 1.0])
    assert np.isnan(counts.quantities()[:, 1]).all()
    np.testing.assert_allclose(counts.sum().quantities(), [0.5, 2 / 3, 2 / 3])


def test_threshold_separates_what_can_be_separated():
    score, target = np.array([0.3, 0.1, 0.35, 0.2]), np.array([True, False, True, False])
    assert balanced_threshold(score, target, PUBLISHED["gnn-segments"]) == pytest.approx(0.25)


def test_threshold_follows_what_is_asked_for():
    rng = np.random.default_rng(1)
    target = rng.random(20_000) < 0.2
    score = 1.0 / (1.0 + np.exp(-(rng.normal(0.0, 1.0, 20_000) + np.where(target, 3.0, -3.0))))

    def purity(reference):
        threshold = balanced_threshold(score, target, reference)
        return count(score, target, np.zeros(20_000, dtype=int), 1, threshold).sum().quantities()[1]

    assert purity((0.9, 0.999, 0.9)) > purity((0.9, 0.9, 0.999)) + 0.01


def test_threshold_lies_between_different_scores():
    score = np.array([0.8, 0.8, 0.8, 0.1])
    assert balanced_threshold(score, np.array([True, False, True, False]), (0.9, 0.9, 0.9)) == pytest.approx(
        0.45
    )


def test_threshold_without_true_elements_is_one_half():
    assert balanced_threshold(np.array([0.2]), np.array([False]), (0.9, 0.9, 0.9)) == 0.5


def test_uncertainty_is_binomial_for_independent_graphs():
    rng = np.random.default_rng(2)
    n = 2000
    target, score = np.ones(n, dtype=bool), (rng.random(n) < 0.9).astype(float)
    error = bootstrap(count(score, target, np.arange(n), n, 0.5), seed=1)
    assert error[2] == pytest.approx(np.sqrt(0.9 * 0.1 / n), rel=0.1)


def test_one_graph_has_no_uncertainty():
    assert np.isnan(
        bootstrap(count(np.ones(2), np.ones(2, dtype=bool), np.zeros(2, dtype=int), 1, 0.5), 1)
    ).all()
