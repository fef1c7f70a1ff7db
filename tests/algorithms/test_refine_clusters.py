"""refine-clusters in a sequence: what it reads and writes, its settings, what is refused."""

from pathlib import Path

import numpy as np
import pytest
from straight_clusters import Oracle, lines

from mltrack_plugin.algorithms.refine_clusters import RefineClusters
from mltrack_plugin.archives.archive import TrackModel
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks, TrackEstimates, Tracks

POSITIONS, TRACK = lines([2.0, 0.0, 0.3, -2.5], [0.4, 0.4, 0.3, 0.2])
#: A hit of track 1 outside the model's ranges.
FAR = 11


def model_card(**changes):
    content = {
        "name": "test-refiner",
        "architecture": "refiner",
        "kind": "clusters",
        "hyperparameters": {"hypotheses": [{}], "length_scale": 10.0, "slots": 12},
        "features": ("x", "y", "z"),
        "units": {**dict.fromkeys("xyz", "redvid"), "number": "1"},
        "coordinate_system": "cartesian",
        "detectors": ("redvid",),
        "outputs": ("membership", "track", "number", "sigma_number"),
        "validity": {"r": (0.0, 12.0), "z": (-32.0, 32.0)},
    }
    return ModelCard(**(content | changes))


class Engine:
    """The oracle, found by the positions of the hits instead of their rows."""

    def __call__(self, positions, hit, weight, mask):
        where = {tuple(p): t for p, t in zip(POSITIONS.tolist(), TRACK.tolist(), strict=True)}
        flat = zip(hit[mask].tolist(), positions[mask].tolist(), strict=True)
        particle = np.full(hit.max() + 1, -1)
        for row, point in flat:
            particle[row] = where[tuple(point)]
        from mltrack_plugin.refiner.slots import Slots

        return Oracle(particle)(Slots(positions, hit, weight, mask))


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


def hits():
    return Hits(np.arange(24), *POSITIONS.T)


def damaged():
    labels = TRACK.copy()
    labels[[1, 8, 20]] = [2, -1, -1]
    return ProtoTracks.from_labels(labels)


def result(run, **settings):
    collections = settings.pop("collections", {})
    store = run(RefineClusters(model="m", **settings), hits=hits(), proto_tracks=damaged(), **collections)
    return store.get("candidate_tracks", Tracks), store.get("track_estimates", TrackEstimates)


def test_tracks_have_memberships_qualities_and_estimates_in_their_own_order(card, run):
    tracks, estimates = result(run)
    assert tracks.labels(24).tolist() == TRACK.tolist()
    assert (tracks.membership == np.float32(0.9)).all()
    assert tracks.quality.tolist() == [1.0] * 4
    assert not tracks.fitted.any()
    assert estimates.values[:, 0].tolist() == [0, 1, 2, 3]
    assert estimates.names.tolist() == ["number"]
    np.testing.assert_allclose(estimates.sigmas, 0.1, rtol=1e-6)


def test_hits_that_are_not_selected_or_outside_the_ranges_are_on_no_track(card, run):
    card(validity={"r": (0.0, 12.0), "z": (-32.0, float(POSITIONS[FAR, 2]) - 0.5)})
    assert (TRACK[POSITIONS[:, 2] >= POSITIONS[FAR, 2]] == np.arange(4)).all()
    tracks, _ = result(run)
    assert sorted(set(range(24)) - set(tracks.hit_indices.tolist())) == [5, 11, 17, 23]
    card()
    rows = np.delete(np.arange(24), [0, 20])
    selection = HitSelection(rows, ["cut"], [2])
    tracks, _ = result(run, collections={"selected_hits": selection})
    assert sorted(set(range(24)) - set(tracks.hit_indices.tolist())) == [0, 20]


def test_requirements(card, run):
    assert len(result(run, min_hits=7)[0]) == 0
    assert len(result(run, min_membership=0.95)[0]) == 0
    tracks, estimates = result(run, min_quality=1.0)
    assert len(tracks) == len(estimates) == 4


def test_events_without_hits_or_groups(card, run):
    none = ProtoTracks.from_labels(np.zeros(0, dtype=np.int64))
    for event in (hits(), hits().take(np.arange(0))):
        store = run(RefineClusters(model="m"), hits=event, proto_tracks=none)
        assert len(store.get("candidate_tracks", Tracks)) == 0
        assert len(store.get("track_estimates", TrackEstimates)) == 0


def test_other_models_detectors_and_settings_are_refused(card):
    card(architecture="encreg")
    with pytest.raises(ModelError, match="architecture 'encreg'; refine-clusters understands refiner"):
        RefineClusters(model="m").initialize()
    card(kind="sequence")
    with pytest.raises(ModelError, match="reads sequences of hits, but refine-clusters needs"):
        RefineClusters(model="m").initialize()
    card()
    with pytest.raises(ModelError, match="generic"):
        RefineClusters(model="m", detector="generic").initialize()
    with pytest.raises(ModelError, match="not loaded"):
        _ = RefineClusters(model="m").model
    with pytest.raises(ConfigurationError, match="min_membership"):
        RefineClusters(model="m", min_membership=2)


def test_the_model_is_named_in_the_output(card):
    algorithm = RefineClusters(model="m")
    algorithm.initialize()
    assert algorithm.describe()["model"] == "test-refiner"
