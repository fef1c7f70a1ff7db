"""The worked example of docs/training.md: its commands, as they stand there, with the tiny variant and fewer events."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.cli.main import main
from mltrack_plugin.jobs.config import load_job
from mltrack_plugin.training.config import load_training_config

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "other_detector"


def commands() -> list[str]:
    """The commands of the example, that make events first."""
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    example = text.split("## Adapting to another detector")[1]
    return re.findall(r"^    (mltrack .*)$", example, flags=re.MULTILINE)


def quickly(words: list[str]) -> list[str]:
    """The command with ten events instead of a thousand, and the tiny variant of the training."""
    fewer = {"1000": "10", "900": "9"}
    return [fewer.get(word, word) for word in words] + (["--tiny"] if words[0] == "train" else [])


def test_commands_of_the_documentation_train_export_and_reconstruct(tmp_path, monkeypatch, capsys):
    for file in EXAMPLE.glob("*.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    lines = commands()
    assert [line.split()[1] for line in lines] == ["simulate", "train", "export", "evaluate"]
    for line in lines:
        assert main(quickly(shlex.split(line)[1:])) == 0, line
    said = capsys.readouterr().out
    assert "TrackML score" in said
    # No shipped job is for this detector.
    assert "Name it in a job file (model: mydetector.pt)" in said
    card = load_model(tmp_path / "mydetector.pt").card
    assert card.detectors == ("mydetector",)
    assert card.training_data["settings"]["path"] == "own.root"
    assert main(["run", "--input", "own.root", "--config", "job.yaml", "--output", "tracks.root"]) == 0
    assert (tmp_path / "tracks.root").exists()


def test_example_files_belong_together():
    config, job = load_training_config(str(EXAMPLE / "training.yaml")), load_job(str(EXAMPLE / "job.yaml"))
    assert config.dataset == "files"
    assert config.detectors == (job.detector_name,) == ("mydetector",)
    assert config.dataset_settings["reader"] == job.reader
