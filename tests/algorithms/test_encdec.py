"""encdec and truth-seeds: seeds reach the network as rows of the selected hits, tracks come back as rows of all."""

from pathlib import Path

import numpy as np
import pytest

from mltrack_plugin.algorithms.encdec import EncDec
from mltrack_plugin.algorithms.truth_seeds import TruthSeeds
from mltrack_plugin.archives.archive import TrackModel
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import EventError, ModelError
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks, TruthLinks

#: Directions of the hand-made tracks, which have hits at radii 30, 60, ..., from inside out.
PHI, RADII = np.array([-2.0, -0.5, 1.0, 2.5]), 30.0 * np.arange(1, 7)


def model_card(**changes):
    content = {
        "name": "test-pointer",
        "architecture": "encdec",
        "kind": "sequence",
        "features": ("x", "y", "z"),
        "units": {"x": "mm", "y": "mm", "z": "mm", "hit": "1", "probability": "1"},
        "coordinate_system": "cartesian",
        "detectors": ("generic",),
        "outputs": ("hit", "probability"),
        "validity": {"r": (0.0, 1100.0), "z": (-1200.0, 1200.0), "n_hits": (1.0, 70.0)},
    }
    return ModelCard(**(content | changes))


class Engine:
    """Stands for the network: a track is what lies further out in the direction of the seed's last hit.

    Its own seeds are the hits with r < 30.1 mm, of probability 0.9.
    """

    parameters = 0

    def __call__(self, features, mask, seeds, min_first):
        assert mask.all()
        assert features.dtype == np.float32
        assert seeds.dtype == np.int64
        r, phi = np.hypot(*features[0, :, :2].T), np.arctan2(*features[0, :, 1::-1].T)
        own = seeds.shape[2] == 0
        if own:
            seeds = np.flatnonzero((r < 30.1) & (float(min_first) <= 0.9))[None, :, None]
        tracks = np.full((1, seeds.shape[1], len(RADII), 2), [-1.0, 0.0], dtype=np.float32)
        for s, seed in enumerate(seeds[0]):
            given = sorted(seed[seed >= 0], key=lambda hit: r[hit])
            more = np.flatnonzero((np.abs(phi - phi[given[-1]]) < 0.1) & (r > r[given[-1]] + 1))
            hits = [*given, *more[np.argsort(r[more])]]
            tracks[0, s, : len(hits), 0] = hits
            tracks[0, s, : len(hits), 1] = [0.9 if own else 1.0] * len(given) + [0.9] * len(more)
        return tracks


@pytest.fixture
def card(monkeypatch):
    """``card(**changes)`` sets the card of every model that is loaded during the test."""

    def use(**changes):
        def load(name, device="cpu"):
            return TrackModel(
                card=model_card(**changes), sha256="0" * 64, path=Path(name), device="cpu", engine=Engine()
            )

        monkeypatch.setattr("mltrack_plugin.archives.archive.load_model", load)

    use()
    return use


@pytest.fixture
def lines():
    """Hits of four lines in shuffled order, their particles 1 to 4, and the number of each hit on its line."""
    track, number = (grid.ravel() for grid in np.meshgrid(np.arange(4), np.arange(6), indexing="ij"))
    order = np.random.default_rng(3).permutation(24)
    track, number = track[order], number[order]
    r, phi = RADII[number], PHI[track]
    hits = Hits(np.arange(24), r * np.cos(phi), r * np.sin(phi), np.full(24, 5.0))
    return hits, TruthLinks((track + 1).astype(np.uint64)), number


def find(run, hits, **collections):
    return run(EncDec(model="test-pointer"), hits=hits, **collections).get("proto_tracks", ProtoTracks)


def test_truth_seeds_are_the_first_hits_of_each_particle(run, lines):
    hits, truth, number = lines
    for k in (1, 2):
        seeds = run(TruthSeeds(seed_hits=k), hits=hits, truth_links=truth).get("seeds", ProtoTracks)
        assert seeds.n_hits.tolist() == [k] * 4
        assert set(number[seeds.hit_indices]) == set(range(k))
        for i in range(4):
            assert len(set(truth.particle_id[seeds.hits_of(i)])) == 1


def test_truth_of_another_event_is_refused(run, lines):
    with pytest.raises(EventError, match="24 hits but truth for 3"):
        run(TruthSeeds(), hits=lines[0], truth_links=TruthLinks(np.ones(3, dtype=np.uint64)))


def test_tracks_grow_from_given_seeds(card, run, lines):
    hits, truth, number = lines
    particle = truth.particle_id.astype(np.int64)
    seeds = ProtoTracks.from_labels(np.where((particle <= 3) & (number < 2), particle, -1))
    tracks = find(run, hits, seeds=seeds)
    assert tracks.n_hits.tolist() == [6, 6, 6]
    for i in range(3):
        own = tracks.hits_of(i)
        assert len(set(truth.particle_id[own])) == 1
        membership = tracks.membership[tracks.offsets[i] : tracks.offsets[i + 1]]
        np.testing.assert_allclose(membership, 0.9 ** np.maximum(number[own] - 1, 0), rtol=1e-6)


def test_without_given_seeds_the_network_finds_its_own(card, run, lines):
    hits, _, number = lines
    tracks = find(run, hits)
    assert tracks.n_hits.tolist() == [6] * 4
    np.testing.assert_allclose(tracks.membership, 0.9 ** (number[tracks.hit_indices] + 1), rtol=1e-6)
    strict = run(EncDec(model="test-pointer", min_first=0.95), hits=hits)
    assert len(strict.get("proto_tracks", ProtoTracks)) == 0


def test_no_seeds_no_tracks(card, run, lines):
    assert len(find(run, lines[0], seeds=ProtoTracks.from_lists([]))) == 0


def test_events_without_hits_or_with_one(card, run, lines):
    hits, _, number = lines
    assert len(find(run, hits.take(np.zeros(0, dtype=np.int64)))) == 0
    one = hits.take(np.flatnonzero(number == 0)[:1])
    assert find(run, one).n_hits.tolist() == [1]
    assert find(run, one, seeds=ProtoTracks.from_lists([[0]])).n_hits.tolist() == [1]


def test_hits_that_are_left_out_are_on_no_track_and_in_no_seed(card, run, lines):
    hits, truth, number = lines
    # The third line is left out as a whole, and the outermost hits.
    kept = np.flatnonzero((truth.particle_id != 3) & (number < 5))
    seeds = ProtoTracks.from_labels(np.where(number == 0, truth.particle_id, -1).astype(np.int64))
    for given in ({}, {"seeds": seeds}):
        tracks = find(run, hits, selected_hits=HitSelection(kept, ["kept"], [24 - len(kept)]), **given)
        assert tracks.n_hits.tolist() == [5] * 3
        assert sorted(tracks.hit_indices) == kept.tolist()
        for i in range(3):
            assert len(set(truth.particle_id[tracks.hits_of(i)])) == 1


def test_of_two_seeds_of_a_track_the_one_with_the_more_probable_claim_wins(card, run, lines):
    hits, truth, number = lines
    line = np.flatnonzero(truth.particle_id == 2)
    by_number = line[np.argsort(number[line])]
    seeds = ProtoTracks.from_lists([[int(by_number[0])], [int(by_number[2])]])
    tracks = find(run, hits, seeds=seeds)
    # The first seed claims the third hit with 0.81, the second one with 1; the hits behind it likewise.
    assert sorted(sorted(number[tracks.hits_of(i)].tolist()) for i in range(2)) == [[0, 1], [2, 3, 4, 5]]


def test_seeds_of_another_event_are_refused(card, run, lines):
    with pytest.raises(EventError, match="a seed holds hit 30, but the event has 24"):
        find(run, lines[0], seeds=ProtoTracks.from_lists([[30]]))


def test_more_hits_than_the_model_knows_is_an_error(card, run, lines):
    card(validity={"n_hits": (1.0, 10.0)})
    with pytest.raises(EventError, match=r"24 hits.*at most 10"):
        find(run, lines[0])


def test_models_that_do_something_else_are_refused(card):
    card(architecture="hit-predictor")
    with pytest.raises(ModelError, match=r"understands encdec"):
        EncDec(model="m").initialize()
    card()
    with pytest.raises(ModelError, match=r"trained for generic"):
        EncDec(model="m", detector="redvid").initialize()
    with pytest.raises(ModelError, match="initialize"):
        EncDec(model="m").describe()
