"""From answers to tracks: false hits go, lost ones come, clusters merge and split, each hit has one owner."""

import numpy as np
from straight_clusters import STRAIGHT, Oracle, lines

from mltrack_plugin.refiner.rounds import Answers, merged, owners, refine
from mltrack_plugin.refiner.slots import Slots

POSITIONS, TRACK = lines([0.0, 0.3, 2.0, -2.5], [0.4, 0.4, 0.3, 0.2])


def refined(labels, particle=TRACK, **changes):
    network = Oracle(particle)
    return refine(POSITIONS, labels, network, **(STRAIGHT | changes)), network


def groups(labels):
    return {frozenset(np.flatnonzero(labels == k).tolist()) for k in np.unique(labels[labels >= 0])}


TRUTH = groups(TRACK)


def test_false_hits_are_dropped_and_left_over_ones_attached():
    labels = TRACK.copy()
    labels[2] = 1
    labels[9] = -1
    result, _ = refined(labels)
    assert groups(result.labels) == TRUTH
    assert (result.membership == np.float32(0.9)).all()
    assert (result.probability == 1).all()
    assert result.parameters[:, 0].tolist() == [0, 1, 2, 3]


def test_fragments_merge_when_their_parameters_agree():
    labels = np.where(np.arange(24) < 3, 4, TRACK)
    result, network = refined(labels, min_hits=3)
    assert groups(result.labels) == TRUTH
    assert len(network.sets) == 2

    class Doubtful(Oracle):
        """The parameters of all clusters are far apart."""

        def __call__(self, slots):
            output = super().__call__(slots)
            output[:, -2] = 100 * np.arange(len(output))
            return output

    apart = refine(POSITIONS, labels, Doubtful(TRACK), **STRAIGHT, min_hits=3)
    assert groups(apart.labels) == TRUTH
    assert len(apart.probability) == 4


def test_a_cluster_of_two_tracks_is_split():
    labels = TRACK.copy()
    labels[TRACK == 1] = 0
    labels[[6, 7]] = -1
    result, network = refined(labels)
    assert groups(result.labels) == TRUTH
    assert len(network.sets) > 1
    # Without a further round the second track is not there.
    assert len(groups(refined(labels, rounds=1)[0].labels)) == 3


def test_noise_stays_on_no_track_and_small_tracks_go():
    noise = TRACK.copy()
    noise[[0, 1, 2]] = -1
    result, _ = refined(TRACK, particle=noise)
    assert (result.labels[:3] == -1).all()
    assert (result.membership[:3] == 0).all()
    assert not (result.labels[3:6] >= 0).any()
    assert len(result.probability) == 3
    assert len(refined(TRACK, particle=noise, min_hits=3)[0].probability) == 4


def test_nothing_in_nothing_out():
    for positions, labels in ((POSITIONS, np.full(24, -1)), (POSITIONS[:0], TRACK[:0])):
        result = refine(positions, labels, Oracle(TRACK), **STRAIGHT)
        assert (result.labels == -1).all()
        assert len(result.labels) == len(labels)
        assert len(result.probability) == 0


def test_order_of_hits_does_not_matter():
    order = np.random.default_rng(1).permutation(24)
    labels = TRACK.copy()
    labels[[2, 9]] = [1, -1]
    result = refine(POSITIONS[order], labels[order], Oracle(TRACK[order]), **STRAIGHT)
    assert {frozenset(order[list(g)].tolist()) for g in groups(result.labels)} == TRUTH


def slots_of(hit):
    hit = np.array(hit)
    return Slots(np.zeros((*hit.shape, 3)), hit, np.ones(hit.shape), np.ones(hit.shape, dtype=bool))


def answers(membership, values, sigma=0.1):
    values = np.array(values, dtype=float)[:, None]
    return Answers(np.array(membership), np.ones(len(values)), values, np.full(values.shape, sigma))


def test_hits_go_to_the_strongest_claim_and_ties_to_the_first_cluster():
    slots = slots_of([[0, 1, 2], [1, 2, 3]])
    owner, membership = owners(slots, answers([[0.9, 0.6, 0.7], [0.8, 0.7, 0.4]], [0, 0]), 5, 0.5)
    assert owner.tolist() == [0, 1, 0, -1, -1]
    np.testing.assert_allclose(membership, [0.9, 0.8, 0.7, 0, 0], rtol=1e-6)


def test_merging_needs_common_claims_and_equal_parameters():
    slots = slots_of([[0, 1, 2], [1, 2, 3], [4, 5, 6], [3, 6, 7]])
    claims = np.full((4, 3), 0.9)
    assert merged(slots, answers(claims, [0.0, 0.1, 0.0, 0.0]), 8, 0.5, 5.0).tolist() == [0, 0, 1, 2]
    assert len(set(merged(slots, answers(claims, [0.0, 1.0, 0.0, 0.0]), 8, 0.5, 5.0).tolist())) == 4
    assert len(set(merged(slots, answers(claims, [0.0, 0.1, 0.0, 0.0]), 8, 0.7, 5.0).tolist())) == 4
    claims[1, 0] = 0.4
    assert len(set(merged(slots, answers(claims, [0.0, 0.1, 0.0, 0.0]), 8, 0.6, 5.0).tolist())) == 4
