"""``mltrack algorithms``, ``readers``, ``writers`` and ``detectors``: lists, one element, JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from mltrack_plugin import registry
from mltrack_plugin.cli.main import main
from mltrack_plugin.detectors import Detector, load_detector

KINDS = ("algorithm", "reader", "writer", "detector")


def output_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_list_has_everything_that_is_registered(kind, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = output_of(capsys, f"{kind}s")
    assert [line.split()[0] for line in text.splitlines()[1:] if line[0] != " "] == [
        *registry.available(kind)
    ]
    for row in json.loads(output_of(capsys, f"{kind}s", "--json")):
        assert row["purpose"].endswith(".")
        assert row["package"].startswith("mltrack-plugin ")
        if kind != "detector":
            assert bool(row["outputs"]) == (kind != "writer")
            assert bool(row["inputs"]) == (kind != "reader")


def test_one_with_its_settings(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    text = output_of(capsys, "algorithms", "track-quality")
    assert "input  fitted_tracks: Tracks\n" in text
    assert "output tracks: Tracks\n" in text
    assert 'tracks: str = "tracks"\n    Event store key of the tracks (output).\n' in text
    facts = json.loads(output_of(capsys, "algorithms", "enccla", "--json"))
    assert facts["inputs"] == {"hits": "Hits", "selected_hits": "HitSelection, if there is one"}
    model, *others = facts["settings"]
    assert model["name"] == "model"
    assert model["required"]
    assert "default" not in model
    assert all(setting["description"] for setting in others)
    assert {"name": "min_hits", "type": "int >= 1", "required": False, "default": 4}.items() <= next(
        setting for setting in others if setting["name"] == "min_hits"
    ).items()


def test_a_detector_is_printed_as_it_is_written(capsys):
    text = output_of(capsys, "detectors", "redvid")
    assert Detector.from_yaml(text[text.index("name: redvid") :], "printed") == load_detector("redvid")
    assert (
        json.loads(output_of(capsys, "detectors", "redvid", "--json"))["settings"]["length_unit"] == "redvid"
    )


@pytest.mark.parametrize(
    ("kind", "name", "nearest"),
    [
        ("algorithm", "build-track", "build-tracks"),
        ("reader", "root-event", "root-events"),
        ("writer", "root-track", "root-tracks"),
        ("detector", "redvit", "redvid"),
    ],
)
def test_unknown_name_gives_the_nearest(kind, name, nearest, capsys):
    assert main([f"{kind}s", name]) == 2
    assert f"there is no {kind} '{name}'. Did you mean '{nearest}'" in capsys.readouterr().err


def test_name_of_before_shows_what_it_became(capsys):
    assert json.loads(output_of(capsys, "algorithms", "refit-tracks", "--json"))["name"] == "fit-mixture"


def test_broken_package_hides_no_other(capsys, monkeypatch):
    points = [*registry.entry_points(group="mltrack_plugin.writers")]
    points.append(EntryPoint("broken", "no_such_package:Writer", "mltrack_plugin.writers"))
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    rows = {row["name"]: row for row in json.loads(output_of(capsys, "writers", "--json"))}
    assert "cannot be loaded: ModuleNotFoundError" in rows["broken"]["purpose"]
    assert rows["root-tracks"]["inputs"]


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from mltrack_plugin.cli.main import main; main(['algorithms', '--help']); main(['--help']);"
        "print([name for name in ('torch', 'awkward', 'uproot', 'numba', 'pydantic') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
