"""Vertices are read off a binned distribution."""

import numpy as np
import pytest

from mltrack_plugin.published.heptrkx.images.peaks import find_peaks, peak_positions, vertices_from_bins


def test_peaks_come_highest_first_and_a_plateau_counts_once():
    values = np.array([0.7, 0.1, 0.6, 0.6, 0.2, 0.9])
    assert find_peaks(values, 0.5).tolist() == [5, 0, 2]
    assert find_peaks(values, 0.65).tolist() == [5, 0]
    assert find_peaks(np.zeros(4), 0.1).tolist() == []


def test_position_is_the_mean_of_the_bins_around_a_peak():
    centres = np.array([-10.0, 0.0, 10.0])
    mean, error = peak_positions(np.array([0.0, 0.75, 0.25]), np.array([1]), centres, 10.0)
    assert mean[0] == pytest.approx(2.5)
    # Two bins: p (1 - p) d^2, and the width of a bin.
    assert error[0] == pytest.approx(np.sqrt(0.75 * 0.25 * 100 + 100 / 12))


def test_position_at_the_edge_uses_the_bins_that_exist():
    mean, error = peak_positions(np.array([1.0, 0.0]), np.array([0]), np.array([-5.0, 5.0]), 10.0)
    assert mean[0] == -5.0
    assert error[0] == pytest.approx(10 / np.sqrt(12))


def test_primary_comes_first_and_its_own_peak_is_not_repeated():
    primary = np.array([0.0, 0.1, 0.8, 0.1, 0.0, 0.0, 0.0, 0.0])
    vertex = np.array([0.0, 0.9, 0.7, 0.0, 0.0, 0.99, 0.0, 0.6])
    vertices = vertices_from_bins(primary, vertex, bin_width=2.0, threshold=0.5)
    assert len(vertices) == 3
    # Bin centres: -7, -5, ..., 7.
    np.testing.assert_allclose(vertices.z, [-3.0, 3.0, 7.0], atol=1e-6)
    np.testing.assert_allclose(vertices.weight, [1.0, 0.99, 0.6], atol=1e-6)
    assert (vertices.z_error >= 2.0 / np.sqrt(12) - 1e-6).all()
