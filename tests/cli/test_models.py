"""``mltrack models``: table, JSON, one card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_fixtures import make_card, make_network

from mltrack_plugin.archives import manifest
from mltrack_plugin.archives.archive import save_torchscript
from mltrack_plugin.archives.manifest import available_models
from mltrack_plugin.archives.register import register_model
from mltrack_plugin.cli.main import main


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pretrained"
    folder.mkdir()
    monkeypatch.setattr(manifest, "pretrained_folder", lambda: folder)
    monkeypatch.setenv("COLUMNS", "120")
    card = make_card(metrics={"fit_accuracy": 0.9731, "events": 1000}, training_data={"dataset": "gun"})
    register_model(save_torchscript(make_network(), card, tmp_path / "m.pt"), "tiny-job", ["gun"])
    return folder


def test_table(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    output = capsys.readouterr().out
    header, row = output.splitlines()[:2]
    assert header.split() == ["name", "network", "detectors", "parameters", "size", "score"]
    assert row.split()[:3] == ["tiny-encreg", "encreg", "generic"]
    assert row.split()[-1] == "97.3%"


def test_a_likelihood_is_no_percentage(
    tmp_path: Path, shipped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for metrics, shown in (({"val_score": 5.3}, "-"), ({"val_score": -0.6, "val_accuracy": 0.9942}, "99.4%")):
        path = save_torchscript(make_network(), make_card(metrics=metrics), tmp_path / "other.pt")
        register_model(path, "tiny-job", ["gun"])
        assert main(["models"]) == 0
        assert capsys.readouterr().out.splitlines()[1].split()[-1] == shown


def test_shipped_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    output = capsys.readouterr().out
    assert max(len(line) for line in output.splitlines()) <= 80
    for name in available_models():
        assert any(line.startswith(f"{name} ") for line in output.splitlines())


def test_json(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["parameters"] == sum(p.numel() for p in make_network().parameters())
    assert row["bytes"] == (shipped / "tiny-encreg.pt").stat().st_size
    assert row["score"] == {"fit_accuracy": 0.9731}
    assert row["job"] == "tiny-job"


def test_one_card(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("tiny-encreg", str(shipped / "tiny-encreg.pt")):
        assert main(["models", name]) == 0
        output = capsys.readouterr().out
        for text in ("x [mm], y [mm], z [mm] (cartesian)", "theta [rad], q", "r 0 to 1100", "dataset: gun"):
            assert text in output
        assert main(["models", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["card"]["name"] == "tiny-encreg"


def test_no_models(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (shipped / "manifest.json").write_text("{}")
    assert main(["models"]) == 0
    assert "mltrack train" in capsys.readouterr().out


def test_unknown_model(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "tiny-encrag"]) == 1
    captured = capsys.readouterr()
    assert "Did you mean 'tiny-encreg'?" in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("name", ["encemb-generic", "encreg-redvid-10-50-linear"])
def test_every_card_names_the_command_that_trains_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where the card itself, from an earlier training, does not say it."""
    assert main(["models", name]) == 0
    assert capsys.readouterr().out.count(f"mltrack train {name}") == 1
