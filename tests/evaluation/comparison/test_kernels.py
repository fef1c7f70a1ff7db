"""Kernels of the comparison: common tracks, widths, growth of the time, local density, true perigee."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.evaluation.comparison import growth, overlap, widths
from mltrack_plugin.evaluation.comparison.rates import RateTable
from mltrack_plugin.evaluation.comparison.residuals import standard_errors
from mltrack_plugin.evaluation.comparison.truth import neighbours
from mltrack_plugin.evaluation.intervals import clopper_pearson
from mltrack_plugin.evaluation.scores import Fraction


def lists(tracks):
    return np.cumsum([0, *map(len, tracks)]), np.array([i for t in tracks for i in t], dtype=np.int64)


def by_hand(a, b):
    """Common tracks, straight from the definition."""
    same = [[2 * len({*x} & {*y}) > max(len(x), len(y)) for y in b] for x in a]
    return [any(row) for row in same], [any(row[j] for row in same) for j in range(len(b))]


#: Tracks that may share hits, each hit at most once per track, none empty.
collections = st.lists(st.lists(st.integers(0, 11), min_size=1, max_size=6, unique=True), max_size=6)


@given(collections, collections)
def test_common_tracks_are_those_of_the_definition(a, b):
    found = overlap.common_tracks(*lists(a), *lists(b))
    first, second = by_hand(a, b)
    assert found.first.tolist() == first
    assert found.second.tolist() == second
    assert found.identical.tolist() == [{*x} in [{*y} for y in b] for x in a]


def test_exactly_half_of_the_hits_is_not_the_same_track():
    half = overlap.common_tracks(*lists([[0, 1, 2, 3]]), *lists([[0, 1, 4, 5]]))
    assert (half.first.tolist(), half.second.tolist()) == ([False], [False])
    # A short piece of a long track is not that track: the long one asks, too.
    piece = overlap.common_tracks(*lists([[0, 1, 2, 3, 4, 5]]), *lists([[0, 1, 2]]))
    assert (piece.first.tolist(), piece.second.tolist()) == ([False], [False])


def test_collections_without_tracks_have_nothing_in_common():
    found = overlap.common_tracks(*lists([]), *lists([[1, 2]]))
    assert (len(found.first), found.second.tolist()) == (0, [False])


@pytest.mark.parametrize("scale", [1e-5, 1.0, 300.0])
def test_width_of_a_normal_distribution(scale):
    values = np.random.default_rng(3).normal(0.5 * scale, scale, 50_000)
    found = widths.width(np.bincount(widths.bin_of(values), minlength=widths.N_BINS))
    exact = np.quantile(values, [0.5, 0.5 - widths.ONE_SIGMA / 2, 0.5 + widths.ONE_SIGMA / 2])
    assert found.entries == 50_000
    assert found.width == pytest.approx((exact[2] - exact[1]) / 2, rel=0.01)
    assert found.bias == pytest.approx(exact[0], rel=0.02)
    # Standard error of the 68% half width of n normal values: 1.05 sigma / sqrt(n) or so.
    assert (found.width_high - found.width_low) / 2 == pytest.approx(1.0 * scale / 50_000**0.5, rel=0.25)


def test_tails_do_not_widen_the_core_and_are_not_lost():
    values = np.concatenate([np.random.default_rng(4).normal(0, 1, 9900), np.full(100, 1e9)])
    counts = np.bincount(widths.bin_of(values), minlength=widths.N_BINS)
    assert counts.sum() == 10_000
    assert widths.width(counts).width == pytest.approx(1.02, abs=0.05)


def test_a_few_entries_have_no_width():
    counts = np.bincount(widths.bin_of(np.ones(9)), minlength=widths.N_BINS)
    assert widths.width(counts) == widths.Width(9, *(None,) * 6)


def test_zero_and_the_largest_values_have_a_bin():
    assert widths.bin_of(np.array([0.0, 1e-30, -1e-30, np.inf, -np.inf])).tolist() == [
        widths.N_BINS // 2,
        widths.N_BINS // 2,
        widths.N_BINS // 2,
        widths.N_BINS - 1,
        0,
    ]


def test_the_power_law_and_its_errors():
    rng = np.random.default_rng(5)
    hits = np.geomspace(100, 50_000, 40)
    pulls = []
    for _ in range(200):
        ms = 3.0 * (hits / 1000) ** 1.4 * np.exp(rng.normal(0, 0.1, 40))
        law = growth.fit_power_law(hits, ms)
        assert law.time_at_1000 == pytest.approx(3.0, rel=0.15)
        pulls.append((law.exponent - 1.4) / law.exponent_error)
    assert abs(np.mean(pulls)) < 0.25
    assert np.std(pulls) == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(
    ("hits", "ms"), [([100, 1000], [1, 2]), ([100, 110, 120, 130], [1, 2, 3, 4]), ([0, 0, 9], [1, 1, 1])]
)
def test_no_growth_is_stated_without_a_range_of_hits(hits, ms):
    assert growth.fit_power_law(hits, ms) is None


def test_neighbours_are_counted_around_the_full_turn():
    members = np.array([[0.0, np.pi - 0.02], [0.0, -np.pi + 0.02], [0.05, np.pi], [0.5, 0.0], [np.nan, 0.0]])
    own = np.array([1, 1, 1, 1, 0])
    found = neighbours(members, members, own)
    assert found[:4].tolist() == [2, 2, 2, 0]
    assert np.isnan(found[4])
    # A tiny negative angle must not fall out of the period.
    assert neighbours(np.array([[0.0, -1e-18]]), members, np.array([0])).tolist() == [0.0]
    assert neighbours(members[:1], members[:0], own[:1]).tolist() == [0.0]


def test_the_error_of_q_over_pt_is_that_of_samples():
    rng = np.random.default_rng(6)
    mean = np.array([0.0, 0.0, 0.3, 0.6, -0.8])
    spread = np.diag([0.1, 0.2, 1e-3, 2e-3, 3e-3]) ** 2
    spread[3, 4] = spread[4, 3] = 0.7 * 2e-3 * 3e-3
    samples = rng.multivariate_normal(mean, spread, 200_000)
    expected = [*np.std(samples[:, :4], axis=0), np.std(samples[:, 4] / np.sin(samples[:, 3]))]
    assert standard_errors(mean[None], spread[None])[0] == pytest.approx(expected, rel=0.01)


class TestRates:
    def table(self, rows):
        table = RateTable()
        for row in rows:
            table.add({("a",): Fraction(*row[:2]), ("b",): Fraction(*row[2:])})
        return table

    def test_sums_and_both_intervals(self):
        rate = self.table([(8, 10, 0, 0), (6, 10, 0, 0)]).result()["a",]
        low, high = clopper_pearson([14], [20])
        assert (rate["value"], rate["numerator"], rate["denominator"]) == (0.7, 14, 20)
        assert rate["binomial"] == [low[0], high[0]]
        assert rate["bootstrap"][0] == pytest.approx(0.6)
        assert rate["bootstrap"][1] == pytest.approx(0.8)
        assert rate["low"] == min(low[0], rate["bootstrap"][0])
        assert rate["high"] == max(high[0], rate["bootstrap"][1])

    def test_nothing_to_count_has_no_value(self):
        rate = self.table([(8, 10, 0, 0), (6, 10, 0, 0)]).result()["b",]
        assert (rate["value"], rate["low"], rate["high"]) == (None, None, None)

    def test_a_rate_above_one_is_not_binomial(self):
        rate = self.table([(30, 10, 0, 1), (20, 10, 0, 1)]).result()["a",]
        assert rate["value"] == 2.5
        assert rate["binomial"] is None
        assert rate["low"] == pytest.approx(2.0)

    def test_one_event_has_the_binomial_interval_only(self):
        rate = self.table([(8, 10, 5, 10)])
        assert rate.result()["a",]["bootstrap"] is None
        assert rate.difference(("a",), ("b",)) == {"value": pytest.approx(0.3), "low": None, "high": None}

    def test_what_events_have_in_common_drops_out_of_the_difference(self):
        rng = np.random.default_rng(7)
        easy = rng.integers(200, 900, 50)
        table = self.table([(k, 1000, k - 50, 1000) for k in easy])
        rates, difference = table.result(), table.difference(("a",), ("b",))
        assert difference["value"] == pytest.approx(0.05)
        assert difference["high"] - difference["low"] == pytest.approx(0, abs=1e-12)
        assert rates["a",]["high"] - rates["a",]["low"] > 0.03
