"""Elements are found by name through entry points; other packages add theirs without a fork."""

from __future__ import annotations

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mltrack_plugin import registry
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models import network_config

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("kind", registry.GROUPS)
def test_every_shipped_entry_loads(kind):
    names = registry.available(kind)
    assert names
    for name in names:
        assert registry.find(kind, name) is not None


def test_installed_entry_points_are_those_of_the_project():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared.keys() == {group.name for group in registry.GROUPS.values()}
    for kind, group in registry.GROUPS.items():
        installed = {name: point.value for name, point in registry.available(kind).items()}
        assert declared[group.name].items() <= installed.items()


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_readers_and_writers_know_their_names(kind):
    for name in registry.available(kind):
        assert registry.find(kind, name).format_name == name


def test_every_network_says_its_settings_and_can_be_trained():
    names = registry.available("network")
    assert names.keys() == registry.available("training task").keys()
    for name in names:
        assert set(network_config(name).model_fields)


def test_unknown_name_gives_the_nearest():
    with pytest.raises(ConfigurationError, match=r"there is no algorithm 'hdbscn'. Did you mean 'hdbscan'\?"):
        registry.find("algorithm", "hdbscn")


def points(monkeypatch, *found: tuple[str, str]) -> None:
    group = registry.GROUPS["algorithm"].name
    monkeypatch.setattr(registry, "entry_points", lambda group: [EntryPoint(n, v, group) for n, v in found])
    assert group


def test_name_that_two_packages_claim_is_refused(monkeypatch):
    points(monkeypatch, ("fit", "a:Fit"), ("fit", "b:Fit"))
    with pytest.raises(ConfigurationError, match="two packages provide the algorithm 'fit': a:Fit and b:Fit"):
        registry.available("algorithm")


def test_same_package_seen_twice_is_no_conflict(monkeypatch):
    points(monkeypatch, ("fit", "a:Fit"), ("fit", "a:Fit"))
    assert list(registry.available("algorithm")) == ["fit"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("no_such_module:Fit", r"no_such_module:Fit\) cannot be loaded: ModuleNotFoundError"),
        ("mltrack_plugin.errors:Missing", "cannot be loaded: AttributeError"),
        ("mltrack_plugin.errors:nearest", "is no subclass of Algorithm"),
        ("mltrack_plugin.errors:MltrackError", "is no subclass of Algorithm"),
    ],
)
def test_entry_point_that_cannot_be_used_says_why(monkeypatch, value, message):
    points(monkeypatch, ("fit", value))
    with pytest.raises(ConfigurationError, match=message):
        registry.find("algorithm", "fit")
