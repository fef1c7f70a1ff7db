"""Hit weights of the TrackML challenge."""

from __future__ import annotations

import numpy as np
import pytest

from mltrack_plugin.evaluation.trackml_weights import order_weights, pt_weights, trackml_weights


def test_order_weights_by_hand():
    # Nine hits take the nine numbers as they are; their sum is 49.
    assert order_weights(9).tolist() == pytest.approx([w / 49 for w in (10, 8, 6, 5, 3, 3, 3, 5, 6)])
    # Five hits take every other one, with the sum 28.
    assert order_weights(5).tolist() == pytest.approx([w / 28 for w in (10, 6, 3, 3, 6)])
    # Four hits fall at 0, 8/3, 16/3 and 8 of the nine places: 10, 6 - 2/3, 3, 6.
    assert order_weights(4).tolist() == pytest.approx([w / (10 + 16 / 3 + 3 + 6) for w in (10, 16 / 3, 3, 6)])


@pytest.mark.parametrize("n", [4, 7, 12, 20, 35])
def test_order_weights_are_normalised_and_favour_the_ends(n):
    weights = order_weights(n)
    assert len(weights) == min(n, 20)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] == weights.max()
    assert weights[-1] > weights[len(weights) // 2]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_three_hits_have_no_weight(n):
    assert not order_weights(n).any()


def test_pt_weights_by_hand():
    pt = [0.01, 0.05, 0.5, 1.75, 3.0, 50.0, np.nan]
    assert pt_weights(pt).tolist() == pytest.approx([0, 0.2, 0.2, 0.6, 1, 1, 0])


def test_event_by_hand():
    # Particle 8: four hits at |z - vz| = 1, 2, 3, 4, listed out of order, pT 3 GeV -> factor 1.
    # Particle 9: four hits, pT 0.2 GeV -> factor 0.2. Particle 5: three hits. One noise hit.
    particle = [8, 8, 8, 8, 9, 9, 9, 9, 5, 5, 5, 0]
    z = [14, 11, 8, 7, 0, -10, -20, -30, 1, 2, 3, 4]
    weights = trackml_weights(particle, z, [5, 8, 9], [0, 10, 0], [10, 3, 0.2])
    profile = np.array([10, 16 / 3, 3, 6]) / (10 + 16 / 3 + 3 + 6)
    expected = np.zeros(12)
    expected[[1, 2, 3, 0]] = profile / 1.2
    expected[4:8] = 0.2 * profile / 1.2
    assert weights.tolist() == pytest.approx(expected.tolist())
    assert weights.sum() == pytest.approx(1)


def test_ties_share_the_mean_place_rounded_down():
    # Distances 1, 2, 2, 3: places 0, 1, 1, 3.
    weights = trackml_weights([1] * 4, [1, -2, 2, 3], [1], [0], [5])
    profile = order_weights(4)[[0, 1, 1, 3]]
    assert weights.tolist() == pytest.approx((profile / profile.sum()).tolist())


def test_hits_beyond_the_twentieth_have_no_weight():
    weights = trackml_weights([1] * 25, np.arange(25), [1], [0], [5])
    assert (weights[:20] > 0).all()
    assert not weights[20:].any()


def test_64_bit_ids_and_unknown_particles():
    big = 2**62 + 1
    particle = np.array([big] * 4 + [big + 1] * 4, dtype=np.uint64)
    weights = trackml_weights(particle, np.arange(8), np.array([big], dtype=np.uint64), [0], [1])
    assert weights[:4].sum() == pytest.approx(1)
    assert not weights[4:].any()


@pytest.mark.parametrize(
    ("particle", "table"), [([], [1]), ([1, 1, 1, 1], []), ([0] * 5, [1]), ([1, 1, 1], [1])]
)
def test_nothing_to_weigh_gives_zeros(particle, table):
    n, k = len(particle), len(table)
    ids = np.array(table, dtype=np.uint64)
    weights = trackml_weights(np.array(particle, dtype=np.uint64), np.arange(n), ids, [0] * k, [1] * k)
    assert weights.tolist() == [0] * n
