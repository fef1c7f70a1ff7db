"""enccla: classes become track candidates; what happens to small classes, merged tracks, hits that are not seen."""

from pathlib import Path

import numpy as np
import pytest

from mltrack_plugin.algorithms.enccla import EncCla
from mltrack_plugin.archives.archive import TrackModel
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import EventError, ModelError
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.models.consensus import OUTPUTS


def model_card(**changes):
    content = {
        "name": "test-classes",
        "architecture": "enccla",
        "features": ("x", "y", "z"),
        "units": dict.fromkeys("xyz", "mm"),
        "coordinate_system": "cartesian",
        "detectors": ("generic",),
        "outputs": OUTPUTS,
        "output_scales": (1.0,) * 4,
        "validity": {"r": (20, 1100), "z": (-3000, 3000), "n_hits": (1, 200)},
    }
    return ModelCard(**(content | changes))


class Engine:
    """Stands for the network: the class is z in steps of 100 mm, the second class the next step."""

    parameters = 0

    def __call__(self, features, mask):
        number = np.floor(features[..., 2] / 100.0)
        return np.stack([number, 0.8 + 0 * number, number + 1, 0.1 + 0 * number], axis=2).astype(np.float32)


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


def hits_at(z):
    z = np.asarray(z, dtype=np.float64)
    return Hits(np.arange(len(z)), np.full(len(z), 100.0), np.zeros(len(z)), z)


def candidates(run, hits, **settings):
    collections = {"hits": hits} | settings.pop("collections", {})
    return run(EncCla(model="m", **settings), **collections).get("proto_tracks", ProtoTracks)


def test_hits_of_a_class_are_a_candidate(card, run):
    tracks = candidates(run, hits_at([510, 20, 530, 40, 560, 60, 580, 80]))
    assert [tracks.hits_of(i).tolist() for i in range(len(tracks))] == [[0, 2, 4, 6], [1, 3, 5, 7]]
    np.testing.assert_allclose(tracks.membership, 0.8)


def test_hits_over_the_border_come_back_unless_told_not_to(card, run):
    hits = hits_at([510, 530, 560, 580, 490, 20])
    tracks = candidates(run, hits)
    assert tracks.hit_indices.tolist() == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(tracks.membership, [0.8] * 4 + [0.1])
    assert candidates(run, hits, vote=False).hit_indices.tolist() == [0, 1, 2, 3]
    assert len(candidates(run, hits, min_hits=6)) == 0
    assert candidates(run, hits, min_hits=1, vote=False).n_hits.tolist() == [4, 1, 1]


def test_improbable_hits_are_on_no_track(card, run):
    hits = hits_at([510, 530, 560, 580, 490])
    assert candidates(run, hits, min_probability=0.5).hit_indices.tolist() == [0, 1, 2, 3]
    assert len(candidates(run, hits, min_probability=0.9)) == 0


def test_rows_are_those_of_all_hits(card, run):
    hits = hits_at([510, 9000, 530, 20, 560, 580] + [20] * 20)
    rows = np.setdiff1d(np.arange(26), [3])
    selection = HitSelection(rows, np.array(["z"]), np.array([1]))
    tracks = candidates(run, hits, collections={"selected_hits": selection})
    assert tracks.hits_of(0).tolist() == [0, 2, 4, 5]
    assert tracks.hits_of(1).tolist() == list(range(6, 26))


def test_event_without_hits_has_no_tracks(card, run):
    assert len(candidates(run, hits_at([]))) == 0


def test_too_many_hits_are_refused(card, run):
    with pytest.raises(EventError, match=r"201 hits.*at most 200"):
        candidates(run, hits_at(np.zeros(201)))


def test_models_that_do_something_else_are_refused(card):
    card(architecture="encreg")
    with pytest.raises(ModelError, match=r"architecture 'encreg'; enccla understands enccla"):
        EncCla(model="m").initialize()
    card()
    with pytest.raises(ModelError, match=r"trained for generic"):
        EncCla(model="m", detector="redvid").initialize()
