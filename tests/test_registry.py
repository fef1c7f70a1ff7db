"""Elements are found by name through entry points; other packages add theirs without a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from mltrack_plugin import registry
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models import network_config

ROOT = Path(__file__).parents[1]
THIRD_PARTY = ROOT / "examples" / "third_party_algorithm"


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


@pytest.fixture(scope="session")
def third_party_environment(tmp_path_factory) -> dict[str, str]:
    """Environment in which the example package looks installed: its metadata lies on the import path."""
    project = tomllib.loads((THIRD_PARTY / "pyproject.toml").read_text())["project"]
    site = tmp_path_factory.mktemp("site")
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(THIRD_PARTY)])}


def test_third_party_algorithm_is_found_by_name(third_party_environment):
    code = """
from mltrack_plugin.jobs.config import load_job
job = load_job("job.yaml")
print([type(algorithm).__module__ for algorithm in job.algorithms()][-1])
"""
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=third_party_environment,
        cwd=THIRD_PARTY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "radial_span"


def test_third_party_algorithm_does_what_it_says(third_party_environment, tmp_path):
    """In a job of its own, and in worker processes: only tracks with a long lever arm are left."""
    script = tmp_path / "job.py"
    script.write_text(
        """
import numpy as np
from fake_sequence import GeneratedEvents, Halves
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.registry import find
from mltrack_plugin.framework.sequencer import Sequencer

class Check(Writer):
    spans = []
    def __init__(self):
        super().__init__()
        self.hits, self.tracks = self.read_handle(Hits, "hits"), self.read_handle(Tracks, "tracks")
    def abort(self): ...
    def write(self, event_store):
        hits, tracks = self.hits(event_store), self.tracks(event_store)
        self.spans += [np.ptp(hits.r[tracks.hits_of(i)]) for i in range(len(tracks))]

if __name__ == "__main__":
    counts = []
    for span in (0.0, 1.5):
        Check.spans = []
        sequencer = Sequencer(workers=2).add_reader(GeneratedEvents())
        sequencer.add_algorithm(Halves(output="all_tracks"))
        sequencer.add_algorithm(find("algorithm", "require-radial-span")(min_span=span))
        sequencer.add_writer(Check()).run()
        assert min(Check.spans) >= span
        counts.append(len(Check.spans))
    assert counts[0] == 20 > counts[1] > 0, counts
"""
    )
    environment = dict(third_party_environment)
    environment["PYTHONPATH"] += os.pathsep + str(ROOT / "tests" / "support")
    result = subprocess.run(
        [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
