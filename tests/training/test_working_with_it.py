"""What a training leaves behind and how it ends: metrics, curves, the record in the card, early stop, bad numbers."""

import csv
import json

import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("lightning")

from lightning.pytorch.callbacks import Callback

from mltrack_plugin.archives.checkpoint import load_checkpoint
from mltrack_plugin.cli.main import cli
from mltrack_plugin.errors import ConfigurationError, MissingExtraError, ModelError, TrainingError
from mltrack_plugin.training import record
from mltrack_plugin.training.config import load_training_config, training_command
from mltrack_plugin.training.curves import is_score, series
from mltrack_plugin.training.encreg import RegressionTraining
from mltrack_plugin.training.metrics_file import MetricsFile, read_metrics
from mltrack_plugin.training.run import train
from mltrack_plugin.training.tasks import make_task

NAME = "encreg-redvid-10-50-linear"


def tiny(**changes):
    return load_training_config(NAME, tiny=True, **changes)


def run(config, folder, **options):
    return train(config, folder, device="cpu", threads=1, progress=False, **options)


class Stop(Callback):
    """Stops a training at a step, as Ctrl-C would in the middle of an epoch."""

    def __init__(self, step, error):
        self.step, self.error = step, error

    def on_train_batch_end(self, trainer, *arguments):
        if trainer.global_step == self.step:
            raise self.error


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "whole"
    run(tiny(), folder)
    return folder


def test_metrics_and_curves_lie_beside_the_checkpoints(finished):
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {"step", "epoch", "regression", "contrastive", "val_score", "val_regression"} <= rows[0].keys()
    scores = [(int(row["step"]), float(row["val_score"])) for row in rows if row["val_score"]]
    assert [step for step, _ in scores] == [2, 5]  # steps count from 0, validation follows every third
    assert all(0 <= score <= 1 for _, score in scores)
    assert (finished / "curves.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("changes", [{"steps": 5}, {"steps": 2, "patience": 1}])
def test_final_weights_are_validated_whatever_the_number_of_steps(changes, tmp_path):
    last = run(tiny(**changes), tmp_path)
    rows = read_metrics(tmp_path / "metrics.csv")
    scores = [row for row in rows if "val_score" in row]
    assert scores[-1]["step"] == changes["steps"] - 1
    metrics = load_checkpoint(last)[1].metrics
    assert metrics["steps"] == changes["steps"]
    # The file has ten digits.
    assert metrics["val_regression"] == pytest.approx(scores[-1]["val_regression"], rel=1e-8)
    assert (tmp_path / "best.ckpt").exists()


def test_short_last_epoch_is_the_same_after_an_interruption(tmp_path):
    config, half = tiny(steps=5), tmp_path / "half"
    run(config, tmp_path)
    with pytest.raises(RuntimeError, match="power cut"):
        run(config, half, callbacks=[Stop(4, RuntimeError("power cut"))])
    run(config, half, resume=True)
    assert (half / "metrics.csv").read_text() == (tmp_path / "metrics.csv").read_text()
    weights = [
        torch.load(folder / "last.ckpt", weights_only=True)["state_dict"] for folder in (half, tmp_path)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
    # Nothing is left to do.
    assert run(config, half, resume=True) == half / "last.ckpt"


def test_metrics_of_an_interrupted_and_resumed_training_are_those_of_an_uninterrupted_one(finished, tmp_path):
    with pytest.raises(RuntimeError, match="power cut"):
        run(tiny(), tmp_path, callbacks=[Stop(5, RuntimeError("power cut"))])
    assert (tmp_path / "curves.png").exists()
    (tmp_path / "curves.png").unlink()
    run(tiny(), tmp_path, resume=True)
    assert (tmp_path / "curves.png").exists()
    assert (tmp_path / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_curves_are_drawn_on_ctrl_c(tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    original = RegressionTraining.training_step

    def step(self, batch, index):
        return original(self, batch, index) if self.trainer.global_step < 4 else interrupted()

    monkeypatch.setattr(RegressionTraining, "training_step", step)
    result = CliRunner().invoke(cli, ["train", NAME, "--tiny", "--output", str(tmp_path), "--device", "cpu"])
    assert result.exit_code != 0
    assert "--resume" in result.output
    assert "curves.png" in result.output
    assert (tmp_path / "curves.png").exists()


def test_missing_matplotlib_is_said_and_costs_only_the_picture(tmp_path, monkeypatch):
    def missing(*arguments):
        raise MissingExtraError("needs matplotlib: pip install 'mltrack-plugin[plot]'")

    monkeypatch.setattr("mltrack_plugin.training.run.draw_curves", missing)
    monkeypatch.setattr(
        "mltrack_plugin.errors.require_extra", lambda module, *rest: module == "matplotlib" and missing()
    )
    result = CliRunner().invoke(cli, ["train", NAME, "--tiny", "--output", str(tmp_path), "--device", "cpu"])
    assert result.exit_code == 0, result.output
    assert "pip install 'mltrack-plugin[plot]'" in result.output
    assert (tmp_path / "metrics.csv").exists()
    assert not (tmp_path / "curves.png").exists()


def test_curves_are_sorted_into_losses_and_scores(tmp_path):
    rows = [
        {"step": 1.0, "epoch": 0.0, "regression": 3.0},
        {
            "step": 2.0,
            "epoch": 0.0,
            "val_score": 0.5,
            "val_perfect_match_efficiency": 0.2,
            "val_regression": 2.0,
        },
        {"step": 3.0, "epoch": 0.0, "regression": 1.0},
    ]
    assert series(rows)["regression"] == ([1.0, 3.0], [3.0, 1.0])
    names = ("val_score", "val_score_1", "val_perfect_match_efficiency", "val_regression", "regression")
    assert [is_score(name) for name in names] == [True, True, True, False, False]
    file = MetricsFile(tmp_path / "metrics.csv")
    for row in rows:
        file.log_metrics({k: v for k, v in row.items() if k != "step"}, int(row["step"]))
    file.save()
    assert read_metrics(tmp_path / "metrics.csv") == rows
    assert MetricsFile(tmp_path / "metrics.csv", resume_step=2).rows == rows[:1]


def test_card_names_command_time_and_machine(finished, monkeypatch):
    _, card = load_checkpoint(finished / "last.ckpt")
    recipe = card.training_recipe
    assert recipe["command"] == f"mltrack train {NAME} --tiny"
    assert recipe["machine"] == f"{record.machine()['processor']}, 1 thread"
    assert isinstance(recipe["wall_time_s"], int)
    assert recipe["wall_time_s"] >= 0
    assert (card.training_data["seed"], card.training_data["dataset"]) == (1, "redvid-10-50-linear")
    text = card.to_json()
    assert str(finished) not in text


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("gnn-segments", {"dataset": "files", "dataset_settings": {"path": "/a/place/own.root"}}),
        ("vertex-cnn", {"dataset_settings": {"bank_dir": "/a/place/banks"}}),
        ("refiner-redvid-linear", {"first_stage": "/a/place/own.pt"}),
    ],
)
def test_cards_hold_no_paths(name, changes):
    task = make_task(load_training_config(name, tiny=True, **changes))
    card = json.dumps(task.card(None))
    assert "/a/place" not in card
    assert ("own." in card) == ("own." in str(changes))
    assert "/a/place" not in training_command(task.config)


def test_wall_time_adds_up_over_resumed_runs(tmp_path, monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(record.time, "monotonic", lambda: clock[0])

    class Tick(Callback):
        def on_train_batch_start(self, *arguments):
            clock[0] += 10.0

    with pytest.raises(RuntimeError):
        run(tiny(), tmp_path, callbacks=[Tick(), Stop(4, RuntimeError("power cut"))])
    clock[0] += 5000.0  # the time between the runs does not count
    last = run(tiny(), tmp_path, resume=True, callbacks=[Tick()])
    # The fourth step was lost with the interruption: three steps before it and three after.
    assert load_checkpoint(last)[1].training_recipe["wall_time_s"] == 60


def test_command_of_a_run_names_what_differs_from_the_shipped_configuration(tmp_path):
    assert training_command(load_training_config(NAME)) == f"mltrack train {NAME}"
    changed = load_training_config(NAME, steps=7, clustering={"min_cluster_size": 5}, seed=3)
    command = training_command(changed)
    assert "--set steps=7" in command
    assert "--set seed=3" in command
    bank = load_training_config(
        "encreg-trackml-10-50", dataset_settings={"train_sources": 100, "bank_dir": "/x/y"}
    )
    assert training_command(bank) == "mltrack train encreg-trackml-10-50"
    own = tiny(name="my-detector")
    assert training_command(own) == "mltrack train my-detector.yaml"


def test_named_command_gives_the_same_configuration(tmp_path):
    """What the card says is what a reader can type."""
    import shlex

    from mltrack_plugin.cli import train as command

    config = load_training_config(NAME, tiny=True, steps=5, dataset_settings={"tracks": [2, 4]}, patience=2)
    words = shlex.split(training_command(config))
    pairs = tuple(words[i + 1] for i, word in enumerate(words) if word == "--set")
    assert "--tiny" in words
    assert load_training_config(NAME, tiny=True, **command._overrides(pairs)) == config


def test_early_stop_after_validations_without_a_better_score(tmp_path, monkeypatch):
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9, 0.9])

    def constant(self):
        self._scores.clear()
        self.log("val_score", next(scores))

    monkeypatch.setattr(RegressionTraining, "on_validation_epoch_end", constant)
    config = tiny(steps=12, validation_every=2, patience=2)
    last = run(config, tmp_path)
    assert torch.load(last, weights_only=True)["global_step"] == 8
    best = torch.load(tmp_path / "best.ckpt", weights_only=True)
    assert best["global_step"] == 4


def test_patience_is_off_unless_asked_for():
    assert tiny().patience is None


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_numbers_that_are_not_finite_stop_the_training_and_never_reach_a_checkpoint(
    what, tmp_path, monkeypatch
):
    original = RegressionTraining.training_step

    def step(self, batch, index):
        loss = original(self, batch, index)
        if self.trainer.global_step != 4:
            return loss
        bad = next(self.network.parameters()).sum()
        return loss * float("nan") if what == "loss" else loss + torch.sqrt(bad - bad.detach())

    monkeypatch.setattr(RegressionTraining, "training_step", step)
    message = r"the loss is nan" if what == "loss" else r"the gradient of network\.\S+ is not finite"
    with pytest.raises(
        TrainingError, match=rf"{message} at step 4 \(training batch 4, number 1 since .*last\.ckpt"
    ):
        run(tiny(), tmp_path)
    content = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert content["global_step"] == 3
    assert all(torch.isfinite(tensor).all() for tensor in content["state_dict"].values())


def test_checkpoint_of_another_architecture_or_size_is_not_resumed(finished, tmp_path):
    other = load_training_config("gru-assignment", tiny=True)
    folder = tmp_path / "copy"
    folder.mkdir()
    (folder / "last.ckpt").write_bytes((finished / "last.ckpt").read_bytes())
    with pytest.raises(
        ModelError,
        match=r"last\.ckpt is a checkpoint of the architecture 'encreg', but this training is of 'gru-assignment'",
    ):
        train(
            other.model_copy(update={"detectors": ("redvid", "generic")}), folder, resume=True, device="cpu"
        )
    wider = tiny(network={**tiny().network, "d_model": 32})
    with pytest.raises(ModelError, match=r"of shape \(16,.* but of shape \(32,"):
        run(wider, folder, resume=True)
    (folder / "last.ckpt").write_bytes((finished / "last.ckpt").read_bytes()[:5000])
    with pytest.raises(ModelError, match=r"last\.ckpt"):
        run(tiny(), folder, resume=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "other"}, f"of the training '{NAME}', but this training is of 'other'"),
        (
            {"dataset": "redvid-10-50-helical"},
            "of the data set 'redvid-10-50-linear', but this .* of 'redvid-10-50-helical'",
        ),
        # No shape of a weight shows these.
        ({"network": {"n_heads": 4}}, "n_heads of the network is 2, but 4 in this configuration"),
        (
            {"network": {"phi_frequencies": [1, 3]}},
            r"phi_frequencies of the network is \[1, 2\], but \[1, 3\]",
        ),
    ],
)
def test_checkpoint_of_another_training_is_not_resumed(changes, message, finished, tmp_path):
    if "network" in changes:
        changes = {"network": tiny().network | changes["network"]}
    (tmp_path / "last.ckpt").write_bytes((finished / "last.ckpt").read_bytes())
    with pytest.raises(ModelError, match=rf"last\.ckpt.*{message}"):
        run(tiny(**changes), tmp_path, resume=True)


def test_events_of_another_detector_or_unit_are_refused(tmp_path):
    with pytest.raises(
        ConfigurationError, match=r"hits of the detector 'redvid', but the model is made for generic"
    ):
        run(tiny(detectors=["generic"]), tmp_path)
    with pytest.raises(ConfigurationError, match="length_unit must be redvid"):
        run(tiny(length_unit="mm"), tmp_path)
    assert not list(tmp_path.iterdir())


def test_card_is_shown_with_its_record(finished, tmp_path):
    archive = tmp_path / "model.pt"
    assert (
        CliRunner().invoke(cli, ["export", str(finished / "last.ckpt"), "--output", str(archive)]).exit_code
        == 0
    )
    shown = CliRunner().invoke(cli, ["models", str(archive)]).output
    for text in (f"command: mltrack train {NAME} --tiny", "wall_time_s: ", "machine: ", "seed: 1"):
        assert text in shown
    recipe = json.loads(CliRunner().invoke(cli, ["models", str(archive), "--json"]).output)["card"][
        "training_recipe"
    ]
    assert recipe["command"].startswith("mltrack train")
