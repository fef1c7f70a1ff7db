"""mltrack benchmark: rows of all families in one table, as JSON, and with pictures."""

import json

import pytest
from click.testing import CliRunner

from mltrack_plugin.cli import benchmark
from mltrack_plugin.cli.main import cli
from mltrack_plugin.published.heptrkx.benchmark import graphs, images, pictures, sequences
from mltrack_plugin.published.heptrkx.benchmark.rows import Part, Row


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    """Instead of simulating: a row that says what each family was asked for."""
    for module in (graphs, sequences, images):
        name = module.__name__.rpartition(".")[2]
        monkeypatch.setattr(
            module,
            "parts",
            lambda seed, events, name=name: [
                Part(
                    f"part of {name}",
                    lambda: [
                        Row(f"{name}-network", text, "0.99", 0.98765, error, f"{events} events", seed)
                        for text, error in (("accuracy [mm]", 0.0012), ("parameters " * 12, 0.0))
                    ],
                )
            ],
        )


def test_table_has_every_family_with_uncertainty_and_seed():
    result = CliRunner().invoke(cli, ["benchmark", "heptrkx", "--events", "30", "--seed", "11"])
    assert result.exit_code == 0, result.output
    for family in ("graphs", "sequences", "images"):
        assert f"{family}-network" in result.output
    assert result.stdout.count("0.988 ± 0.001") == 3
    assert result.stdout.count("0.98765") == 3
    assert result.stdout.count("30 events; seed 11") == result.stdout.count("accuracy [mm]") == 3
    assert max(map(len, result.stdout.splitlines())) <= 80
    # The progress says what is measured, and of how many.
    assert "2 of 3: part of sequences ... 0 s" in result.stderr


def test_figures_have_the_digits_of_their_errors():
    assert benchmark._with_error(0.99523, 0.00028) == "0.9952 ± 0.0003"
    assert benchmark._with_error(12.3456, 2.5) == "12 ± 2"
    assert benchmark._with_error(26502.0, 0.0) == "26502"
    assert benchmark._with_error(0.5, float("nan")) == "0.5"


def test_json_is_what_the_table_shows():
    result = CliRunner().invoke(cli, ["benchmark", "heptrkx", "--systems", "graphs", "--json"])
    content = json.loads(result.stdout)
    assert [row["system"] for row in content["rows"]] == ["graphs-network"] * 2
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
    assert asked == [(2026, ["images"])]
    assert len(json.loads((tmp_path / "out" / "heptrkx.json").read_text())["rows"]) == 2


def test_unknown_benchmark_is_refused():
    result = CliRunner().invoke(cli, ["benchmark", "heptrks"])
    assert result.exit_code == 2
    assert "heptrkx" in result.output
