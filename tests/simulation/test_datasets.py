"""The registry of data sets: names, settings, determinism, splits, missing extras."""

import importlib
import itertools

import numpy as np
import pytest

from mltrack_plugin.errors import ConfigurationError, MissingExtraError
from mltrack_plugin.registry import available
from mltrack_plugin.simulation.base import SPLITS, split_window
from mltrack_plugin.simulation.datasets import dataset_entry, make_dataset


def test_every_entry_can_be_loaded_and_has_its_own_tag():
    entries = {name: dataset_entry(name) for name in available("data set")}
    tags = [entry.tag for entry in entries.values()]
    assert len(set(tags)) == len(tags)
    for name, entry in entries.items():
        settings = {"hepmc": "x.hepmc3"} if name == "acts-hepmc" else {}
        dataset = make_dataset(name, settings)
        assert dataset.name == name
        assert isinstance(dataset, entry.load())


def test_unknown_name_and_setting_name_the_nearest():
    with pytest.raises(ConfigurationError, match="redvid-10-50-linear"):
        make_dataset("redvid-10-50-linea")
    with pytest.raises(ConfigurationError, match=r"no setting 'trakcs'.*'tracks'"):
        make_dataset("acts-gun", {"trakcs": (1, 2)})


@pytest.mark.parametrize("name", ["redvid-10-50-linear", "acts-gun", "trackml-10-50"])
def test_falling_range_of_tracks_is_refused(name):
    with pytest.raises(ConfigurationError, match=r"tracks must be two rising numbers from 1 on, got .*30.*2"):
        make_dataset(name, {"tracks": (30, 2)})


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("redvid-10-50-linear", 10, 50), ("redvid-10-50-helical", 10, 50), ("redvid-50-100-helical", 50, 100)],
)
def test_redvid_events(name, low, high):
    dataset = make_dataset(name)
    assert dataset.detector == "redvid"
    for event in dataset.events(20, seed=3, split="test"):
        event.truth_links.check_against(event.hits)
        assert low <= len(event.particles) <= high
        curved = event.particles.q != 0
        assert curved.all() if name.endswith("helical") else not curved.any()


def test_same_event_from_same_arguments_and_settings_override_defaults():
    dataset = make_dataset("redvid-10-50-helical", {"tracks": (3, 3), "noise": 0.5})
    first = dataset.event(7, seed=2, split="validation")
    again = make_dataset("redvid-10-50-helical", {"tracks": (3, 3), "noise": 0.5})
    assert first.hits.equals(again.event(7, seed=2, split="validation").hits)
    assert len(first.particles) == 3
    noise = int((first.truth_links.particle_id == 0).sum())
    assert noise == round(0.5 * (len(first.hits) - noise))


def test_entropy_differs_between_all_sets_splits_seeds_and_events():
    combinations = itertools.product(("redvid-10-50-linear", "acts-gun"), SPLITS, range(3), range(3))
    states = {
        tuple(np.random.SeedSequence(make_dataset(name).entropy(index, seed, split)).generate_state(4))
        for name, split, seed, index in combinations
    }
    assert len(states) == 2 * 3 * 3 * 3


def test_unknown_split_and_negative_seed_are_refused():
    dataset = make_dataset("redvid-10-50-linear")
    with pytest.raises(ConfigurationError, match=r"no split 'tets'.*'test'"):
        dataset.event(0, seed=1, split="tets")
    with pytest.raises(ConfigurationError, match="must not be negative"):
        dataset.event(0, seed=-1, split="test")


@pytest.mark.parametrize("available", [0, 1, 4, 10, 99])
def test_split_windows_are_disjoint_and_within_the_source(available):
    owned = [range(w[0], sum(w)) for w in (split_window(available, (0.8, 0.1, 0.1), s) for s in SPLITS)]
    joined = [index for window in owned for index in window]
    assert joined == list(range(available))


@pytest.mark.parametrize(("name", "package"), [("acts-gun", "acts"), ("trackml-10-50", "acts")])
def test_missing_extra_gives_the_install_line(name, package, monkeypatch):
    def without(module, *args):
        if module.split(".")[0] == package:
            raise ModuleNotFoundError(f"No module named {module!r}")
        return real(module, *args)

    real = importlib.import_module
    dataset = make_dataset(name)
    monkeypatch.setattr("mltrack_plugin.errors.importlib.import_module", without)
    with pytest.raises(MissingExtraError, match=r"pip install 'pyacts>=[\d.]+' 'pythia8mc>="):
        dataset.event(0, seed=1, split="test")
