"""True seeds, and hits that several tracks claim."""

import numpy as np
import pytest

from mltrack_plugin.clustering.pointers import distinct_tracks, hits_of_tracks, resolve_claims, true_seeds
from mltrack_plugin.simulation.datasets import make_dataset


def test_true_seeds_are_the_innermost_hits_of_each_particle():
    event = make_dataset("redvid-10-50-linear").event(0, seed=3, split="train")
    distance = np.linalg.norm(event.hits.positions, axis=1)
    particle = event.truth_links.particle_id
    for k in (1, 3):
        label = true_seeds(event.hits.positions, particle, k)
        seeded = np.unique(particle[label >= 0])
        assert len(np.unique(label[label >= 0])) == len(seeded)
        for number in np.unique(particle):
            own = np.flatnonzero(particle == number)
            inner = own[np.argsort(distance[own])[:k]]
            assert (number in seeded) == (len(own) >= k)
            if len(own) >= k:
                assert set(np.flatnonzero(label == label[inner[0]])) == set(inner)


def test_noise_has_no_seeds_and_large_ids_stay_apart():
    positions = np.ones((3, 3)) * np.arange(1, 4)[:, None]
    big = 2**63
    assert true_seeds(positions, np.array([0, 0, 0], dtype=np.uint64), 1).tolist() == [-1, -1, -1]
    label = true_seeds(positions, np.array([big + 1, big, big + 1], dtype=np.uint64), 1)
    assert (label >= 0).tolist() == [True, True, False]
    assert label[0] != label[1]
    assert len(true_seeds(np.zeros((0, 3)), np.zeros(0, dtype=np.uint64), 1)) == 0


def test_a_claim_is_worth_the_product_of_its_steps():
    tracks = np.array([[[4, 0.9], [2, 0.5], [-1, 0.0]]], dtype=np.float32)
    rows, probability = hits_of_tracks(tracks)
    assert rows.tolist() == [[4, 2, -1]]
    np.testing.assert_allclose(probability[0, :2], [0.9, 0.45], rtol=1e-6)


def test_the_most_probable_claim_wins_then_the_smaller_first_hit():
    rows = np.array([[5, 1, 2], [0, 1, 2], [3, 1, -1]])
    claims = np.array([[1.0, 0.8, 0.6], [1.0, 0.8, 0.7], [1.0, 0.8, 0.0]])
    label, membership = resolve_claims(rows, claims, 7)
    # Hit 1 is claimed by all three with 0.8: the track that starts at hit 0 has it.
    assert label.tolist() == [1, 1, 1, 2, -1, 0, -1]
    np.testing.assert_allclose(membership, [1, 0.8, 0.7, 1, 0, 1, 0])
    backwards = resolve_claims(rows[::-1], claims[::-1], 7)[0]
    assert backwards.tolist() == [1, 1, 1, 0, -1, 2, -1]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3)])
def test_no_tracks_claim_nothing(shape):
    label, membership = resolve_claims(np.zeros(shape, dtype=np.int64), np.zeros(shape), 4)
    assert label.tolist() == [-1] * 4
    assert (membership == 0).all()


def test_a_track_that_starts_in_the_middle_of_a_better_one_is_left_out():
    end = [-1, 0.0]
    tracks = np.array(
        [
            [[3, 0.9], [5, 0.9], end],
            [[1, 0.2], [3, 0.9], [5, 0.9]],
            [[8, 0.9], [5, 0.1], end],
            [[6, 0.5], end, end],
            [end, end, end],
        ]
    )
    # Track 0 starts on track 1, which is longer; track 2 shares its last hit only; track 4 is padding.
    assert distinct_tracks(tracks).tolist() == [1, 2, 3]
    assert distinct_tracks(tracks[:1]).tolist() == [0]
    assert distinct_tracks(np.zeros((0, 1, 2))).tolist() == []
    # Of equal tracks the one whose first hit comes first in the input is kept.
    twins = np.array([[[6, 0.9], [2, 0.9]], [[2, 0.9], [6, 0.9]]])
    assert distinct_tracks(twins).tolist() == [1]
