"""Seeds, the hits around them, and candidates that share no hit."""

import numpy as np
from barrel_events import RADII, event, lines

from mltrack_plugin.published.heptrkx.graphs.layers import hit_layers
from mltrack_plugin.published.heptrkx.graphs.seeded import (
    best_candidates,
    expected_points,
    find_seeds,
    joined_graphs,
    nearest_hits,
    seed_edges,
)


def columns(n):
    hits, truth = event(lines(n))
    return (
        hit_layers(hits),
        *(np.asarray(c, dtype=np.float64) for c in (hits.r, hits.phi, hits.z)),
        truth.particle_id,
    )


def test_every_exact_track_is_a_seed_and_nothing_else():
    layer, r, phi, z, particle = columns(20)
    seeds = find_seeds(layer, r, phi, z)
    np.testing.assert_array_equal(layer[seeds], np.tile([0, 1, 2], (20, 1)))
    assert len(np.unique(particle[seeds[:, 0]])) == 20
    assert (particle[seeds] == particle[seeds[:, :1]]).all()


def test_a_bent_triplet_is_no_seed():
    layer, r = np.array([0, 1, 2]), RADII[:3]
    straight, zero = np.array([0.0, 0.004, 0.0084]), np.zeros(3)
    assert len(find_seeds(layer, r, straight, zero)) == 1
    assert len(find_seeds(layer, r, np.array([0.0, 0.004, 0.0134]), zero)) == 0
    assert len(find_seeds(layer, r, straight, np.array([0.0, 0.0, 5.0]))) == 0


def test_expected_points_of_exact_tracks_are_their_hits():
    layer, r, phi, z, particle = columns(9)
    seeds = find_seeds(layer, r, phi, z)
    eta, azimuth = expected_points(seeds, r, phi, z, RADII)
    for row, seed in enumerate(seeds):
        own = np.flatnonzero(particle == particle[seed[0]])
        own = own[np.argsort(layer[own])]
        np.testing.assert_allclose(eta[row], np.arcsinh(z[own] / r[own]), atol=1e-3)
        np.testing.assert_allclose(np.cos(azimuth[row] - phi[own]), 1.0, atol=1e-6)


def test_nearest_hits_by_hand_and_absent_ones():
    # Seven hits on layer 0, three on layer 1, none elsewhere.
    layer = np.array([0] * 7 + [1] * 3)
    phi, eta = np.array([0.0, 0.1, 0.2, 0.3, 0.4, 3.1, -3.1, 0.0, 0.1, 0.2]), np.zeros(10)
    rows, there = nearest_hits(layer, eta, phi, np.zeros((1, 10)), np.full((1, 10), 3.14))
    assert rows.shape == there.shape == (1, 50)
    np.testing.assert_array_equal(rows[0, :5], [5, 6, 4, 3, 2])
    np.testing.assert_array_equal(there[0, 5:10], [True] * 3 + [False] * 2)
    assert not there[0, 10:].any()


def test_edges_between_hits_that_are_there():
    there = np.zeros((2, 50), dtype=bool)
    there[0, [0, 1, 5]] = True
    there[1, [0, 5, 10]] = True
    present, edges = joined_graphs(there)
    np.testing.assert_array_equal(present, [0, 1, 5, 50, 55, 60])
    np.testing.assert_array_equal(np.sort(edges.T, axis=0), np.sort([[0, 2], [1, 2], [3, 4], [4, 5]], axis=0))
    assert seed_edges().shape == (2, 225)


def test_the_better_of_two_candidates_keeps_the_shared_hits():
    # Two seeds see the same five hits on three layers; the second one with larger scores.
    rows = np.tile(np.arange(50), (2, 1))
    score = np.zeros((2, 50))
    score[0, [0, 5, 10]], score[1, [0, 5, 10]] = 0.7, 0.9
    label, membership = best_candidates(rows, score, 0.5, 3, 50)
    np.testing.assert_array_equal(np.flatnonzero(label == 1), [0, 5, 10])
    assert (label != 0).all()
    np.testing.assert_allclose(membership[[0, 5, 10]], 0.9)


def test_weak_hits_and_short_candidates_are_left_out():
    score = np.zeros((1, 50))
    score[0, [0, 5, 10, 15]] = [0.9, 0.9, 0.9, 0.3]
    label, _ = best_candidates(np.arange(50)[None], score, 0.5, 3, 50)
    np.testing.assert_array_equal(np.flatnonzero(label == 0), [0, 5, 10])
    label, _ = best_candidates(np.arange(50)[None], score, 0.5, 4, 50)
    assert (label == -1).all()


def test_no_hits_no_seeds_no_candidates():
    nothing, none = np.zeros(0), np.zeros(0, dtype=int)
    seeds = find_seeds(none, nothing, nothing, nothing)
    assert seeds.shape == (0, 3)
    eta, phi = expected_points(seeds, nothing, nothing, nothing, RADII)
    rows, there = nearest_hits(none, nothing, nothing, eta, phi)
    present, edges = joined_graphs(there)
    assert present.shape == (0,)
    assert edges.shape == (2, 0)
    assert best_candidates(rows, np.zeros(rows.shape), 0.5, 3, 0)[0].shape == (0,)
