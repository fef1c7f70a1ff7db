"""Segments: the windows, the wrap at pi, adjacent layers, endcaps, and the graph of an event."""

import numpy as np
import pytest
from barrel_events import event, lines

from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.published.heptrkx.graphs.construct import build_graph, connect, true_segments, wrapped
from mltrack_plugin.published.heptrkx.graphs.layers import ALL_LAYERS, BARREL_PAIRS


def brute_force(layer, phi, z, pairs, max_dphi, max_dz):
    found = []
    for i in range(len(layer)):
        for j in range(len(layer)):
            close = abs(wrapped(phi[j] - phi[i])) < max_dphi and abs(z[j] - z[i]) < max_dz
            if (layer[i], layer[j]) in pairs and close:
                found.append((i, j))
    return np.array(found).reshape(-1, 2).T


@pytest.mark.parametrize("max_dphi", [0.05, np.pi / 4, 3.0])
def test_all_pairs_in_the_windows_and_no_others(max_dphi):
    rng = np.random.default_rng(3)
    layer, phi, z = rng.integers(0, 10, 120), rng.uniform(-np.pi, np.pi, 120), rng.uniform(-500, 500, 120)
    found = connect(layer, np.ones(120), phi, z, BARREL_PAIRS, max_dphi=max_dphi, max_dz=300)
    assert found.shape[1] > 5
    np.testing.assert_array_equal(found, brute_force(layer, phi, z, BARREL_PAIRS, max_dphi, 300))


def test_hits_on_both_sides_of_pi_are_neighbours():
    edges = connect([0, 1], [32, 72], [3.1, -3.1], [0, 0], ((0, 1),))
    np.testing.assert_array_equal(edges, [[0], [1]])


def test_windows_are_exclusive():
    assert connect([0, 1], [32, 72], [0, 0], [0, 300], ((0, 1),)).shape == (2, 0)
    assert connect([0, 1], [32, 72], [0, 0], [0, 299.9], ((0, 1),)).shape == (2, 1)
    assert connect([0, 1], [32, 72], [0, 0.5], [0, 0], ((0, 1),), max_dphi=0.5).shape == (2, 0)


def test_segments_lead_outwards_and_skip_no_layer():
    assert connect([0, 2], [32, 116], [0, 0], [0, 0], BARREL_PAIRS).shape == (2, 0)
    np.testing.assert_array_equal(connect([1, 0], [72, 32], [0, 0], [0, 0], BARREL_PAIRS), [[1], [0]])


def test_line_through_both_hits_must_cross_the_beam_near_the_centre():
    # From (r, z) = (100, 600) to (110, 700): crosses the axis at -400; to (120, 700): at 100.
    r, z = [100, 110, 120], [600, 700, 700]
    edges = connect([0, 1, 1], r, [0, 0, 0], z, ((0, 1),), max_dz=np.inf, max_z0=200)
    np.testing.assert_array_equal(edges, [[0], [2]])


def test_line_that_does_not_lead_outwards_is_refused_where_the_crossing_counts():
    assert connect([0, 1], [100, 90], [0, 0], [600, 700], ((0, 1),), max_dz=np.inf, max_z0=200).shape == (
        2,
        0,
    )


def test_windows_of_their_own_for_every_pair_of_layers():
    edges = connect(
        [0, 1, 2], [32, 72, 116], [0] * 3, [0, 100, 200], BARREL_PAIRS[:2], max_dz=np.array([50, 150])
    )
    np.testing.assert_array_equal(edges, [[1], [2]])


def test_no_hits_no_edges():
    nothing = np.zeros(0)
    assert connect(nothing, nothing, nothing, nothing, BARREL_PAIRS).shape == (2, 0)


def test_graph_of_exact_tracks_holds_all_their_segments():
    hits, truth = event(lines(8))
    graph = build_graph(hits)
    true = true_segments(graph.edges, truth.particle_id[graph.rows])
    assert len(graph) == 80
    assert true.sum() == 8 * 9
    assert graph.n_edges > 100


def test_noise_makes_no_true_segment():
    np.testing.assert_array_equal(
        true_segments(np.array([[0, 1, 2], [1, 2, 3]]), np.array([0, 0, 5, 5], dtype=np.uint64)),
        [False, False, True],
    )


def test_only_given_rows_take_part():
    hits, _ = event(lines(3))
    graph = build_graph(hits, rows=np.arange(10))
    np.testing.assert_array_equal(graph.rows, np.arange(10))


def test_hits_outside_the_barrel_take_part_with_endcaps_only():
    # A straight track at eta = 2: two pixel barrel layers, then discs at z = 600 and 700 mm.
    z = np.array([120.0, 270.0, 600.0, 700.0])
    layers = np.array([(8, 2), (8, 4), (9, 2), (9, 4)])
    hits = Hits(np.arange(4), z / np.sinh(2), np.zeros(4), z, volume_id=layers[:, 0], layer_id=layers[:, 1])
    assert len(build_graph(hits)) == 2
    graph = build_graph(hits, endcaps=True)
    assert [ALL_LAYERS[i] for i in graph.layer] == [tuple(pair) for pair in layers]
    # The inner barrel layer reaches the first disc, too: a track may miss the second layer.
    np.testing.assert_array_equal(graph.edges, [[0, 0, 1, 2], [1, 2, 2, 3]])


def test_hits_without_layers_are_an_error_that_says_so():
    with pytest.raises(EventError, match=r"no volume_id and layer_id.*layer must be known"):
        build_graph(Hits([1], [32.0], [0.0], [0.0]))
