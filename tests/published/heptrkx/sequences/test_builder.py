"""The combinatorial search, with an exact straight-line predictor in place of the network."""

import numpy as np
import pytest
from barrel_events import RADII, SIGMA, event, lines, straight_line

from mltrack_plugin.published.heptrkx.sequences.barrel import N_LAYERS, barrel_layer, cylindrical
from mltrack_plugin.published.heptrkx.sequences.builder import (
    BuilderConfig,
    build_candidates,
    seeds,
    with_spread,
)


def build(hits, **settings):
    return build_candidates(
        cylindrical(hits), barrel_layer(hits), straight_line, RADII, BuilderConfig(**settings)
    )


def particles_of(candidates, truth):
    """Per candidate the set of particles on it."""
    return [set(truth.particle_id[rows[rows >= 0]].tolist()) for rows in candidates.rows]


def test_seeds_point_to_the_beam_line():
    hits, truth = event(lines(12))
    found = seeds(cylindrical(hits), barrel_layer(hits), BuilderConfig(seed_dphi=0.02, seed_z0=60.0))
    assert particles_of(found, truth) == [{p} for p in truth.particle_id[found.rows[:, 0]].tolist()]
    assert sorted(truth.particle_id[found.rows[:, 0]].tolist()) == list(range(1, 13))
    assert not len(seeds(cylindrical(hits), barrel_layer(hits), BuilderConfig(seed_z0=1e-3)))


def test_every_line_is_followed_through_the_barrel():
    hits, truth = event(lines(20))
    found = build(hits)
    complete = found.take(found.n_hits == N_LAYERS)
    sets = particles_of(complete, truth)
    assert sorted(p for s in sets for p in s) == list(range(1, 21))
    assert all(len(s) == 1 for s in sets)
    # Exact tracks: nothing but rounding between hit and prediction.
    assert complete.distance.max() < 1e-2
    density = sum(-np.log(2 * np.pi * SIGMA[0] * RADII[k] * SIGMA[1]) for k in range(2, N_LAYERS))
    np.testing.assert_allclose(complete.log_likelihood, density, rtol=1e-3)


def test_a_missing_hit_is_a_hole_that_the_track_survives():
    present = np.ones((6, N_LAYERS), dtype=bool)
    present[2, 5] = False
    hits, truth = event(lines(6), present)
    found = build(hits)
    mine = found.take(np.array([s == {3} for s in particles_of(found, truth)]))
    assert mine.n_hits.max() == N_LAYERS - 1
    best = mine.take(np.argmax(mine.n_hits)[None])
    assert best.rows[0, 5] == -1
    assert best.distance[0, 5] == 20.0
    assert best.hits[0, 5, 0] == RADII[5]
    strict = build(hits, max_holes=0)
    assert strict.n_hits[[s == {3} for s in particles_of(strict, truth)]].max() == 5


def test_no_more_holes_in_a_row_than_allowed():
    present = np.ones((3, N_LAYERS), dtype=bool)
    present[1, 4:6] = False
    hits, truth = event(lines(3), present)
    for max_holes, expected in ((1, 4), (2, 8)):
        found = build(hits, max_holes=max_holes)
        mine = np.array([s == {2} for s in particles_of(found, truth)])
        assert found.n_hits[mine].max() == expected


def test_the_end_of_a_track_is_where_its_hits_end():
    present = np.ones((2, N_LAYERS), dtype=bool)
    present[0, 6:] = False
    hits, truth = event(lines(2), present)
    found = build(hits)
    mine = np.array([s == {1} for s in particles_of(found, truth)])
    assert found.length[mine].tolist() == [6]
    assert found.holes[mine].tolist() == [1]


def test_a_close_second_hit_makes_a_branch_and_the_likelihood_tells_them_apart():
    tracks = lines(4)
    wrong = tracks[:1].copy()
    wrong[0, :, 1] += 2.0 * SIGMA[0]
    present = np.ones((5, N_LAYERS), dtype=bool)
    present[4] = False
    present[4, 6] = True
    hits, truth = event(np.concatenate([tracks, wrong]), present)
    found = build(hits)
    with_first = np.flatnonzero([1 in s for s in particles_of(found, truth)])
    complete = found.take(with_first[found.n_hits[with_first] == N_LAYERS])
    pure = [s == {1} for s in particles_of(complete, truth)]
    assert sorted(pure) == [False, True]
    assert complete.log_likelihood[pure].min() > complete.log_likelihood[~np.array(pure)].max() + 1.0
    assert not any(s == {1, 5} for s in particles_of(build(hits, branches=1), truth))


def test_the_number_of_candidates_of_a_seed_is_limited():
    tracks = np.repeat(lines(1), 6, axis=0)
    tracks[1:, 4:, 2] += 0.1 * np.arange(1, 6)[:, None]
    present = np.ones((6, N_LAYERS), dtype=bool)
    present[1:, :4] = False
    hits, _ = event(tracks, present)
    for limit in (1, 3):
        found = build(hits, candidates_per_seed=limit, branches=6)
        assert np.bincount(found.seed).max() == limit


@pytest.mark.parametrize("layers", [[], [0], [0, 1], [1, 2, 3], [5, 6, 7, 8]])
def test_too_few_layers_give_no_track(layers):
    present = np.zeros((4, N_LAYERS), dtype=bool)
    present[:, layers] = True
    found = build(event(lines(4), present)[0])
    assert (found.n_hits <= 2).all()


def test_points_with_a_spread_are_gaussians_of_these_widths():
    hits = np.zeros((2, 3, 3), dtype=np.float32)
    points = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    spread = [(0.1 * n, 1.0 * n) for n in range(1, N_LAYERS)]
    found = with_spread(lambda given: points, RADII, spread)(hits)
    np.testing.assert_array_equal(found[..., :2], points)
    for step in range(3):
        # r phi becomes phi at the radius of the layer that is predicted.
        wanted = [(spread[step][0] / RADII[step + 1]) ** 2, 0.0, spread[step][1] ** 2]
        np.testing.assert_allclose(found[:, step, 2:], [wanted] * 2, rtol=1e-6)
