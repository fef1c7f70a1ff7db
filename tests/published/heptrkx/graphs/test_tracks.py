"""From segments to tracks: components, paths that share no hit, second hits on a layer."""

import itertools

import numpy as np
import pytest

from mltrack_plugin.published.heptrkx.graphs.tracks import (
    add_double_hits,
    connected_components,
    hit_membership,
    walk_through,
)


def groups(label):
    """The nodes of each label as sorted lists."""
    return sorted(np.flatnonzero(label == i).tolist() for i in np.unique(label[label >= 0]))


def test_components_join_what_segments_join():
    label = connected_components(6, np.array([[0, 1, 3], [1, 2, 4]]))
    assert groups(label) == [[0, 1, 2], [3, 4]]
    assert label[5] == -1


def test_a_path_alone_is_one_track():
    edges = np.array([[0, 1, 2], [1, 2, 3]])
    assert groups(walk_through(4, edges, np.full(3, 0.9), np.arange(4))) == [[0, 1, 2, 3]]


def test_a_wrong_segment_between_two_tracks_is_cut():
    # 0-1-2-3 and 4-5-6-7 with a weak segment from 1 to 6.
    edges = np.array([[0, 1, 1, 2, 4, 5, 6], [1, 2, 6, 3, 5, 6, 7]])
    score = np.array([0.99, 0.98, 0.6, 0.99, 0.99, 0.98, 0.99])
    layer = np.tile(np.arange(4), 2)
    assert groups(walk_through(8, edges, score, layer)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert groups(connected_components(8, edges)) == [list(range(8))]


def test_a_hit_claimed_by_two_tracks_goes_to_the_better_one():
    # Both come through node 2; 0-2-3 has the stronger segments, 1 is left alone.
    edges = np.array([[0, 1, 2], [2, 2, 3]])
    label = walk_through(4, edges, np.array([0.95, 0.7, 0.9]), np.array([0, 0, 1, 2]))
    assert groups(label) == [[0, 2, 3]]
    assert label[1] == -1


def test_longer_paths_win_over_shorter_ones_of_the_same_scores():
    # Node 1 can go on to 2 (a dead end) or to 3 and 4.
    edges = np.array([[0, 1, 1, 3], [1, 2, 3, 4]])
    label = walk_through(5, edges, np.full(4, 0.9), np.array([0, 1, 2, 2, 3]))
    assert groups(label) == [[0, 1, 3, 4]]


@pytest.mark.parametrize("seed", range(3))
def test_no_hit_is_on_two_paths_and_every_path_follows_segments(seed):
    rng = np.random.default_rng(seed)
    layer = np.repeat(np.arange(8), 12)
    inner, outer = np.nonzero((layer[None] - layer[:, None] == 1) & (rng.random((96, 96)) < 0.2))
    edges, score = np.stack([inner, outer]), rng.random(len(inner))
    label = walk_through(96, edges, score, layer)
    joined = {tuple(pair) for pair in edges.T.tolist()}
    for path in groups(label):
        steps = list(itertools.pairwise(path))
        assert len(path) > 1
        assert all(step in joined for step in steps)
    # Maximal: no segment joins two hits that are left over.
    assert not (label[edges] < 0).all(axis=0).any()


def test_the_result_does_not_depend_on_the_order_of_segments():
    rng = np.random.default_rng(5)
    layer = np.repeat(np.arange(6), 10)
    inner, outer = np.nonzero((layer[None] - layer[:, None] == 1) & (rng.random((60, 60)) < 0.2))
    edges, score = np.stack([inner, outer]), rng.random(len(inner))
    order = rng.permutation(len(score))
    first = walk_through(60, edges, score, layer)
    second = walk_through(60, edges[:, order], score[order], layer)
    assert groups(first) == groups(second)


def test_scores_of_zero_and_one_are_fine():
    label = walk_through(3, np.array([[0, 1], [1, 2]]), np.array([1.0, 0.0]), np.arange(3))
    assert groups(label) == [[0, 1, 2]]


#: A particle with two hits on layers 1 and 2 (nodes 1, 2 and 3, 4), and its segments.
DOUBLE_EDGES = np.array([[0, 0, 1, 1, 2, 2, 3, 4], [1, 2, 3, 4, 3, 4, 5, 5]])
DOUBLE_LAYER = np.array([0, 1, 1, 2, 2, 3])
DOUBLE_POSITION = np.array(
    [[32, 0, 0], [72, 0, 0], [72, 5, 0], [116, 0, 0], [116, 6, 0], [172, 0, 0]], dtype=float
)


def test_second_hits_on_a_layer_join_the_path():
    score = np.array([0.9, 0.8, 0.9, 0.8, 0.8, 0.8, 0.9, 0.8])
    label = walk_through(6, DOUBLE_EDGES, score, DOUBLE_LAYER, DOUBLE_POSITION, 10.0)
    assert groups(label) == [[0, 1, 2, 3, 4, 5]]


def test_second_hits_far_from_the_first_do_not():
    score = np.array([0.9, 0.8, 0.9, 0.8, 0.8, 0.8, 0.9, 0.8])
    label = walk_through(6, DOUBLE_EDGES, score, DOUBLE_LAYER, DOUBLE_POSITION, 5.5)
    # The hit 5 mm away joins, the one 6 mm away stays alone.
    assert groups(label) == [[0, 1, 2, 3, 5]]


def test_a_left_over_hit_joins_the_path_of_its_strongest_segment():
    # Node 4 lies beside hits of both paths on layer 1.
    label = np.array([0, 0, 1, 1, -1])
    edges, score = np.array([[0, 2], [4, 4]]), np.array([0.6, 0.8])
    layer = np.array([0, 1, 0, 1, 1])
    position = np.array([[32, 0, 0], [72, 0, 0], [32, 6, 0], [72, 6, 0], [72, 3, 0]], dtype=float)
    np.testing.assert_array_equal(
        add_double_hits(label, edges, score, layer, position, 10.0), [0, 0, 1, 1, 1]
    )


@pytest.mark.parametrize("n", [0, 4])
def test_no_segments_no_tracks(n):
    nothing, none = np.zeros((2, 0), dtype=np.int64), np.zeros(0)
    assert (connected_components(n, nothing) == -1).all()
    assert (walk_through(n, nothing, none, np.zeros(n, dtype=int)) == -1).all()
    assert walk_through(n, nothing, none, np.zeros(n, dtype=int)).shape == (n,)


def test_membership_is_the_best_segment_within_the_track():
    label = np.array([0, 0, 1, -1])
    edges, score = np.array([[0, 1, 1], [1, 2, 3]]), np.array([0.7, 0.9, 0.8], dtype=np.float32)
    np.testing.assert_allclose(hit_membership(label, edges, score), [0.7, 0.7, 0.0, 0.0])
