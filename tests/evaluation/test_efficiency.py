"""Efficiencies and rates: one event computed by hand, and a slow reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.evaluation.efficiency import METRICS, is_duplicate, is_matched
from mltrack_plugin.evaluation.matching import match_tracks
from mltrack_plugin.evaluation.scores import fit_accuracy, trackml_score

HITS = st.lists(st.tuples(st.integers(-1, 6), st.integers(0, 6)), max_size=60)

#: Seven tracks as lists of the particles of their hits; every hit is on a track. In the event: particle 1
#: has 6 hits, 2 has 5, 3 has 4, 4 has 3 (not reconstructable), 5 has 8, and there are 4 noise hits.
TRACKS = [
    [1, 1, 1, 1, 1, 1],  # perfect
    [2, 2, 2, 2, 0],  # purity 4/5, completeness 4/5
    [3, 3, 3, 2],  # purity exactly 3/4, completeness 3/4
    [4, 4, 4],  # all of particle 4, but shorter than four hits
    [5, 5, 5, 5],  # completeness exactly 1/2
    [5, 5, 5, 5],  # the same particle again
    [3, 0, 0, 0],  # a quarter of one particle
]

EXPECTED = {
    "perfect_match_efficiency": (1, 5),  # particle 1
    "lhc_match_efficiency": (5, 7),  # tracks 0, 1, 2, 4, 5
    "double_majority_efficiency": (3, 5),  # particles 1, 2, 3
    "efficiency": (4, 4),  # particles 1, 2, 3, 5
    "fake_rate": (2, 7),  # tracks 3 and 6
    "duplicate_rate": (1, 7),  # track 5
    "purity": (6 + 4 + 3 + 4 + 4, 6 + 5 + 4 + 4 + 4),
    "completeness": (6 + 4 + 3 + 4 + 4, 6 + 5 + 4 + 8 + 8),
}


def hand_event():
    labels = np.repeat(np.arange(len(TRACKS)), [len(t) for t in TRACKS])
    return match_tracks(labels, np.concatenate(TRACKS))


@pytest.mark.parametrize("name", METRICS)
def test_hand_computed(name):
    assert METRICS[name](hand_event(), 4).fraction == EXPECTED[name]


def test_hand_computed_scores():
    # Particle 4 counts in the TrackML score, which knows no shortest track; the halves of particle 5 do not.
    assert trackml_score(hand_event()) == (6 + 4 + 3 + 3, 26)
    # The other way round in FitAccuracy.
    assert fit_accuracy(hand_event()) == (6 + 4 + 3 + 4 + 4, 26)


def test_min_hits_moves_both_particles_and_tracks():
    m = hand_event()
    # With 3: particle 4 is asked for, and found by track 3, which is then no fake and perfect.
    assert METRICS["efficiency"](m, 3).fraction == (5, 5)
    assert METRICS["fake_rate"](m, 3).fraction == (1, 7)
    assert METRICS["perfect_match_efficiency"](m, 3).fraction == (2, 5)
    # With 6: particles 1 and 5 are asked for, only track 0 is long enough.
    assert METRICS["efficiency"](m, 6).fraction == (1, 2)
    assert METRICS["fake_rate"](m, 6).fraction == (6, 7)


def test_the_duplicate_is_the_worse_track():
    # Particle 1: track 0 has 4 of its hits, track 1 has 5 and is the better one although it is less pure.
    labels = [0] * 4 + [1] * 7
    m = match_tracks(labels, [1] * 4 + [1] * 5 + [2] * 2)
    assert is_duplicate(m).tolist() == [True, False]


def test_exact_fractions_on_the_border():
    # Half of one particle and half of another: no match, a fake; double majority accepts half of the track
    # if the track holds more than half of the particle (particle 2, two of two hits).
    m = match_tracks([0, 0, 0, 0, -1, -1], [1, 1, 2, 2, 1, 1])
    assert is_matched(m).tolist() == [False]
    assert METRICS["fake_rate"](m, 4).fraction == (1, 1)
    assert METRICS["double_majority_efficiency"](m, 4).fraction == (1, 2)


@pytest.mark.parametrize(
    ("labels", "particles"),
    [([], []), ([-1] * 5, [1] * 5), ([0] * 5, [0] * 5), ([0, 0, 1], [1, 1, 2])],
    ids=["no hits", "no tracks", "all noise", "only short tracks"],
)
def test_empty_cases_have_stated_results(labels, particles):
    m = match_tracks(np.array(labels, dtype=int), np.array(particles, dtype=int))
    fractions = {name: metric(m, 4).fraction for name, metric in METRICS.items()}
    n_tracks, n_particles = m.n_tracks, m.n_particles
    reconstructable = sum(particles.count(p) >= 4 for p in set(particles) - {0})
    assert fractions["efficiency"] == (0, reconstructable)
    assert fractions["perfect_match_efficiency"] == (0, n_particles)
    assert fractions["fake_rate"] == (n_tracks, n_tracks)
    assert fractions["duplicate_rate"] == (0, n_tracks)
    assert fractions["purity"] == fractions["completeness"] == (0, 0)


def slow_metrics(event, min_hits):
    """All definitions, written with loops over tracks and particles."""
    tracks = [[p for t, p in event if t == label] for label in sorted({t for t, _ in event} - {-1})]
    ids = sorted({p for _, p in event} - {0})
    size = {p: sum(q == p for _, q in event) for p in ids}
    result = {name: [0, 0] for name in METRICS}
    perfect, double, matched = set(), 0, {}
    for track in tracks:
        n = len(track)
        long_enough = n >= min_hits
        shares = {p: track.count(p) for p in ids if p in track}
        best = max(shares.values(), default=0)
        result["lhc_match_efficiency"][0] += long_enough and best / n >= 0.75
        perfect |= {p for p, k in shares.items() if long_enough and k == n == size[p]}
        # A track counts once, even if it is half of one whole particle and half of another.
        double += long_enough and any(
            k / n >= 0.5 and (size[p] - k) / size[p] < 0.5 for p, k in shares.items()
        )
        owner = [p for p, k in shares.items() if long_enough and k / n > 0.5]
        result["fake_rate"][0] += not owner
        for p in owner:
            matched[p] = matched.get(p, 0) + 1
            result["purity"][0] += best
            result["purity"][1] += n
            result["completeness"][0] += best
            result["completeness"][1] += size[p]
    for name in ("lhc_match_efficiency", "fake_rate", "duplicate_rate"):
        result[name][1] = len(tracks)
    result["duplicate_rate"][0] = sum(n - 1 for n in matched.values())
    asked = {p for p in ids if size[p] >= min_hits}
    result["efficiency"] = [len(asked & set(matched)), len(asked)]
    result["perfect_match_efficiency"] = [len(perfect), len(ids)]
    result["double_majority_efficiency"] = [double, len(ids)]
    return {name: tuple(value) for name, value in result.items()}


@given(HITS, st.integers(1, 6))
def test_agrees_with_the_slow_reference(event, min_hits):
    m = match_tracks(*np.array(event, dtype=np.int64).reshape(-1, 2).T)
    assert {n: tuple(f(m, min_hits).fraction) for n, f in METRICS.items()} == slow_metrics(event, min_hits)


@given(st.lists(st.integers(4, 20), min_size=1, max_size=10))
def test_true_tracks_are_perfect(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    m = match_tracks(labels, labels + 1)
    for name, metric in METRICS.items():
        assert metric(m, 4).fraction.value == (0 if name in ("fake_rate", "duplicate_rate") else 1)
    assert trackml_score(m).value == fit_accuracy(m).value == 1


@given(HITS)
def test_fakes_duplicates_and_found_particles_are_all_tracks(event):
    m = match_tracks(*np.array(event, dtype=np.int64).reshape(-1, 2).T)
    fakes, tracks = METRICS["fake_rate"](m, 4).fraction
    duplicates = METRICS["duplicate_rate"](m, 4).fraction.numerator
    found = len(set(m.track_particle[is_matched(m)].tolist()))
    assert fakes + duplicates + found == tracks
