"""Majority particles, purity and completeness."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.evaluation.matching import match_hit_lists, match_tracks

#: One event: (track label, particle id) per hit.
EVENTS = st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 5)), max_size=40)


def slow_majority(labels, particles):
    """track label -> (majority particle id or None, its hits on the track, hits on the track)."""
    result = {}
    for label in sorted({t for t in labels if t >= 0}):
        on_track = [p for t, p in zip(labels, particles, strict=True) if t == label]
        candidates = sorted(
            {p for p in on_track if p != 0}, key=lambda p: (-on_track.count(p), particles.count(p), p)
        )
        best = candidates[0] if candidates else None
        result[label] = (best, on_track.count(best) if best is not None else 0, len(on_track))
    return result


def test_hand_computed_event():
    # Track 4: three hits of particle 7, one of 9, one noise hit. Track 6: two noise hits.
    labels = [4, 4, 4, 4, 4, 6, 6, -1, -1]
    particles = [7, 7, 7, 9, 0, 0, 0, 9, 7]
    m = match_tracks(labels, particles, weights=[1, 2, 4, 8, 99, 99, 99, 16, 32])
    assert m.track_labels.tolist() == [4, 6]
    assert m.track_n_hits.tolist() == [5, 2]
    assert m.track_particle.tolist() == [0, -1]
    assert m.track_n_matched.tolist() == [3, 0]
    assert m.track_weight.tolist() == [7.0, 0.0]
    assert m.particle_ids.tolist() == [7, 9]
    assert m.particle_n_hits.tolist() == [4, 2]
    assert m.total_weight == 1 + 2 + 4 + 8 + 16 + 32
    assert m.purity.tolist() == [3 / 5, 0]
    assert m.completeness.tolist() == [3 / 4, 0]


def test_tie_goes_to_the_particle_of_which_the_track_holds_more():
    # Two hits each of particles 1 (five hits in all) and 2 (two hits in all).
    m = match_tracks([0, 0, 0, 0, -1, -1, -1], [1, 1, 2, 2, 1, 1, 1])
    assert m.particle_ids[m.track_particle].tolist() == [2]
    assert m.completeness.tolist() == [1.0]


def test_full_tie_goes_to_the_smaller_id():
    m = match_tracks([0, 0, 0, 0], [9, 9, 3, 3])
    assert m.particle_ids[m.track_particle].tolist() == [3]


def test_neighbouring_64_bit_ids_stay_apart():
    big = 2**63 + 4503599627370497
    m = match_tracks([0, 0, 0, 1], np.array([big, big, big + 1, big + 1], dtype=np.uint64))
    assert m.particle_ids.tolist() == [big, big + 1]
    assert m.track_particle.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "particles", "n_tracks", "n_particles"),
    [([], [], 0, 0), ([-1, -1], [1, 2], 0, 2), ([0, 0], [0, 0], 1, 0), ([-1], [0], 0, 0)],
)
def test_empty_cases(labels, particles, n_tracks, n_particles):
    m = match_tracks(np.array(labels, dtype=np.int64), np.array(particles, dtype=np.uint64))
    assert (m.n_tracks, m.n_particles) == (n_tracks, n_particles)
    assert len(m.purity) == len(m.completeness) == n_tracks


def test_floating_point_ids_are_refused():
    with pytest.raises(EventDataError, match="particle_of_hit must hold integers"):
        match_tracks([0, 0], [1.0, 2.0])


def test_different_lengths_are_refused():
    with pytest.raises(EventDataError, match="one track label, particle id and weight per hit"):
        match_tracks([0, 0], [1, 2, 3])
    with pytest.raises(EventDataError, match="per hit"):
        match_tracks([0, 0], [1, 2], weights=[1.0])


@given(EVENTS)
def test_agrees_with_the_slow_definition(event):
    labels, particles = [t for t, _ in event], [p for _, p in event]
    m = match_tracks(np.array(labels, dtype=np.int64), np.array(particles, dtype=np.uint64))
    found = {
        label: (int(m.particle_ids[p]) if p >= 0 else None, int(k), int(n))
        for label, p, k, n in zip(
            m.track_labels.tolist(), m.track_particle, m.track_n_matched, m.track_n_hits, strict=True
        )
    }
    assert found == slow_majority(labels, particles)


@given(EVENTS, st.randoms(use_true_random=False))
def test_hit_order_does_not_matter(event, random):
    shuffled = list(event)
    random.shuffle(shuffled)
    a, b = (match_tracks(*np.array(e, dtype=np.int64).reshape(-1, 2).T) for e in (event, shuffled))
    for name in ("track_labels", "track_n_hits", "track_particle", "track_n_matched", "particle_n_hits"):
        assert getattr(a, name).tolist() == getattr(b, name).tolist()


@given(EVENTS, st.permutations(range(6)), st.permutations(range(1, 6)))
def test_names_of_tracks_and_particles_do_not_matter(event, track_names, particle_names):
    renamed = [(track_names[t] if t >= 0 else -1, particle_names[p - 1] if p else 0) for t, p in event]
    a, b = (match_tracks(*np.array(e, dtype=np.int64).reshape(-1, 2).T) for e in (event, renamed))

    def tracks(m):
        rows = (m.track_n_hits, m.track_n_matched, m.majority_n_hits)
        return sorted(zip(*(row.tolist() for row in rows), strict=True))

    assert tracks(a) == tracks(b)


def test_an_event_of_100_000_hits_takes_under_50_ms():
    rng = np.random.default_rng(3)
    particles = rng.integers(0, 10_000, 100_000).astype(np.uint64) * np.uint64(4503599627370497)
    labels = np.where(
        rng.random(100_000) < 0.8, particles % np.uint64(9973), rng.integers(0, 12_000, 100_000)
    )
    times = []
    for _ in range(5):
        start = time.thread_time()
        match_tracks(labels.astype(np.int64), particles)
        times.append(time.thread_time() - start)
    assert min(times) < 0.05


@given(EVENTS)
def test_lists_of_exclusive_hits_match_as_labels_do(event):
    labels, particles = np.array([t for t, _ in event], dtype=int), [p for _, p in event]
    kept = np.unique(labels[labels >= 0])
    lists = [np.flatnonzero(labels == label) for label in kept]
    offsets = np.cumsum([0, *map(len, lists)])
    indices = np.concatenate([np.array([], dtype=int), *lists])
    particles = np.array(particles, dtype=int)
    expected = match_tracks(labels, particles)
    got = match_hit_lists(offsets, indices, particles)
    for name in ("track_n_hits", "track_particle", "track_n_matched", "track_n_noise", "particle_n_hits"):
        assert getattr(got, name).tolist() == getattr(expected, name).tolist()


def test_shared_hits_count_on_every_track_and_once_for_their_particle():
    m = match_hit_lists([0, 3, 6], [0, 1, 2, 1, 2, 3], [7, 7, 7, 0])
    assert m.track_n_matched.tolist() == [3, 2]
    assert m.track_n_noise.tolist() == [0, 1]
    assert m.particle_n_hits.tolist() == [3]


@pytest.mark.parametrize(("order", "majority"), [([0, 1, 2, 3], 9), ([3, 2, 1, 0], 7), ([0, 2, 3, 1], 7)])
def test_ties_go_to_the_particle_of_the_last_hit_where_asked(order, majority):
    m = match_hit_lists([0, 4], order, [7, 7, 9, 9], ties="last-hit")
    assert m.particle_ids[m.track_particle].tolist() == [majority]


@pytest.mark.parametrize(
    ("offsets", "indices", "message"),
    [
        ([0, 2, 2], [0, 1], "offsets must rise"),
        ([0, 3], [0, 1], "offsets must rise from 0 to 2"),
        ([], [], "offsets must rise"),
        ([0, 2], [0, 4], "hit indices run from 0 to 4, but the event has 4 hits"),
        ([0, 2], [-1, 3], "hit indices run from -1 to 3"),
    ],
)
def test_lists_of_another_event_are_refused(offsets, indices, message):
    with pytest.raises(EventDataError, match=message):
        match_hit_lists(np.array(offsets, dtype=int), np.array(indices, dtype=int), [7, 7, 9, 9])
