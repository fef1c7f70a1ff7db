"""Graphs with their truth: what is classified, which events count, how graphs are joined."""

import numpy as np
import pytest
from barrel_events import RADII, event, lines

from mltrack_plugin.event_data import Particles
from mltrack_plugin.published.heptrkx.graphs.samples import (
    GraphSample,
    hit_samples,
    in_published_selection,
    segment_sample,
    segments_of_particles,
)
from mltrack_plugin.simulation.event import SimulatedEvent


def simulated(n, present=None):
    hits, truth = event(lines(n), present)
    columns = {name: np.ones(n) for name in ("vx", "vy", "vz", "px", "py", "pz", "q")}
    return SimulatedEvent(hits, truth, Particles(np.arange(1, n + 1), **columns))


def test_segments_of_exact_tracks():
    sample = segment_sample(simulated(7))
    assert sample.nodes.shape == (70, 3)
    assert sample.target.sum() == 7 * 9
    np.testing.assert_allclose(np.unique(sample.nodes[:, 0].round(1)), RADII, atol=0.5)


def test_pairs_of_a_particle_on_adjacent_layers():
    present = np.ones((3, 10), dtype=bool)
    present[0, 4] = False
    present[1, 5:] = False
    # 7 of the track with a hole, 4 of the short one, 9.
    assert segments_of_particles(simulated(3, present)) == 7 + 4 + 9


def test_published_selection():
    assert in_published_selection(segment_sample(simulated(12)))
    assert not in_published_selection(segment_sample(simulated(5))), "too few hits"
    assert not in_published_selection(segment_sample(simulated(48))), "too many segments"


def test_hit_samples_of_exact_tracks():
    samples = hit_samples(simulated(8))
    assert len(samples) == 8
    for sample in samples:
        assert sample.nodes.shape == (50, 4)
        assert sample.edges.shape == (2, 225)
        assert sample.target.sum() == 10
        # The seed are the track's hits on the three inner layers, and no others.
        assert sample.nodes[:, 3].sum() == 3
        assert sample.target[sample.nodes[:, 3] == 1].all()
        assert (sample.nodes[sample.nodes[:, 3] == 1, 0] < 120).all()
        # Azimuths are counted from the innermost hit of the seed, which is the nearest to itself.
        assert sample.nodes[0, 1] == pytest.approx(0.0, abs=1e-6)
        assert sample.target[0]
        # Edges join hits on neighbouring layers.
        layer = np.arange(50) // 5
        np.testing.assert_array_equal(layer[sample.edges[1]] - layer[sample.edges[0]], 1)


def test_only_tracks_with_ten_hits_are_seeds_and_the_others_stay_in_the_neighbourhood():
    present = np.ones((8, 10), dtype=bool)
    present[2, 9] = False
    assert len(hit_samples(simulated(8, present))) == 7


def test_five_hits_on_a_layer_are_too_few():
    present = np.ones((6, 10), dtype=bool)
    present[0, 9] = False
    assert len(hit_samples(simulated(6))) == 6
    assert hit_samples(simulated(6, present)) == []


def test_joined_graphs_keep_their_segments():
    first, second = segment_sample(simulated(6)), segment_sample(simulated(7))
    joined = GraphSample.joined([first, second])
    n, m = len(first.nodes), first.edges.shape[1]
    np.testing.assert_array_equal(joined.edges[:, :m], first.edges)
    np.testing.assert_array_equal(joined.edges[:, m:] - n, second.edges)
    np.testing.assert_array_equal(joined.nodes[n:], second.nodes)
    np.testing.assert_array_equal(np.bincount(joined.graph), [len(first.target), len(second.target)])
