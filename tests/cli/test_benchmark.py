"""mltrack benchmark: rows of all families in one table, as JSON, and with pictures."""

import json

import pytest
from click.testing import CliRunner

from mltrack_plugin.benchmarks_heptrkx import graphs, images, pictures, sequences
from mltrack_plugin.benchmarks_heptrkx.rows import Row
from mltrack_plugin.cli.main import cli


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    """Instead of simulating: a row that says what each family was asked for."""
    for module in (graphs, sequences, images):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(
            module,
            "published_rows",
            lambda seed, events, name=name: [
                Row(f"{name}-network", "accuracy", "0.99", 0.98765, 0.0012, f"{events} events", seed)
            ],
        )


def test_table_has_every_family_with_uncertainty_and_seed():
    result = CliRunner().invoke(cli, ["benchmark", "heptrkx", "--events", "30", "--seed", "11"])
    assert result.exit_code == 0, result.output
    for family in ("graphs", "sequences", "images"):
        assert f"{family}-network" in result.output
    assert result.output.count("0.9877") == 3
    assert result.output.count("30 events") >= 3
    assert "11" in result.output


def test_json_is_what_the_table_shows():
    result = CliRunner().invoke(cli, ["benchmark", "heptrkx", "--systems", "graphs", "--json"])
    content = json.loads(result.stdout)
    assert [row["system"] for row in content["rows"]] == ["graphs-network"]
    assert content["rows"][0]["ours"] == 0.98765
    assert content["benchmark"] == "heptrkx"


def test_output_folder_gets_table_and_pictures(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        pictures, "draw_all", lambda folder, rows, seed, families: asked.append((seed, families))
    )
    result = CliRunner().invoke(
        cli, ["benchmark", "heptrkx", "--output", str(tmp_path / "out"), "--systems", "images"]
    )
    assert result.exit_code == 0, result.output
    assert asked == [(7, ["images"])]
    assert len(json.loads((tmp_path / "out" / "heptrkx.json").read_text())["rows"]) == 1


def test_unknown_benchmark_is_refused():
    result = CliRunner().invoke(cli, ["benchmark", "heptrks"])
    assert result.exit_code == 2
    assert "heptrkx" in result.output
