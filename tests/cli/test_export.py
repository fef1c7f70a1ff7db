"""``mltrack export``: success, refusals and exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_fixtures import write_checkpoint

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.cli.main import main


def test_export_and_its_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "model.pt"
    checkpoint = write_checkpoint(tmp_path / "last.ckpt")
    assert main(["export", str(checkpoint), "--output", str(output), "--name", "mine"]) == 0
    model = load_model(output)
    assert model.card.name == "mine"
    text = capsys.readouterr().out
    assert f"sha256 {model.sha256}" in text
    assert f"--model {output}" in text


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["gone.ckpt", "--output", "model.pt"], 1, "gone.ckpt: no such file"),
        (["last.ckpt", "--output", "model.h5"], 2, "must end in .pt, .pt2, .onnx"),
        (["last.ckpt", "--output", "last.ckpt.pt"], 1, "exists already"),
        (["last.ckpt", "--output", "nowhere/model.pt"], 1, "create it first"),
        (["last.ckpt"], 2, "--output"),
    ],
)
def test_refusals(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_checkpoint(tmp_path / "last.ckpt")
    (tmp_path / "last.ckpt.pt").touch()
    before = sorted(tmp_path.iterdir())
    assert main(["export", *arguments]) == code
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert sorted(tmp_path.iterdir()) == before
