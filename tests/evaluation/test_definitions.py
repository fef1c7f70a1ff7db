"""The definitions of several packages on the same tracks, computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.evaluation.definitions import (
    DEFINITIONS,
    METRIC_NAMES,
    ActsCounts,
    acts_counts,
    evaluate,
    hepattn,
)
from mltrack_plugin.evaluation.efficiency import duplicate_rate, efficiency, fake_rate
from mltrack_plugin.evaluation.matching import Matching, match_hit_lists, match_tracks

A, B, C, D, E, NOISE = 10, 20, 30, 40, 50, 0
#: (track, particle, hits). A, B and C left 8 hits, D 2, E 6.
HITS = [
    (0, A, 5),  # A is split: five hits here,
    (1, A, 3),  # three there.
    (2, B, 4),  # A merged track: one half of B (8 hits),
    (2, E, 4),  # one half of E (6 hits), so its majority particle is E.
    (3, B, 4),  # Exactly one half of B, with a noise hit: purity 0.8.
    (3, NOISE, 1),
    (4, C, 7),  # A good track of a particle below the pT cut.
    (5, NOISE, 4),  # Noise only.
    (6, E, 2),  # More noise than hits of a particle.
    (6, NOISE, 3),
    (7, D, 2),  # Too short, all of a particle that is not reconstructable.
    (-1, C, 1),
    (-1, NOISE, 2),
]
RECONSTRUCTABLE = [True, True, True, False, True]
ABOVE_PT = [True, True, False, True, True]
MIN_HITS = 3


def spread(rows):
    """Track label and particle id per hit."""
    counts = [n for _, _, n in rows]
    return np.repeat([t for t, _, _ in rows], counts), np.repeat([p for _, p, _ in rows], counts)


@pytest.fixture
def matching():
    return match_tracks(*spread(HITS))


@pytest.mark.parametrize(
    ("name", "found", "fakes", "duplicates"),
    [
        # Tracks 0, 1, 3, 4 are matched; 1 is A's second one.
        ("strict", (2, 3), (4, 8), (1, 8)),
        # One half is enough and there is no cut on the length; 5 has no particle, so only 6 is a fake.
        ("acts", (3, 3), (1, 8), (1, 8)),
        # 1 holds 3 of 8 hits.
        ("acts-double", (3, 3), (2, 8), (0, 8)),
        # 0 is the only double majority; 7 is too short to count.
        ("hepattn", (1, 3), (6, 7), (0, 7)),
        # 0 to 3 belong to selected particles; in 6 noise is the most frequent id.
        ("gnn_tracking", (1, 3), (3, 4), (0, 0)),
        # Of these only 2 is not pure enough; A and B have tracks, and A a second one.
        ("heptv2", (1, 3), (1, 4), (1, 2)),
    ],
)
def test_hand_computed_event(matching, name, found, fakes, duplicates):
    result = evaluate(matching, RECONSTRUCTABLE, ABOVE_PT, MIN_HITS)[name]
    assert result == dict(zip(METRIC_NAMES, (found, fakes, duplicates), strict=True))


def test_every_definition_has_a_description(matching):
    result = evaluate(matching, RECONSTRUCTABLE, ABOVE_PT)
    assert list(result) == list(DEFINITIONS)
    assert all(tuple(metrics) == METRIC_NAMES for metrics in result.values())


def test_a_rate_that_is_not_defined_has_no_value(matching):
    result = evaluate(matching, RECONSTRUCTABLE, ABOVE_PT)
    assert np.isnan(result["gnn_tracking"]["duplicate_rate"].value)


def test_counts_of_acts(matching):
    selected = np.logical_and(RECONSTRUCTABLE, ABOVE_PT)
    assert acts_counts(matching, selected) == ActsCounts(
        tracks=8,
        matched_tracks=4,  # 0, 1, 2, 3; those of C and D are of no selected particle.
        fake_tracks=1,
        duplicate_tracks=1,
        particles=3,
        matched_particles=3,
        duplicate_particles=1,
        fake_particles=1,
    )
    double = acts_counts(matching, selected, double_matching=True)
    # A has a matched and a fake track, E too.
    assert (double.fake_tracks, double.fake_particles, double.duplicate_particles) == (2, 2, 0)


def test_duplicates_of_particles_that_are_not_selected_count_in_acts():
    """ACTS counts duplicates from the tracks, and matched tracks from the particles it was given."""
    matching = match_tracks(*spread([(0, A, 4), (1, A, 4), (2, B, 4)]))
    counts = acts_counts(matching, np.array([False, True]))
    assert (counts.duplicate_tracks, counts.duplicate_particles, counts.matched_tracks) == (1, 0, 1)


def test_the_cut_on_fitted_momentum_is_hepattns_alone(matching):
    own = np.array([True, True, True, True, False, False, True, True])
    with_cut = evaluate(matching, RECONSTRUCTABLE, ABOVE_PT, MIN_HITS, own)
    without = evaluate(matching, RECONSTRUCTABLE, ABOVE_PT, MIN_HITS)
    assert with_cut.pop("hepattn")["fake_rate"] == (4, 5)
    del without["hepattn"]
    assert with_cut == without


def test_hepattn_gives_a_particle_to_one_track():
    """With shared hits two tracks can have double majority; the one with more hits of the particle wins."""
    matching = match_hit_lists([0, 4, 10], [0, 1, 2, 3, *range(6)], [A] * 6)
    assert hepattn(matching, np.array([True]), MIN_HITS)["fake_rate"] == (1, 2)
    assert hepattn(matching, np.array([True]), MIN_HITS)["efficiency"] == (1, 1)


def test_strict_is_what_evaluate_reports(matching):
    """Without a pT cut the strict definition is the one of the metrics of the same names."""
    result = evaluate(matching, matching.particle_n_hits >= MIN_HITS, [True] * 5, MIN_HITS)["strict"]
    for metric in (efficiency, fake_rate, duplicate_rate):
        assert result[metric.__name__] == metric(matching, MIN_HITS).fraction


@pytest.mark.parametrize("rows", [[], [(-1, A, 3)], [(0, NOISE, 3)]])
def test_nothing_to_count(rows):
    matching = match_tracks(*(x.astype(np.int64) for x in spread(rows)))
    everything = np.ones(matching.n_particles, dtype=bool)
    result = evaluate(matching, everything, everything)
    for metrics in result.values():
        assert metrics["efficiency"] == (0, matching.n_particles)
        assert metrics["fake_rate"].denominator in (0, matching.n_tracks)


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        (([True], [True] * 5), "reconstructable must be 5 booleans"),
        (([True] * 5, [1.0] * 5), "above_pt must be 5 booleans .* float64"),
        (([True] * 5, [True] * 5, 4, [True]), "tracks_above_pt must be 8 booleans"),
    ],
)
def test_masks_of_another_event_are_refused(matching, masks, message):
    with pytest.raises(EventDataError, match=message):
        evaluate(matching, *masks)


EVENTS = st.lists(st.tuples(st.integers(-1, 4), st.integers(0, 4)), min_size=1, max_size=30)


def masked(event):
    """Matching of (track, particle) pairs, and masks that depend on the particle id."""
    matching = match_tracks([t for t, _ in event], [p for _, p in event])
    return matching, matching.particle_ids != 2, matching.particle_ids != 3


@given(st.lists(EVENTS, min_size=1, max_size=3))
def test_events_add_up(events):
    parts = [masked(event) for event in events]
    joined = evaluate(
        Matching.join([m for m, _, _ in parts]), *(np.concatenate([p[i] for p in parts]) for i in (1, 2))
    )
    for name, metrics in joined.items():
        for metric, fraction in metrics.items():
            single = [evaluate(*part)[name][metric] for part in parts]
            assert fraction == tuple(np.sum(single, axis=0))


@given(EVENTS)
def test_orders_of_the_definitions(event):
    """What must hold for any tracks: leaving out, and asking less, never finds less."""
    matching, asked, above = masked(event)
    result = evaluate(matching, asked, above, min_hits=3)
    for metrics in result.values():
        for name in ("efficiency", "fake_rate"):
            assert 0 <= metrics[name].numerator <= metrics[name].denominator
    fakes = {name: metrics["fake_rate"].numerator for name, metrics in result.items()}
    assert fakes["acts"] <= fakes["acts-double"]
    assert fakes["acts"] <= fakes["strict"]
    assert fakes["heptv2"] <= fakes["gnn_tracking"] <= fakes["hepattn"]
    assert fakes["heptv2"] <= fakes["strict"]
    efficiencies = {name: metrics["efficiency"].numerator for name, metrics in result.items()}
    assert efficiencies["heptv2"] <= efficiencies["strict"] <= efficiencies["acts"]
