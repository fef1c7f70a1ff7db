"""What a user may get wrong at a training: each wrong input is an error that says what to do, never a wrong model."""

import shlex

import pytest
import torch
import yaml

pytest.importorskip("lightning")

from mltrack_plugin.cli.main import main
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.encreg import RegressionTraining

NAME = "encreg-redvid-10-50-linear"


def test_events_instead_of_a_configuration(tmp_path, capsys):
    events = tmp_path / "events.root"
    events.write_bytes(b"root\x00\x00\xf3\x08\x00\xff")
    assert main(["train", str(events)]) == 2
    error = capsys.readouterr().err
    assert "events.root: cannot be read as text" in error
    assert "dataset: files" in error


def test_small_variant_that_the_file_does_not_have(tmp_path):
    content = yaml.safe_load(yaml.safe_dump({"name": "mine", "architecture": "encreg", "steps": 10**6}))
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigurationError, match=r"mine\.yaml has no small variant: it needs a block  tiny:"):
        load_training_config(str(path), tiny=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    "command", [["train", NAME, "--tiny"], ["benchmark", "paper", "--events", "2", "--designs", "EncReg"]]
)
def test_gpu_that_is_not_there_is_said_before_anything_is_simulated(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mltrack_plugin.training.encreg.measure", None)
    monkeypatch.setattr("mltrack_plugin.cli.benchmark_paper.measure_all", None)
    assert main([*command, "--device", "cuda"]) == 1
    assert "no CUDA device is available" in capsys.readouterr().err


def test_interrupted_training_names_the_command_that_goes_on(tmp_path, monkeypatch, capsys):
    """With all settings: without them another network would be asked for."""
    monkeypatch.chdir(tmp_path)
    original = RegressionTraining.training_step

    def step(self, batch, index):
        if self.trainer.global_step >= 4:
            raise KeyboardInterrupt
        return original(self, batch, index)

    monkeypatch.setattr(RegressionTraining, "training_step", step)
    settings = ["--set", "network={d_model: 32, n_heads: 2, d_ff: 16, n_layers: 1}", "--set", "steps=5"]
    command = ["train", NAME, "--tiny", "--device", "cpu", "--threads", "1", *settings]
    assert main(command) == 130
    said = capsys.readouterr().err.split("go on with:  ")[1].splitlines()[0]
    monkeypatch.setattr(RegressionTraining, "training_step", original)
    assert main(shlex.split(said)[1:]) == 0
    assert torch.load(f"runs/{NAME}/last.ckpt", weights_only=True)["global_step"] == 5
