"""What a user may get wrong at a training: each wrong input is an error that says what to do, never a wrong model."""

import shlex

import numpy as np
import pytest
import torch
import yaml

pytest.importorskip("lightning")

from mltrack_plugin.cli.main import main
from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.event_data import Particles, TruthLinks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.encdec import in_order
from mltrack_plugin.training.encreg import RegressionTraining
from mltrack_plugin.training.left_over import taken
from mltrack_plugin.training.run import train
from mltrack_plugin.training.tasks import make_task

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


def test_folder_that_cannot_be_made_is_said_before_anything_is_simulated(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setattr("mltrack_plugin.training.encreg.measure", None)
    assert main(["train", NAME, "--tiny", "--device", "cpu", "--output", str(tmp_path / "file" / "run")]) == 1
    assert f"cannot write '{tmp_path}/file/run': " in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (NAME, {"network": {"d_model": 15, "n_heads": 2}}, "d_model 15 is not a multiple of n_heads 2"),
        (NAME, {"network": {"d_modle": 16}}, "network: no setting 'd_modle'. Did you mean 'd_model'"),
        (
            NAME,
            {"network": {"input_scale": [1, 1, 1]}},
            "input_scale cannot be set: the training takes care of",
        ),
        (NAME, {"kernel_start": 1.0, "network": {"inputs": "raw"}}, "the kernel start needs expanded inputs"),
        ("encemb-redvid-helical", {"kernel_start": 1.0}, "the kernel start of 3 layers needs d_model"),
        ("encemb-redvid-helical", {"network": {"patches": [{"aspct": 1.0}]}}, "no setting 'patches.0.aspct'"),
        (
            "encdec-redvid-10-50-linear",
            {"network": {"encoder": {"n_head": 2}}},
            "encoder: no setting 'n_head'",
        ),
        ("enccla-redvid-10-50-linear", {"bins": {"phi": 1}}, "a classifier needs two classes or more"),
        (
            "unet-redvid-10-50-linear",
            {"network": {"width": [8]}},
            "no setting 'width'. Did you mean 'widths'",
        ),
        ("refiner-redvid-linear", {"network": {"slot": 18}}, "no setting 'slot'. Did you mean 'slots'"),
        ("gru-assignment", {"network": {"hiden": 8}}, "no setting 'hiden'. Did you mean 'hidden'"),
    ],
)
def test_wrong_settings_of_the_network_are_named(name, changes, message):
    task = make_task(load_training_config(name, tiny=True, **changes))
    with pytest.raises(ConfigurationError) as caught:
        task.module()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        (NAME, {"targets": []}, "targets: Tuple should have at least 1 item"),
        (NAME, {"detectors": []}, "detectors: Tuple should have at least 1 item"),
        (
            "encemb-redvid-helical",
            {"auxiliary_targets": {"eta": 0.0}},
            r"auxiliary_targets\.eta: .* greater than 0",
        ),
        ("refiner-redvid-linear", {"targets": {"eta": -1.0}}, r"targets\.eta: .* greater than 0"),
    ],
)
def test_settings_that_no_training_can_have(name, changes, message):
    with pytest.raises(ConfigurationError, match=message):
        load_training_config(name, tiny=True, **changes)


def write(path, listed):
    """Four events of straight tracks whose hits all count as noise; with or without particles."""
    writer = RootEventsWriter(path=str(path), detector="mydetector")
    writer.initialize()
    for number, event in enumerate(make_dataset("redvid-10-50-linear", {}).events(4, seed=1, split="train")):
        store = EventStore(number)
        store.add("hits", event.hits)
        store.add("truth_links", TruthLinks(np.zeros(len(event.hits), dtype=np.uint64)))
        rows = slice(None) if listed else slice(0)
        store.add("particles", Particles(**{k: v[rows] for k, v in event.particles.arrays().items()}))
        writer.write(store)
    writer.finalize()


@pytest.mark.parametrize("listed", [True, False])
def test_truth_that_says_nothing(listed, tmp_path):
    write(tmp_path / "own.root", listed)
    settings = {"path": str(tmp_path / "own.root"), "shares": (0.5, 0.5, 0.0)}
    config = load_training_config(
        "encemb-generic", tiny=True, dataset="files", dataset_settings=settings, detectors=["mydetector"]
    )
    with pytest.raises(
        InputError, match=r"own\.root: none of the \d+ hits of the events 0 to 3 belongs to a"
    ):
        train(config, tmp_path / "run", device="cpu", threads=1, progress=False)


@pytest.mark.parametrize(
    "name", [NAME, "encemb-redvid-helical", "encdec-redvid-10-50-linear", "enccla-redvid-10-50-linear"]
)
def test_validation_without_a_hit(name, monkeypatch):
    task = make_task(load_training_config(name, tiny=True))
    original = type(task).source

    def source(self, split, dataset=None):
        def event(index):
            found = original(self, split, dataset)(index)
            return found if split == "train" else taken(found, np.zeros(0, dtype=int))

        return event

    monkeypatch.setattr(type(task), "source", source)
    with pytest.raises(ConfigurationError, match=r"none of the \d+ validation events has hits"):
        task.validation_batches()


def noise_alone(name, batch):
    """The batch as if no hit, or no cluster, were of a particle."""
    if name.startswith("encemb"):
        return batch._replace(particle=torch.full_like(batch.particle, -1))
    if name.startswith("refiner"):
        return batch._replace(total=torch.zeros_like(batch.total), truth=torch.zeros_like(batch.truth))
    if name.startswith("encdec"):
        batch = in_order(batch)
        return batch[0], batch[1], torch.full_like(batch[2], -1)
    return *batch[:3], torch.full_like(batch[3], -1)


@pytest.mark.parametrize(
    "name", [NAME, "encemb-redvid-helical", "encdec-redvid-10-50-linear", "refiner-redvid-linear"]
)
def test_batch_of_noise_alone_is_no_reason_to_stop(name):
    task = make_task(load_training_config(name, tiny=True))
    module = task.module()
    terms = module.losses(noise_alone(name, next(task.training_batches(0))))
    # Some tasks give the points behind the losses.
    total = sum(term for term in terms if isinstance(term, torch.Tensor) and not term.ndim)
    assert torch.isfinite(total)
    total.backward()
    assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)
