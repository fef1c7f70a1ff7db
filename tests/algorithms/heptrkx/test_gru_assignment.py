"""gru-assignment: slots become tracks; what happens with more tracks than slots."""

from pathlib import Path

import numpy as np
import pytest
from barrel_events import event, lines

from mltrack_plugin.algorithms.heptrkx.gru_assignment import GruAssignment
from mltrack_plugin.archives.archive import TrackModel
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import EventError, ModelError
from mltrack_plugin.event_data import Hits, ProtoTracks

SLOTS = 4


def model_card(**changes):
    names = ("none", *(f"slot_{i}" for i in range(1, SLOTS + 1)))
    content = {
        "name": "test-slots",
        "architecture": "gru-assignment",
        "kind": "sequence",
        "features": ("r", "phi", "z"),
        "units": {"r": "mm", "phi": "rad", "z": "mm", **dict.fromkeys(names, "1")},
        "coordinate_system": "cylindrical",
        "detectors": ("generic",),
        "outputs": names,
        "validity": {"r": (20.0, 1100.0), "z": (-1200.0, 1200.0), "n_hits": (1.0, 70.0)},
    }
    return ModelCard(**(content | changes))


class Engine:
    """Stands for the network: tracks are where the sorted azimuths leave gaps; the fifth and on have no slot."""

    parameters = 0

    def __call__(self, hits, mask):
        assert mask.all()
        assert (np.diff(hits[0, :, 1]) >= 0).all()
        track = np.cumsum(np.append(1, np.diff(hits[0, :, 1]) > 0.3))
        slot = np.where(track > SLOTS, 0, track)
        return (0.7 * np.eye(SLOTS + 1, dtype=np.float32)[slot] + 0.06)[None]


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


def assign(run, hits, **settings):
    return run(GruAssignment(model="test-slots", **settings), hits=hits).get("proto_tracks", ProtoTracks)


def test_each_slot_is_a_track(card, run, caplog):
    hits, truth = event(lines(3, turn=1e-4))
    tracks = assign(run, hits)
    assert tracks.n_hits.tolist() == [10, 10, 10]
    for i in range(3):
        assert len(set(truth.particle_id[tracks.hits_of(i)].tolist())) == 1
    np.testing.assert_allclose(tracks.membership, 0.76)
    assert not caplog.records


def test_more_tracks_than_slots_leaves_the_others_out_and_says_so(card, run, caplog):
    hits, _ = event(lines(6, turn=1e-4))
    tracks = assign(run, hits)
    assert tracks.n_hits.tolist() == [10] * SLOTS
    assert "1 events filled all 4 track slots of model 'test-slots'" in caplog.text


def test_more_hits_than_any_training_event_is_an_error(card, run):
    with pytest.raises(EventError, match=r"80 hits.*at most 70"):
        assign(run, event(lines(8))[0])


def test_improbable_hits_and_short_tracks_are_left_out(card, run):
    present = np.ones((3, 10), dtype=bool)
    present[1, 2:] = False
    hits, _ = event(lines(3, turn=1e-4), present)
    assert assign(run, hits).n_hits.tolist() == [10, 10]
    assert sorted(assign(run, hits, min_hits=1).n_hits.tolist()) == [2, 10, 10]
    assert len(assign(run, hits, min_probability=0.9)) == 0


def test_event_without_barrel_hits_has_no_tracks_and_is_reported(card, run, caplog):
    hits, _ = event(lines(2))
    elsewhere = Hits(hits.hit_id, hits.x, hits.y, hits.z, volume_id=np.full(20, 9), layer_id=hits.layer_id)
    assert len(assign(run, elsewhere)) == 0
    assert "1 events have no hits on the barrel layers" in caplog.text


def test_models_that_do_something_else_are_refused(card):
    card(architecture="hit-predictor")
    with pytest.raises(ModelError, match=r"understands gru-assignment"):
        GruAssignment(model="m").initialize()
    card()
    with pytest.raises(ModelError, match=r"trained for generic"):
        GruAssignment(model="m", detector="redvid").initialize()
    with pytest.raises(ModelError, match="initialize"):
        GruAssignment(model="m").describe()
