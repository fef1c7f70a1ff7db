"""Which hits the refiner sees of a cluster: its own first, then the nearest under the cluster's hypothesis."""

import numpy as np
import pytest
from straight_clusters import STRAIGHT, lines

from mltrack_plugin.models.hypotheses import Hypothesis
from mltrack_plugin.refiner.rounds import clusters_of
from mltrack_plugin.refiner.slots import group_medians, make_slots


def sets_of(positions, labels, **changes):
    return make_slots(positions, clusters_of(labels), **(STRAIGHT | changes))


@pytest.mark.parametrize("azimuth", [0.7, np.pi, -np.pi + 0.01])
def test_own_hits_come_first_and_the_lost_one_is_the_next(azimuth):
    positions, track = lines([azimuth, azimuth + 0.6, azimuth - 0.7, azimuth + 2.0], [0.4, 0.4, 0.4, 0.4])
    labels = np.where(track == 0, 0, -1)
    labels[3] = -1
    sets = sets_of(positions, labels)
    assert sets.mask.all()
    assert set(sets.hit[0, :5].tolist()) == {0, 1, 2, 4, 5}
    assert sets.hit[0, 5] == 3
    assert sets.weight[0].tolist() == [1.0] * 5 + [0.0] * 7
    # The six others are those of the next track in azimuth.
    assert set(sets.hit[0, 6:].tolist()) == set(range(6, 12))
    np.testing.assert_array_equal(sets.positions[0], positions[sets.hit[0]])


def test_of_a_cluster_with_more_hits_than_slots_those_near_its_centre_are_kept():
    positions, track = lines([0.0, 0.1, 1.5], [0.4, 0.4, 0.4])
    sets = sets_of(positions, np.zeros(18, dtype=int), slots=12)
    assert set(track[sets.hit[0]].tolist()) == {0, 1}
    assert (sets.weight == 1).all()


def test_small_events_have_fewer_slots():
    positions, track = lines([0.0], [0.4], n=3)
    sets = sets_of(positions, track)
    assert sets.hit.shape == (1, 3)
    assert sets.mask.all()


def test_helices_are_compared_under_their_own_direction_of_turning():
    t = np.linspace(1.0, 6.0, 6)
    tracks = [
        np.stack([a * t * np.cos(d * t), a * t * np.sin(d * t), b * t], 1)
        for a, b, d in ((0.5, 1.5, 1), (0.52, 1.5, 1), (0.5, 1.5, -1), (0.9, -1.0, -1))
    ]
    positions, track = np.concatenate(tracks).astype(np.float32), np.repeat(np.arange(4), 6)
    labels = np.where(np.arange(24) % 6 == 2, -1, track)
    both = (Hypothesis(turning=1), Hypothesis(turning=-1))
    sets = sets_of(positions, labels, hypotheses=both, slots=8)
    for cluster in range(4):
        assert (track[sets.hit[cluster, :5]] == cluster).all()
        assert sets.hit[cluster, 5] == 6 * cluster + 2


def test_memberships_travel_and_every_hit_is_seen_once_per_cluster():
    rng = np.random.default_rng(1)
    positions, track = lines(rng.uniform(-3, 3, 12).tolist(), rng.uniform(0.1, 0.5, 12).tolist())
    weight = rng.uniform(0.1, 1.0, len(track)).astype(np.float32)
    sets = make_slots(positions, clusters_of(track, weight), **STRAIGHT)
    for cluster in range(12):
        assert len(set(sets.hit[cluster].tolist())) == 12
        mine = track[sets.hit[cluster]] == cluster
        assert mine.sum() == 6
        np.testing.assert_array_equal(sets.weight[cluster], np.where(mine, weight[sets.hit[cluster]], 0.0))


def test_medians_of_groups():
    values = np.array([5.0, 1.0, 3.0, 8.0, 2.0, 2.0])
    assert group_medians(values, np.array([0, 0, 0, 1, 1, 2]), 3).tolist() == [3.0, 2.0, 2.0]
