"""Training of EncDec: targets, batches by their number, tiny runs end to end."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("lightning")

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.cli.main import cli
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.encdec import in_order, next_hits
from mltrack_plugin.training.run import train
from mltrack_plugin.training.tasks import make_task

NAMES = (
    "encdec-redvid-10-50-linear",
    "encdec-redvid-10-50-helical",
    "encdec-redvid-50-100-helical",
    "encdec-trackml-10-50",
)


@pytest.mark.parametrize("name", NAMES)
def test_tiny_training_becomes_a_model(name, tmp_path):
    if "trackml" in name:
        pytest.importorskip("acts")
    config = load_training_config(name, tiny=True)
    checkpoint = train(config, tmp_path, device="cpu", threads=1, progress=False)
    archive = tmp_path / "model.pt"
    result = CliRunner().invoke(cli, ["export", str(checkpoint), "--output", str(archive)])
    assert result.exit_code == 0, result.output
    model = load_model(archive)
    assert model.card.name == name
    assert model.card.kind == "sequence"
    assert model.card.metrics["val_score"] >= 0
    assert np.isfinite(model.card.metrics["val_next"])
    assert 0 <= model.card.metrics["val_score_true_seeds"] <= 1
    assert model.card.hyperparameters["encoder"]["input_scale"] == [config.length_scale] * 3


def test_each_hit_is_followed_by_the_next_of_its_particle():
    particle = torch.tensor([[0, 1, -1, 0, 1, 1, 2, -1]])
    following, first = next_hits(particle)
    assert following[0].tolist() == [3, 4, 8, 8, 5, 8, 8, 8]
    assert first[0].tolist() == [True, True, False, False, False, False, True, False]


def test_batches_are_sorted_by_distance_and_depend_on_their_number_alone():
    task = make_task(load_training_config(NAMES[0], tiny=True))
    stream = task.training_batches(0)
    batches = [next(stream) for _ in range(4)]
    for mine, theirs in zip(batches[3], next(task.training_batches(3)), strict=True):
        torch.testing.assert_close(mine, theirs)
    features, mask, particle, order = in_order(batches[0])
    distance = features.norm(dim=2).masked_fill(~mask, 1e9)
    assert (distance.diff(dim=1) >= 0).all()
    assert (mask.int().diff(dim=1) <= 0).all()
    assert (particle[~mask] == -1).all()
    assert (particle == torch.gather(batches[0][3], 1, order)).all()


def test_the_network_learns_straight_tracks_within_seconds():
    """From attention to the same direction on, 40 small steps are enough to point to most next hits."""
    frequencies = {"phi_frequencies": [1, 2, 4], "eta_frequencies": [1.0, 2.0, 4.0]}
    encoder = {"d_model": 32, "n_heads": 4, "d_ff": 32, "n_layers": 2, "norm_first": True, **frequencies}
    config = load_training_config(
        NAMES[0], tiny=True, network={"encoder": encoder, "decoder_layers": 1}, batch_size=8
    )
    torch.manual_seed(1)
    task = make_task(config)
    module = task.module()
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    right = []
    for _, batch in zip(range(40), task.training_batches(0), strict=False):
        pointed, first, share = module.losses(in_order(batch)[:3])
        (pointed + first).backward()
        optimizer.step()
        optimizer.zero_grad()
        right.append(float(share))
    assert np.mean(right[:3]) < 0.6
    assert np.mean(right[-5:]) > 0.85


def test_a_training_starts_from_the_weights_of_another_model(tmp_path):
    name = "encdec-redvid-10-50-helical"
    first = load_training_config(name, tiny=True, steps=3)
    checkpoint = train(first, tmp_path, device="cpu", threads=1, progress=False)
    second = make_task(load_training_config(name, tiny=True, start_from=str(checkpoint)))
    module = second.module()
    weights = torch.load(checkpoint, weights_only=True)["state_dict"]
    for key, value in module.network.state_dict().items():
        torch.testing.assert_close(value, weights[f"network.{key}"])
    assert second.card(module)["training_recipe"]["started_from"] == name
    with pytest.raises(ConfigurationError, match="other sizes"):
        make_task(load_training_config(NAMES[0], tiny=True, start_from=str(checkpoint), network={})).module()
