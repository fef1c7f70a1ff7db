"""rnn-track-builder: what it finds, what it leaves, what it refuses."""

from pathlib import Path

import numpy as np
import pytest
from barrel_events import RADII, event, lines, straight_line

from mltrack_plugin.algorithms.heptrkx.rnn_track_builder import RnnTrackBuilder
from mltrack_plugin.archives.archive import TrackModel
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import ConfigurationError, EventError, ModelError
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks


def model_card(**changes):
    content = {
        "name": "test-predictor",
        "architecture": "gaussian-hit-predictor",
        "kind": "sequence",
        "hyperparameters": {"radii": RADII.tolist()},
        "features": ("r", "phi", "z"),
        "units": {"r": "mm", "phi": "rad", "z": "mm"},
        "coordinate_system": "cylindrical",
        "detectors": ("generic",),
        "outputs": ("phi", "z", "cov_phi_phi", "cov_phi_z", "cov_z_z"),
        "validity": {"r": (20.0, 1100.0), "z": (-1200.0, 1200.0)},
    }
    return ModelCard(**(content | changes))


class Engine:
    """Stands for the network: the straight line."""

    parameters = 0

    def __call__(self, hits):
        return straight_line(hits)


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


def find(run, hits, selection=None, **settings):
    collections = {"hits": hits} | ({} if selection is None else {"selected_hits": selection})
    return run(RnnTrackBuilder(model="test-predictor", **settings), **collections).get(
        "proto_tracks", ProtoTracks
    )


def test_finds_every_track_and_nothing_else(card, run):
    hits, truth = event(lines(30))
    tracks = find(run, hits)
    assert len(tracks) == 30
    for i in range(30):
        assert len(set(truth.particle_id[tracks.hits_of(i)].tolist())) == 1
    assert tracks.n_hits.tolist() == [10] * 30
    assert tracks.membership.min() > 0.99


def test_a_predictor_without_covariances_finds_the_same_tracks(card, run, monkeypatch):
    hits, _ = event(lines(20))
    wanted = find(run, hits)
    card(architecture="hit-predictor", outputs=("phi", "z"))
    monkeypatch.setattr(Engine, "__call__", lambda self, hits: straight_line(hits)[..., :2])
    tracks = find(run, hits)
    np.testing.assert_array_equal(tracks.hit_indices, wanted.hit_indices)
    # A spread that is much smaller than rounding loses tracks.
    assert len(find(run, hits, spread=((1e-6, 1e-6),) * 9)) < len(wanted)


def test_noise_is_on_no_track(card, run):
    rng = np.random.default_rng(8)
    noise = lines(60, seed=9)
    noise[:, :, 1] = rng.uniform(-np.pi, np.pi, noise.shape[:2])
    noise[:, :, 2] = rng.uniform(-500, 500, noise.shape[:2])
    hits, truth = event(np.concatenate([lines(10), noise]))
    tracks = find(run, hits)
    assert len(tracks) == 10
    assert truth.particle_id[tracks.hit_indices].max() <= 10


def test_a_hit_far_from_its_prediction_has_a_small_membership(card, run):
    exact = lines(3)
    exact[1, 9, 2] += 2.2
    hits, truth = event(exact)
    tracks = find(run, hits, gate=20.0)
    hit = np.flatnonzero((truth.particle_id == 2) & (hits.r > 1000))[0]
    # chi2 = (2.2 / 0.5)^2 = 19.4, near the gate where the membership is one half.
    assert tracks.membership[tracks.hit_indices == hit] == pytest.approx(0.57, abs=0.03)
    assert len(find(run, hits, gate=15.0).hit_indices) == 29


def test_only_selected_hits_are_used(card, run):
    hits, truth = event(lines(8))
    rows = np.flatnonzero(truth.particle_id != 3)
    tracks = find(run, hits, HitSelection(rows, np.array(["r"]), np.array([len(hits) - len(rows)])))
    assert len(tracks) == 7
    assert 3 not in truth.particle_id[tracks.hit_indices]


def test_hits_outside_the_barrel_are_on_no_track(card, run):
    hits, _ = event(lines(4))
    volume = hits.volume_id.copy()
    volume[hits.r > 1000] = 18
    tracks = find(run, Hits(hits.hit_id, hits.x, hits.y, hits.z, volume_id=volume, layer_id=hits.layer_id))
    assert tracks.n_hits.tolist() == [9] * 4


@pytest.mark.parametrize("volume", [7, 18])
def test_event_without_barrel_hits_has_no_tracks_and_is_reported(card, run, caplog, volume):
    hits, _ = event(lines(4))
    elsewhere = Hits(
        hits.hit_id, hits.x, hits.y, hits.z, volume_id=np.full(40, volume), layer_id=hits.layer_id
    )
    assert len(find(run, elsewhere)) == 0
    assert "1 events have no hits on the barrel layers" in caplog.text


def test_event_without_hits_and_event_with_too_few_layers(card, run):
    empty = Hits(np.zeros(0), [], [], [], volume_id=[], layer_id=[])
    assert len(find(run, empty)) == 0
    present = np.zeros((4, 10), dtype=bool)
    present[:, :3] = True
    hits, _ = event(lines(4), present)
    assert len(find(run, hits)) == 0
    assert len(find(run, hits, min_hits=3)) == 4


def test_the_same_event_gives_the_same_tracks(card, run):
    hits, _ = event(lines(40, turn=4e-4))
    first, second = find(run, hits), find(run, hits)
    assert first.hit_indices.tolist() == second.hit_indices.tolist()
    assert (first.membership == second.membership).all()


def test_hits_without_layers_and_hits_in_metres_are_refused(card, run):
    hits, _ = event(lines(4))
    with pytest.raises(EventError, match="no volume_id and layer_id"):
        find(run, Hits(hits.hit_id, hits.x, hits.y, hits.z))
    small = Hits(
        hits.hit_id,
        hits.x / 1e3,
        hits.y / 1e3,
        hits.z / 1e3,
        volume_id=hits.volume_id,
        layer_id=hits.layer_id,
    )
    with pytest.raises(EventError, match="look like metres"):
        find(run, small)


def test_models_that_do_something_else_are_refused(card):
    card(architecture="gru-assignment")
    with pytest.raises(ModelError, match=r"'gru-assignment'.*understands gaussian-hit-predictor"):
        RnnTrackBuilder(model="m").initialize()
    card(kind="graph")
    with pytest.raises(ModelError, match="graphs of hits"):
        RnnTrackBuilder(model="m").initialize()
    card()
    with pytest.raises(ModelError, match=r"trained for generic.*'redvid'"):
        RnnTrackBuilder(model="m", detector="redvid").initialize()
    with pytest.raises(ModelError, match="initialize"):
        RnnTrackBuilder(model="m").describe()


def test_wrong_settings_are_named():
    with pytest.raises(ConfigurationError, match=r"'brances'.*'branches'"):
        RnnTrackBuilder(model="m", brances=2)
    with pytest.raises(ConfigurationError, match="min_hits"):
        RnnTrackBuilder(model="m", min_hits=1)
