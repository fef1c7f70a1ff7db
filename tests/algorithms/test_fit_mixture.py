"""fit-mixture in a sequence: what it reads and writes, its settings."""

import numpy as np
import pytest

from mltrack_plugin.algorithms.fit_mixture import FitMixture
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import HitSelection, ProtoTracks
from mltrack_plugin.simulation.datasets import make_dataset

SETTINGS = {
    "shape": "straight",
    "surfaces": {
        "discs": [*range(-10, -1), *range(2, 11)],
        "barrels": [4, 5, 6, 7],
        "barrel_z": 6.5,
        "barrel_distance": 0.15,
        "disc_distance": 0.5,
    },
    "smearing": {"r": 0.015, "phi": 0.03, "z": 0.1},
}


@pytest.fixture(scope="module")
def event():
    settings = {"tracks": [5, 5], "multiplicity": "uniform", "sigma_theta": 0.003}
    return make_dataset("redvid-10-50-linear", settings).event(0, seed=1, split="test")


def tracks(event, run, collections=None, **changes):
    labels = event.truth_links.particle_id.astype(np.int64) - 1
    labels[::7] = -1
    store = run(
        FitMixture(**(SETTINGS | changes)),
        hits=event.hits,
        proto_tracks=ProtoTracks.from_labels(labels),
        **(collections or {}),
    )
    return store.get("refitted_tracks", ProtoTracks)


def test_lost_hits_come_back(event, run):
    found = tracks(event, run)
    expected = ProtoTracks.from_labels(event.truth_links.particle_id.astype(np.int64))
    assert found.labels(len(event.hits)).tolist() == expected.labels(len(event.hits)).tolist()
    assert found.membership.min() > 0.9


def test_only_selected_hits_are_used_and_requirements_hold(event, run):
    rows = np.arange(1, len(event.hits))
    selection = HitSelection(rows, ["cut"], [1])
    assert 0 not in tracks(event, run, {"selected_hits": selection}).hit_indices
    assert len(tracks(event, run, min_hits=20)) == 0
    assert len(tracks(event, run, surfaces={"discs": [50]})) == 0


def test_wrong_settings_are_named():
    with pytest.raises(ConfigurationError, match="shape"):
        FitMixture(**(SETTINGS | {"shape": "helix"}))
    with pytest.raises(ConfigurationError, match="smearing"):
        FitMixture(**(SETTINGS | {"smearing": {"r": 0.0, "phi": 0.03, "z": 0.1}}))
