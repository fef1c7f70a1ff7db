"""A training run: it learns, stops, resumes to the same weights, and its checkpoint becomes a model."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("lightning")

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.cli.main import cli
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event
from mltrack_plugin.training.config import load_training_config, training_configs
from mltrack_plugin.training.data import POOL_BATCHES, EventBatches, collate
from mltrack_plugin.training.encreg import RegressionTraining, measure
from mltrack_plugin.training.run import train

TINY = {
    "network": {"d_model": 16, "n_heads": 2, "d_ff": 32, "n_layers": 1},
    "dataset_settings": {"tracks": [3, 6]},
    "batch_size": 4,
    "steps": 6,
    "warmup_steps": 1,
    "validation_every": 3,
    "validation_events": 4,
}


def tiny(**changes):
    return load_training_config("encreg-redvid-10-50-linear", **(TINY | changes))


class PowerCut(Exception):
    """Stops a training in the middle of its second epoch."""

    @staticmethod
    def after_validation():
        import lightning

        class Cut(lightning.pytorch.callbacks.Callback):
            def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
                if trainer.current_epoch == 1:
                    raise PowerCut

        return Cut()


def event(index):
    return redvid_event(RedvidConfig(tracks=(3, 8)), [1, index])


@pytest.fixture
def finished(tmp_path):
    return train(tiny(), tmp_path / "whole", device="cpu", threads=1, progress=False)


def weights(path):
    return torch.load(path, weights_only=True)["state_dict"]


def test_interrupted_and_resumed_training_gives_the_same_weights(finished, tmp_path):
    half = tmp_path / "half"
    # The learning rate's schedule belongs to the whole run, so it is broken off, not shortened.
    with pytest.raises(PowerCut):
        train(tiny(), half, device="cpu", threads=1, progress=False, callbacks=[PowerCut.after_validation()])
    assert (half / "last.ckpt").exists()
    again = train(tiny(), half, resume=True, device="cpu", threads=1, progress=False)
    mine, theirs = weights(again), weights(finished)
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], theirs[name], rtol=0, atol=0)


def test_checkpoint_becomes_a_model_that_knows_where_it_belongs(finished, tmp_path):
    archive = tmp_path / "model.pt"
    result = CliRunner().invoke(cli, ["export", str(finished), "--output", str(archive)])
    assert result.exit_code == 0, result.output
    model = load_model(archive)
    assert model.card.outputs == ("theta", "sin_phi", "cos_phi")
    assert model.card.detectors == ("redvid",)
    values = model.predict_hits(event(0).hits)
    assert values.shape == (len(event(0).hits), 3)


def test_existing_training_is_not_overwritten_and_nothing_is_not_resumed(finished, tmp_path):
    with pytest.raises(ConfigurationError, match="--resume"):
        train(tiny(), finished.parent, device="cpu", progress=False)
    with pytest.raises(ConfigurationError, match="nothing to resume"):
        train(tiny(), tmp_path / "nowhere", resume=True, device="cpu", progress=False)


def test_command_line_trains_and_says_where(tmp_path):
    settings = [f"--set={name}={value}" for name, value in TINY.items()]
    output = tmp_path / "run"
    result = CliRunner().invoke(
        cli,
        ["train", "encreg-redvid-10-50-linear", "--output", str(output), "--device", "cpu", *settings],
    )
    assert result.exit_code == 0, result.output
    assert str(output) in result.output
    assert (output / "last.ckpt").exists()


def test_learns_straight_tracks():
    """A few hundred optimiser steps of a small network separate straight tracks clearly better than none."""
    from mltrack_plugin.models.encreg import EncReg, EncRegConfig

    config = tiny()
    statistics = measure(event, config.targets)
    torch.manual_seed(1)
    network = EncReg(
        EncRegConfig(
            **config.network,
            input_scale=(10.0,) * 3,
            output_mean=statistics.target_center,
            output_scale=statistics.target_scale,
        )
    )
    module = RegressionTraining(config, network)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    batches = iter(EventBatches(event, config.targets, 4, 0, 1))
    losses = []
    for _ in range(60):
        regression, contrastive, _ = module.losses(next(batches))
        optimizer.zero_grad()
        module.total_loss(regression, contrastive).backward()
        optimizer.step()
        losses.append(regression.item())
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:5])


def test_batches_start_anywhere_and_hold_every_event_once():
    targets = ("theta",)
    whole = iter(EventBatches(event, targets, 2, 0, seed=5))
    first = [next(whole) for _ in range(POOL_BATCHES + 2)]
    late = next(iter(EventBatches(event, targets, 2, POOL_BATCHES + 1, seed=5)))
    for mine, theirs in zip(first[POOL_BATCHES + 1], late, strict=True):
        torch.testing.assert_close(mine, theirs)
    seen = sorted(int(batch[1][i].sum()) for batch in first[:POOL_BATCHES] for i in range(2))
    assert seen == sorted(len(event(i).hits) for i in range(2 * POOL_BATCHES))


def test_collate_pads_behind_the_hits():
    events = [event(i) for i in range(3)]
    features, mask, targets, rows = collate(events, ("theta", "q"))
    n = max(len(e.hits) for e in events)
    assert features.shape == (3, n, 3)
    assert targets.shape == (3, n, 2)
    for i, e in enumerate(events):
        assert mask[i].sum() == len(e.hits)
        assert mask[i, : len(e.hits)].all()
        np.testing.assert_allclose(features[i, : len(e.hits)].numpy(), e.hits.positions)
        assert (rows[i, len(e.hits) :] == -1).all()


@pytest.mark.parametrize("tiny_variant", [False, True])
@pytest.mark.parametrize("name", sorted(training_configs()))
def test_shipped_configurations_are_valid(name, tiny_variant):
    from mltrack_plugin.registry import available
    from mltrack_plugin.simulation.datasets import make_dataset
    from mltrack_plugin.training.tasks import task_class

    config = load_training_config(name, tiny=tiny_variant)
    assert config.name == name
    assert config.architecture in available("network")
    assert isinstance(config, task_class(config.architecture).Config)
    make_dataset(config.dataset, config.dataset_settings)
    task_class(config.architecture)(config).check_detector()


def test_wrong_settings_are_named():
    with pytest.raises(ConfigurationError, match=r"'stepps'.*'steps'"):
        tiny(stepps=3)
    with pytest.raises(ConfigurationError, match="'encreg-redvid-10-50-linear'"):
        load_training_config("encreg-redvid-10-50-liner")
