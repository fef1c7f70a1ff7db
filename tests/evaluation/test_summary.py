"""ScoreAccumulator: sums over events, bins, uncertainties, empty cases."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from mltrack_plugin.errors import ConfigurationError, EventDataError
from mltrack_plugin.evaluation import ScoreAccumulator
from mltrack_plugin.evaluation.collect import ScoreCollector
from mltrack_plugin.evaluation.trackml_weights import trackml_weights
from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, Tracks, TruthLinks
from mltrack_plugin.framework.event_store import EventStore

METRICS = (
    "trackml_score",
    "fit_accuracy",
    "perfect_match_efficiency",
    "lhc_match_efficiency",
    "double_majority_efficiency",
    "efficiency",
    "fake_rate",
    "duplicate_rate",
    "purity",
    "completeness",
)


def make_hits(n, seed=0):
    rng = np.random.default_rng(seed)
    x, y, z = rng.normal(0, 100, (3, n))
    return Hits(np.arange(n), x, y, z)


def make_particles(ids, pt, eta, q=0.0):
    n = len(ids)
    pt, eta, zero = np.asarray(pt, float), np.asarray(eta, float), np.zeros(n)
    return Particles(np.array(ids), zero, zero, zero, pt, zero, pt * np.sinh(eta), np.full(n, q))


def random_event(rng, n_particles=8, weight=False):
    truth = np.repeat(np.arange(n_particles + 1), rng.integers(3, 9, n_particles + 1))
    labels = np.where(rng.random(len(truth)) < 0.8, truth, rng.integers(-1, n_particles, len(truth)))
    links = TruthLinks(truth, rng.random(len(truth)) if weight else None)
    particles = make_particles(
        np.arange(1, n_particles + 1), rng.exponential(1, n_particles), rng.normal(0, 2, n_particles)
    )
    return make_hits(len(truth)), links, ProtoTracks.from_labels(labels), particles


def no_tracks():
    return ProtoTracks(np.zeros(1, dtype=int), np.zeros(0, dtype=int))


def test_two_events_by_hand():
    acc = ScoreAccumulator()
    # Event 1: particle 1 (5 hits) found whole, particle 2 (4 hits) lost.
    labels = [0] * 5 + [-1] * 4
    acc.add(make_hits(9), TruthLinks([1] * 5 + [2] * 4), ProtoTracks.from_labels(labels))
    # Event 2: one particle of 7 hits, found with 6 of them and one noise hit.
    acc.add(make_hits(8), TruthLinks([1] * 7 + [0]), ProtoTracks.from_labels([0] * 6 + [-1, 0]))
    result = acc.result()
    assert (result["events"], result["hits"], result["noise_hits"]) == (2, 17, 1)
    assert (result["tracks"], result["particles"], result["reconstructable_particles"]) == (2, 3, 3)
    # Sums of numerators over sums of denominators, not means over events.
    assert result["trackml_score"] == pytest.approx((5 + 6) / (9 + 7))
    assert result["efficiency"] == pytest.approx(2 / 3)
    assert result["perfect_match_efficiency"] == pytest.approx(1 / 3)
    assert result["lhc_match_efficiency"] == 1
    assert result["fake_rate"] == 0
    assert result["purity"] == pytest.approx((5 + 6) / (5 + 7))
    assert result["completeness"] == pytest.approx((5 + 6) / (5 + 7))
    assert result["fractions"]["efficiency"] == [2, 3]
    assert result["hit_weights"] == ["unit"]


def test_every_metric_lies_in_its_interval_and_the_result_is_json():
    rng = np.random.default_rng(1)
    acc = ScoreAccumulator()
    for _ in range(30):
        acc.add(*random_event(rng))
    result = json.loads(json.dumps(acc.result(), allow_nan=False))
    for name in METRICS:
        assert 0 <= result[f"{name}_low"] <= result[name] <= result[f"{name}_high"] <= 1
        assert result[f"{name}_low"] < result[f"{name}_high"]


@pytest.mark.parametrize(
    ("labels", "truth"),
    [([], []), ([-1] * 6, [1] * 6), ([0] * 6, [0] * 6), ([0, 0, 1, 1], [1, 1, 2, 2]), ([-1] * 3, [0] * 3)],
    ids=["no hits", "no tracks", "all noise", "only short tracks", "nothing at all"],
)
def test_empty_cases_are_null_never_an_error(labels, truth):
    acc = ScoreAccumulator()
    n = len(truth)
    links = TruthLinks(np.array(truth, dtype=np.uint64))
    acc.add(make_hits(n), links, ProtoTracks.from_labels(np.array(labels, dtype=int)))
    result = acc.result()
    json.dumps(result, allow_nan=False)
    for name in METRICS:
        _, bottom = result["fractions"][name]
        assert (result[name] is None) == (bottom == 0)
        assert result[name] in (None, 0.0, 1.0)
    assert (result["fake_rate"] == 1) == (max(labels, default=-1) >= 0)


def test_no_event_at_all():
    result = ScoreAccumulator().result()
    assert result["events"] == 0
    assert all(result[name] is None for name in METRICS)


def test_merged_parts_equal_the_whole_in_any_order():
    events = [random_event(np.random.default_rng(seed), weight=True) for seed in range(12)]
    whole, parts = ScoreAccumulator(), [ScoreAccumulator() for _ in range(3)]
    for i, event in enumerate(events):
        whole.add(*event)
        parts[i % 3].add(*event)
    copies = [pickle.loads(pickle.dumps(part)) for part in reversed(parts)]
    merged = copies[0].merge(copies[1]).merge(copies[2])
    assert merged.result() == whole.result()


def test_accumulators_with_other_settings_do_not_merge():
    with pytest.raises(ConfigurationError, match="different settings"):
        ScoreAccumulator(min_hits=4).merge(ScoreAccumulator(min_hits=5))


def test_bins_by_hand():
    # Particle 1: pT 0.6, eta -1.2, found. Particle 2: pT 4, eta 0.1, lost. Particle 3: pT 500, found.
    truth = [1] * 4 + [2] * 4 + [3] * 4
    particles = make_particles([1, 2, 3], [0.6, 4.0, 500.0], [-1.2, 0.1, 2.0])
    acc = ScoreAccumulator(pt_edges=(0, 1, 10), eta_edges=(-2, 0, 2))
    tracks = ProtoTracks.from_labels([0] * 4 + [-1] * 4 + [2] * 4)
    acc.add(make_hits(12), TruthLinks(truth), tracks, particles)
    binned = acc.result()["binned"]
    pt, eta = binned["pt"]["efficiency"], binned["eta"]["efficiency"]
    assert (pt["numerator"], pt["denominator"], pt["outside"]) == ([1, 0], [1, 1], 1)
    assert pt["value"] == [1, 0]
    # eta 2.0 lies on the last edge and belongs to the last bin.
    assert (eta["numerator"], eta["denominator"], eta["outside"]) == ([1, 1], [1, 2], 0)
    # Without fits, tracks have no pT of their own: none is binned in it, all are counted outside.
    assert binned["pt"]["fake_rate"]["denominator"] == [0, 0]
    assert binned["pt"]["fake_rate"]["outside"] == 2
    assert binned["pt"]["fake_rate"]["value"] == [None, None]


def test_tracks_are_binned_in_their_own_fit():
    # One track of pT 2 GeV and eta 0 (theta = pi/2), made of noise.
    tracks = Tracks(
        np.array([0, 4]), np.arange(4), phi=[0.1], theta=[np.pi / 2], qop=[0.5], d0=[0.0], z0=[0.0]
    )
    acc = ScoreAccumulator(pt_edges=(0, 1, 10), eta_edges=(-2, -0.5, 0.5, 2))
    acc.add(make_hits(4), TruthLinks([0] * 4), tracks)
    binned = acc.result()["binned"]
    assert binned["pt"]["fake_rate"]["numerator"] == [0, 1]
    assert binned["eta"]["fake_rate"]["numerator"] == [0, 1, 0]


def test_eta_of_an_unfitted_track_is_the_direction_of_its_hits():
    # Hits on a line from the origin with z = 2 r: eta = asinh(2) = 1.44.
    r = np.array([10.0, 20, 30, 40])
    hits = Hits(np.arange(4), r, 0 * r, 2 * r)
    acc = ScoreAccumulator(eta_edges=(0, 1.4, 1.5, 3))
    acc.add(hits, TruthLinks([0] * 4), ProtoTracks.from_labels([0] * 4))
    assert acc.result()["binned"]["eta"]["fake_rate"]["numerator"] == [0, 1, 0]


def test_weights_come_from_the_input_else_the_recipe_else_are_one():
    truth = np.repeat([1, 2], [6, 4])
    hits, tracks = make_hits(10), ProtoTracks.from_labels([0] * 6 + [-1] * 4)
    neutral, charged = (make_particles([1, 2], [5.0, 0.3], [0.0, 0.0], q) for q in (0, 1))

    def score(links, particles):
        acc = ScoreAccumulator()
        acc.add(hits, links, tracks, particles)
        return acc.result()["trackml_score"], acc.result()["hit_weights"]

    weight = np.array([1] * 6 + [9] * 4, dtype=float)
    assert score(TruthLinks(truth, weight), charged) == (6 / 42, ["input"])
    assert score(TruthLinks(truth), neutral) == (6 / 10, ["unit"])
    recipe = trackml_weights(truth, hits.z, charged.particle_id, charged.vz, charged.pt)
    value, source = score(TruthLinks(truth), charged)
    assert source == ["trackml"]
    assert value == pytest.approx(recipe[:6].sum())
    # pT 5 GeV weighs 1, pT 0.3 GeV weighs 0.2.
    assert value == pytest.approx(1 / 1.2)


def test_a_detector_without_momenta_has_unit_weights_and_no_pt():
    # REDVID's charge is a turning direction and its momentum columns are the shape of the track.
    acc = ScoreAccumulator(detector="redvid")
    particles = make_particles([1, 2], [5.0, 0.3], [0.0, 0.0], q=1)
    tracks = ProtoTracks.from_labels([0] * 6 + [-1] * 4)
    acc.add(make_hits(10), TruthLinks([1] * 6 + [2] * 4), tracks, particles)
    result = acc.result()
    assert (result["trackml_score"], result["hit_weights"]) == (6 / 10, ["unit"])
    assert result["binned"]["pt"]["efficiency"]["outside"] == 2
    assert sum(result["binned"]["eta"]["efficiency"]["denominator"]) == 2


def test_tracks_of_another_event_are_refused():
    acc = ScoreAccumulator()
    with pytest.raises(EventDataError, match="belong to another event"):
        acc.add(make_hits(4), TruthLinks([1] * 4), ProtoTracks.from_labels([-1] * 4 + [0] * 4))
    with pytest.raises(EventDataError, match="3 truth links for 4 hits"):
        acc.add(make_hits(4), TruthLinks([1] * 3), no_tracks())
    assert acc.result()["events"] == 0


@pytest.mark.parametrize("settings", [{"min_hits": 0}, {"pt_edges": (1, 1)}, {"eta_edges": (0,)}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ConfigurationError):
        ScoreAccumulator(**settings)


def test_collector_scores_what_the_event_store_holds():
    hits, links, tracks, particles = random_event(np.random.default_rng(2))
    direct, collector = ScoreAccumulator(min_hits=5), ScoreCollector(min_hits=5, tracks="found")
    direct.add(hits, links, tracks, particles)
    store = EventStore(7)
    for key, value in {"hits": hits, "truth_links": links, "found": tracks, "particles": particles}.items():
        store.add(key, value)
    collector.write(store)
    assert collector.accumulator.result() == direct.result()


def test_binning_many_events_together_changes_nothing(monkeypatch):
    results = []
    for together in (1, 3, 64):
        monkeypatch.setattr("mltrack_plugin.evaluation.summary._BINNED_EVENTS", together)
        rng = np.random.default_rng(11)
        acc = ScoreAccumulator()
        for _ in range(10):
            acc.add(*random_event(rng))
        acc.add(make_hits(4), TruthLinks([0] * 4), ProtoTracks.from_labels([0] * 4))
        acc.add(make_hits(3), TruthLinks([1] * 3), no_tracks())
        results.append(acc.result())
    assert results[0] == results[1] == results[2]
