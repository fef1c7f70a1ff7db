"""Quantile bins: equal counts, one bin for each value, round trip to the box of a class, shared labels at borders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltrack_plugin.clustering.quantile_bins import QuantileBins, quantile_edges
from mltrack_plugin.errors import ConfigurationError

distinct = st.lists(st.integers(-(10**6), 10**6), min_size=12, max_size=200, unique=True)
n_bins = st.integers(1, 12)


def bins_of(n_phi=6, n_theta=4, n=500, seed=1):
    rng = np.random.default_rng(seed)
    values = np.stack(
        [rng.uniform(-np.pi, np.pi, n), rng.normal(1.5, 0.5, n), rng.choice([-1.0, 1.0], n)], axis=1
    )
    return QuantileBins.measured(values, {"phi": n_phi, "theta": n_theta, "q": 2}), values


@given(distinct, n_bins)
@settings(max_examples=60, deadline=None)
def test_distinct_values_fill_bins_equally(values, n):
    values = np.array(values, dtype=np.float64)
    edges = quantile_edges(values, n)
    assert (np.diff(edges) > 0).all()
    assert (edges[0], edges[-1]) == (values.min(), values.max())
    counts = np.histogram(values, edges)[0]
    assert counts.sum() == len(values)
    assert counts.max() - counts.min() <= 1


@given(st.lists(st.integers(0, 15), min_size=1, max_size=150), n_bins)
@settings(max_examples=60, deadline=None)
def test_equal_values_stay_together(values, n):
    values = np.array(values, dtype=np.float64)
    if len(np.unique(values)) < max(n, 2):
        with pytest.raises(ConfigurationError, match="distinct values"):
            quantile_edges(values, n)
        return
    edges = quantile_edges(values, n)
    assert (np.diff(edges) > 0).all()
    assert not np.isin(edges[1:-1], values).any()
    assert (np.histogram(values, edges)[0] > 0).all()


def test_charges_have_a_bin_each_whatever_their_shares():
    for share in (0.02, 0.5, 0.97):
        charge = np.where(np.arange(100) < 100 * share, -1.0, 1.0)
        assert quantile_edges(charge, 2).tolist() == [-1.0, 0.0, 1.0]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_class_and_box_round_trip(seed):
    bins, values = bins_of(seed=seed)
    classes = bins.classes(values)
    low, high = bins.box(classes)
    assert ((low <= values) & (values <= high)).all()
    every = np.arange(bins.n_classes)
    low, high = bins.box(every)
    assert (low < high).all()
    assert (bins.classes(0.5 * (low + high)) == every).all()
    assert (bins.classes(low) == every).all()


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_bins_rise_with_the_value(seed):
    bins, _ = bins_of(seed=seed)
    theta = np.sort(np.random.default_rng(seed).normal(1.5, 2.0, 50))
    index = bins.indices(np.stack([np.zeros(50), theta, np.ones(50)], axis=1))
    assert (np.diff(index[:, 1]) >= 0).all()
    assert index.min() >= 0
    assert (index < bins.shape).all()


def test_azimuth_covers_the_circle_and_wraps_around():
    bins, _ = bins_of()
    assert (bins.edges[0][0], bins.edges[0][-1]) == (-np.pi, np.pi)
    values = np.array([[np.pi - 1e-9, 1.5, 1.0], [-np.pi + 1e-9, 1.5, 1.0]])
    classes, weights = bins.shared(values, 0.25, ["phi"])
    assert sorted(classes[0]) == sorted(classes[1])
    np.testing.assert_allclose(weights, 0.5, atol=1e-6)


def test_labels_are_shared_near_borders_only():
    bins, values = bins_of(n=2000)
    classes, weights = bins.shared(values, 0.2, ["phi", "theta"])
    assert classes.shape == weights.shape == (2000, 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-6)
    own = classes[np.arange(2000), weights.argmax(axis=1)]
    assert (own == bins.classes(values)).mean() > 0.999
    # Two parameters, each with a fifth of the bin on both sides: 0.6^2 of the hits are far from all borders.
    assert np.mean(weights.max(axis=1) == 1.0) == pytest.approx(0.36, abs=0.08)
    # Never the charge: it has no neighbours.
    charge = np.unravel_index(classes, bins.shape)[2]
    assert (charge == charge[:, :1]).all()
    # The outermost bins of theta have one neighbour.
    edge = np.array([[0.1, values[:, 1].min(), 1.0]])
    _, weight = bins.shared(edge, 0.2, ["theta"])
    assert weight.tolist() == [[1.0, 0.0]]


def test_without_sharing_a_hit_has_its_class():
    bins, values = bins_of()
    classes, weights = bins.shared(values, 0.0, ["phi", "theta"])
    assert (classes[:, 0] == bins.classes(values)).all()
    assert (weights == 1.0).all()


def test_wrong_bins_are_refused():
    with pytest.raises(
        ConfigurationError, match=r"bins of q: 3 bins need 3 distinct values or more, there are 2"
    ):
        QuantileBins.measured(np.array([[1.0], [-1.0]]), {"q": 3})
    with pytest.raises(ConfigurationError, match="rising"):
        QuantileBins(("theta",), (np.array([0.0, 1.0, 1.0]),))
    with pytest.raises(ConfigurationError, match="edges"):
        QuantileBins(("theta", "q"), (np.array([0.0, 1.0]),))
