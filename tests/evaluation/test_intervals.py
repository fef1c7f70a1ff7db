"""Binomial intervals and the bootstrap."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from mltrack_plugin.evaluation.intervals import ONE_SIGMA, bootstrap_fractions, clopper_pearson


def test_one_sigma_is_the_normal_probability():
    assert pytest.approx(stats.norm.cdf(1) - stats.norm.cdf(-1)) == ONE_SIGMA


@pytest.mark.parametrize(("k", "n"), [(1, 10), (5, 10), (9, 10), (123, 4567)])
def test_agrees_with_scipy(k, n):
    expected = stats.binomtest(k, n).proportion_ci(ONE_SIGMA, method="exact")
    low, high = clopper_pearson([k], [n])
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_ends_by_hand():
    # No success in n: (1 - p)^n = tail at the upper end; all successes mirror it.
    tail = (1 - ONE_SIGMA) / 2
    low, high = clopper_pearson([0, 10], [10, 10])
    assert low.tolist() == pytest.approx([0, tail**0.1])
    assert high.tolist() == pytest.approx([1 - tail**0.1, 1])


def test_nothing_to_count_is_nan_without_a_warning():
    low, high = clopper_pearson([0, 3], [0, 4])
    assert np.isnan([low[0], high[0]]).all()
    assert 0 < low[1] < 0.75 < high[1] < 1


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.97])
def test_it_covers_at_least_the_level(p):
    n = 25
    k = np.arange(n + 1)
    low, high = clopper_pearson(k, n)
    assert stats.binom.pmf(k, n, p)[(low <= p) & (p <= high)].sum() >= ONE_SIGMA


def test_bootstrap_matches_the_standard_error_of_the_mean():
    rng = np.random.default_rng(5)
    values = rng.normal(0.8, 0.1, size=(400, 1))
    low, high = bootstrap_fractions(values, np.ones_like(values))
    assert low[0] < values.mean() < high[0]
    assert (high[0] - low[0]) / 2 == pytest.approx(values.std() / np.sqrt(400), rel=0.1)


def test_bootstrap_is_reproducible_and_blind_to_the_order_of_events():
    rng = np.random.default_rng(6)
    top, bottom = rng.random((50, 2)), 1 + rng.random((50, 2))
    shuffle = rng.permutation(50)
    a, b = bootstrap_fractions(top, bottom), bootstrap_fractions(top[shuffle], bottom[shuffle])
    assert np.array_equal(a, b)


def test_bootstrap_of_too_little_is_nan():
    one = np.ones((1, 2))
    assert np.isnan(bootstrap_fractions(one, one)).all()
    assert np.isnan(bootstrap_fractions(np.zeros((0, 2)), np.zeros((0, 2)))).all()
    assert np.isnan(bootstrap_fractions(np.zeros((3, 1)), np.zeros((3, 1)))).all()
