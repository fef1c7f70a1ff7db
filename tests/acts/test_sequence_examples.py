"""The scripts that users start from, and the benchmark of the adapter, on small events."""

import importlib.util
import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest

pytest.importorskip("acts")

from mltrack_plugin.acts import TransformerTrackFinding, addTransformerSeeds, addTransformerTracks
from mltrack_plugin.errors import ModelError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Runs a script in this process, in an empty folder; returns what it prints."""

    def run_script(script, *options):
        monkeypatch.setattr(sys, "argv", [script, *options])
        monkeypatch.setenv("COLUMNS", "120")
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(ROOT / script), run_name="__main__")
        assert not list(tmp_path.iterdir())
        return capsys.readouterr().out

    return run_script


def test_ours_alone(run):
    printed = run("examples/acts_sequence.py", "--events", "2", "--particles", "10")
    found = re.search(r"(\d+) tracks of (\d+) particles: efficiency ([\d.]+), fakes ([\d.]+)", printed)
    assert found, printed
    assert int(found[2]) > 10
    assert float(found[3]) > 0.95
    assert float(found[4]) < 0.05
    assert "encemb" in printed


def test_ours_beside_the_ckf(run):
    printed = run("examples/acts_beside_ckf.py", "--events", "2", "--particles", "10")
    rows = {
        name: [float(value) for value in re.findall(r"\d+\.\d{4}", line)]
        for line in printed.splitlines()
        for name in ("CKF", "Transformer + KF", "Transformer + CKF")
        if re.match(rf"\W*{re.escape(name)} +\W", line)
    }
    assert set(rows) == {"CKF", "Transformer + KF", "Transformer + CKF"}, printed
    assert rows["CKF"][0] > 0.95
    assert min(row[0] for row in rows.values()) > 0.7
    assert max(row[1] for row in rows.values()) < 0.2
    assert "TransformerTrackFinding" in printed


def test_an_unknown_model_is_named_with_its_nearest(run):
    with pytest.raises(ModelError, match="Did you mean 'encreg-trackml-10-50'"):
        run("examples/acts_sequence.py", "--model", "encreg-trackml-10-5")


def test_the_adapter_itself_is_fast():
    spec = importlib.util.spec_from_file_location("acts_glue", ROOT / "benchmarks/acts_glue.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    result = benchmark.measure(events=1, particles=1000, model=None)
    assert result["hits_per_event"] > 10_000
    assert result["tracks_per_event"] == 1000
    assert 0 < result["glue_us_per_hit"] < benchmark.GOAL


@pytest.mark.parametrize("function", [addTransformerTracks, addTransformerSeeds, TransformerTrackFinding])
def test_every_parameter_is_documented(function):
    page = (ROOT / "docs/acts.md").read_text(encoding="utf-8")
    text = inspect.getdoc(function)
    for name in inspect.signature(function).parameters:
        assert re.search(rf"\b{name}\b", text), name
        assert f"`{name}`" in page, name
