"""Qualities: stated values at the stated places, monotone, bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.helix import hit_compatibility, track_quality


def test_compatibility_is_one_half_at_the_cut():
    assert hit_compatibility([16.0], cut=16.0)[0] == pytest.approx(0.5)
    assert hit_compatibility([0.0], cut=16.0)[0] == pytest.approx(1 / (1 + np.exp(-8)))
    assert hit_compatibility([1e9], cut=16.0)[0] == pytest.approx(0, abs=1e-12)


def test_without_a_fit_nothing_speaks_against_a_hit():
    assert hit_compatibility([np.nan]).tolist() == [1.0]


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=20))
def test_compatibility_falls_with_chi2(values):
    weights = hit_compatibility(sorted(values))
    assert (np.diff(weights) <= 0).all()
    assert ((weights >= 0) & (weights <= 1)).all()


def test_quality_without_fit_is_the_mean_membership():
    quality = track_quality([0, 2, 5], [1.0, 0.5, 0.2, 0.3, 0.4], [np.nan, np.nan], [0, 0])
    assert quality == pytest.approx([0.75, 0.3])


def test_quality_is_halved_where_one_good_track_in_a_thousand_lies():
    # The 0.1% quantile of chi2 with 5 degrees of freedom is 20.515 (tables).
    assert track_quality([0, 2], [1.0, 1.0], [20.515], [5])[0] == pytest.approx(0.5, abs=1e-3)
    assert track_quality([0, 2], [1.0, 1.0], [5.0], [5])[0] > 0.999
    assert track_quality([0, 2], [1.0, 1.0], [200.0], [5])[0] < 1e-9


@given(
    membership=st.lists(st.floats(0, 1), min_size=1, max_size=10),
    chi2=st.floats(0, 1e4),
    more=st.floats(0, 1e3),
    ndf=st.integers(1, 40),
    raised=st.floats(0, 1),
)
def test_quality_is_bounded_and_monotone(membership, chi2, more, ndf, raised):
    def value(m, c):
        return track_quality([0, len(m)], m, [c], [ndf])[0]

    quality = value(membership, chi2)
    assert 0 <= quality <= 1
    assert value(membership, chi2 + more) <= quality
    assert value([max(membership[0], raised), *membership[1:]], chi2) >= quality - 1e-12


def test_no_tracks_have_no_quality():
    assert track_quality([0], [], [], []).shape == (0,)


def test_a_scale_of_chi2_is_chi2_divided():
    offsets, membership, ndf = np.array([0, 3, 6]), np.full(6, 0.9), np.array([5, 5])
    scaled = track_quality(offsets, membership, np.array([30.0, 6.0]), ndf, chi2_scale=3.0)
    assert scaled == pytest.approx(track_quality(offsets, membership, np.array([10.0, 2.0]), ndf))
    assert scaled[0] > track_quality(offsets, membership, np.array([30.0, 6.0]), ndf)[0]
