"""Every pixel goes to one path, every hit to one line."""

import numpy as np

from mltrack_plugin.published.heptrkx.images.paths import best_pixels, claim_pixels, line_owners


def test_only_hits_compete_for_a_plane():
    probability = np.array([[[0.7, 0.2, 0.1], [0.1, 0.5, 0.4]]])
    pixel, score = best_pixels(probability, np.array([[0, 1, 1], [0, 0, 0]]))
    assert pixel[0, 0] == 1
    np.testing.assert_allclose(score, [[0.2, 0.0]])


def test_the_surest_path_keeps_a_shared_pixel():
    pixel = np.array([[0, 1, 2, 2], [2, 1, 0, 0]])
    score = np.array([[0.9, 0.6, 0.9, 0.9], [1.0, 1.0, 1.0, 1.0]])
    owner = claim_pixels(pixel, score, width=3, min_score=0.1, min_pixels=2)
    assert owner.tolist() == [[0, -1, 1], [-1, 1, -1], [1, -1, 0], [1, -1, 0]]


def test_a_repeated_path_and_a_short_one_are_dropped():
    pixel = np.array([[0, 1, 2, 2], [0, 1, 2, 1], [1, 2, 0, 0]])
    score = np.array([[1.0, 1.0, 1.0, 1.0], [0.9, 0.9, 0.9, 0.9], [0.8, 0.05, 0.05, 0.05]])
    owner = claim_pixels(pixel, score, width=3, min_score=0.1, min_pixels=2)
    assert set(owner.ravel()) == {-1, 0}


def test_hits_go_to_the_nearest_line_once_per_plane():
    # Lines y = 0 and y = 1; two hits near line 0 in plane 1, one far from both in plane 2.
    owner, distance = line_owners(
        np.array([0.0, 1.0]),
        np.array([0.0, 0.0]),
        np.array([0.0, 1.0, 1.0, 1.0, 2.0]),
        np.array([0.1, -0.2, 0.1, 0.9, 9.0]),
        np.array([0, 1, 1, 1, 2]),
        window=0.5,
    )
    assert owner.tolist() == [0, -1, 0, 1, -1]
    np.testing.assert_allclose(distance, [0.1, 0.2, 0.1, 0.1, 8.0])


def test_without_lines_no_hit_belongs_to_any():
    owner, _ = line_owners(np.zeros(0), np.zeros(0), np.ones(2), np.ones(2), np.arange(2), window=1.0)
    assert owner.tolist() == [-1, -1]


def test_places_of_unrolled_planes_repeat():
    intercept, slope = np.array([6.0]), np.array([0.2])
    x, plane = np.arange(4.0), np.arange(4)
    y = (intercept + slope * x) % 6.25
    assert line_owners(intercept, slope, x, y, plane, window=0.1)[0].tolist() == [0, 0, -1, -1]
    owner, distance = line_owners(intercept, slope, x, y, plane, window=0.1, period=6.25)
    assert owner.tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(distance, 0.0, atol=1e-9)
