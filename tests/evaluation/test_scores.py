"""TrackML score and FitAccuracy against hand computation and a slow reference."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.evaluation.matching import match_tracks
from mltrack_plugin.evaluation.scores import fit_accuracy, trackml_score

HITS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 9)), min_size=1, max_size=40)


def slow_trackml_score(labels, particles, weights):
    """The definition of the challenge, hit by hit; hits on no track have label -1."""
    size = Counter(particles)
    tracks = defaultdict(list)
    for label, particle, weight in zip(labels, particles, weights, strict=True):
        if label >= 0:
            tracks[label].append((particle, weight))
    score = 0.0
    for members in tracks.values():
        particle, shared = Counter(p for p, _ in members).most_common(1)[0]
        if shared / len(members) > 0.5 and shared / size[particle] > 0.5:
            score += sum(w for p, w in members if p == particle)
    return score / sum(weights)


def test_hand_computed_scores():
    # Particle 1: six hits. Particle 2: four hits. Particle 3: two hits. One noise hit.
    # Track 0: 4 x 1 + 1 x 2: purity 4/5, completeness 4/6 -> good, 4 hits.
    # Track 1: 2 x 2 + 1 noise: purity 2/3, completeness 2/4 -> not more than half of particle 2.
    # Track 2: 2 x 3 + 2 x 1: purity 2/4 -> not more than half of the track.
    labels = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, -1]
    particles = [1, 1, 1, 1, 2, 2, 2, 0, 3, 3, 1, 1, 2]
    m = match_tracks(labels, particles)
    assert m.total_weight == 12
    assert trackml_score(m) == (4, 12)
    # FitAccuracy wants four hits, and takes exactly one half: tracks 0 (4 hits) and 2 (2 hits of particle 3).
    assert fit_accuracy(m) == (6, 12)
    assert fit_accuracy(m, min_hits=3) == (8, 12)


def test_weights_enter_by_hit():
    labels, particles, weights = [0, 0, 0, -1], [5, 5, 5, 5], [0.1, 0.2, 0.3, 0.4]
    score = trackml_score(match_tracks(labels, particles, weights))
    assert score.value == pytest.approx(0.6)


def test_exactly_half_is_not_enough():
    assert trackml_score(match_tracks([0, 0, 0, 0], [1, 1, 2, 2])).value == 0
    assert trackml_score(match_tracks([0, 0, -1, -1], [1, 1, 1, 1])).value == 0


def test_perfect_tracks_score_one():
    labels = np.repeat([0, 1, 2], [4, 7, 1])
    m = match_tracks(labels, labels + 10)
    assert trackml_score(m).value == 1
    # The track of one hit is too short for FitAccuracy.
    assert fit_accuracy(m) == (11, 12)


@pytest.mark.parametrize(("labels", "particles"), [([], []), ([0, 0], [0, 0])])
def test_without_particles_there_is_no_score(labels, particles):
    m = match_tracks(np.array(labels, dtype=int), np.array(particles, dtype=int))
    assert trackml_score(m) == (0, 0)
    assert math.isnan(trackml_score(m).value)
    assert math.isnan(fit_accuracy(m).value)


def test_without_tracks_the_score_is_zero():
    assert trackml_score(match_tracks([-1, -1], [1, 1])).value == 0


@given(HITS)
def test_agrees_with_the_slow_reference(event):
    labels, particles, weights = (list(c) for c in zip(*event, strict=True))
    weights = [w * (p != 0) for w, p in zip(weights, particles, strict=True)]
    score = trackml_score(match_tracks(labels, particles, weights))
    if sum(weights) == 0:
        assert math.isnan(score.value)
    else:
        assert score.value == pytest.approx(slow_trackml_score(labels, particles, weights), abs=1e-12)


@pytest.mark.filterwarnings("ignore")  # of the library's use of pandas
@given(HITS)
def test_agrees_with_trackml_library(event):
    pandas = pytest.importorskip("pandas")
    library = pytest.importorskip("trackml.score", reason="github.com/LAL/trackml-library is not on PyPI")
    labels, particles, weights = (list(c) for c in zip(*event, strict=True))
    weights = [float(w * (p != 0)) for w, p in zip(weights, particles, strict=True)]
    if sum(weights) == 0:
        return
    hit_id = range(len(event))
    truth = pandas.DataFrame({"hit_id": hit_id, "particle_id": particles, "weight": weights})
    submission = pandas.DataFrame({"hit_id": hit_id, "track_id": labels})
    score = trackml_score(match_tracks(labels, particles, weights))
    assert score.value == pytest.approx(library.score_event(truth, submission), abs=1e-12)


@given(HITS, st.lists(st.integers(0, 20), min_size=1, max_size=5))
def test_a_noise_hit_more_never_helps(event, extra):
    labels, particles, weights = (list(c) for c in zip(*event, strict=True))
    before = trackml_score(match_tracks(labels, particles, weights))
    after = trackml_score(
        match_tracks(labels + extra, particles + [0] * len(extra), weights + [1] * len(extra))
    )
    assert after.denominator == before.denominator
    assert after.numerator <= before.numerator
