"""The worked example of docs/training.md: its commands, as they stand there, with the tiny variant and other events."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from mltrack_plugin.cli.main import main
from mltrack_plugin.event_data import Hits
from mltrack_plugin.event_store import EventStore
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.models.archive import load_model
from mltrack_plugin.simulation.datasets import make_dataset

ROOT = Path(__file__).parents[2]


def commands() -> list[str]:
    """The three commands of the example."""
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    example = text.split("## Adapting to another detector")[1]
    return re.findall(r"^    (mltrack .*)$", example, flags=re.MULTILINE)


def write_events(path: Path) -> None:
    """Five events of straight tracks in another detector than any shipped one, with the name of the example's input."""
    writer = RootEventsWriter(path=str(path), detector="odd")
    writer.initialize()
    for number, event in enumerate(make_dataset("redvid-10-50-linear").events(5, seed=1, split="train")):
        columns = event.hits.arrays()
        store = EventStore(number, source="test")
        store.add("hits", Hits(**{name: 100 * v if name in "xyz" else v for name, v in columns.items()}))
        store.add("truth_links", event.truth_links)
        store.add("particles", event.particles)
        writer.write(store)
    writer.finalize()


def test_commands_of_the_documentation_train_export_and_reconstruct(tmp_path, monkeypatch, capsys):
    for file in (ROOT / "examples" / "other_detector").glob("*.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.chdir(tmp_path)
    write_events(tmp_path / "colliderml")
    lines = commands()
    assert [line.split()[1] for line in lines] == ["train", "export", "evaluate"]
    for line in lines:
        words = shlex.split(line)[1:]
        tiny = ["--tiny"] if words[0] == "train" else []
        assert main([*words, *tiny]) == 0, line
    assert "TrackML score" in capsys.readouterr().out
    card = load_model(tmp_path / "encemb-odd.pt").card
    assert card.detectors == ("odd",)
    assert card.training_data["settings"]["path"] == "colliderml"
    assert main(["run", "--input", "colliderml", "--config", "job.yaml", "--output", "tracks.root"]) == 0
    assert (tmp_path / "tracks.root").exists()


def test_example_configuration_is_the_one_that_the_documentation_describes():
    from mltrack_plugin.job import load_job
    from mltrack_plugin.training.config import load_training_config

    config = load_training_config(str(ROOT / "examples" / "other_detector" / "training.yaml"))
    job = load_job(str(ROOT / "examples" / "other_detector" / "job.yaml"))
    assert config.dataset == "files"
    assert config.detectors == job.detectors == ("odd",)
    shipped = load_training_config("encemb-generic")
    assert config.network == {**shipped.network, "length_scale": config.network["length_scale"]}
