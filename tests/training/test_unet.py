"""Training of the U-Net: from the tiny configurations to a job with a model, losses, weights that are taken over."""

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from mltrack_plugin.algorithms.unet import UNet
from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.archives.checkpoint import export_checkpoint
from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.data import pack
from mltrack_plugin.training.losses import agreement_loss
from mltrack_plugin.training.run import train
from mltrack_plugin.training.tasks import make_task

LINEAR, HELICAL = "unet-redvid-10-50-linear", "unet-redvid-10-50-helical"


def tiny(name, **changes):
    return load_training_config(name, tiny=True, **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(tiny(HELICAL), tmp_path_factory.mktemp("run"), device="cpu", threads=1, progress=False)


def tracks_of(path, hits):
    algorithm = UNet(model=str(path), device="cpu")
    algorithm.initialize()
    store = EventStore()
    store.add("hits", hits)
    algorithm.execute(store)
    return store.get("proto_tracks", ProtoTracks)


def test_tiny_training_becomes_a_model_that_finds_tracks(finished, tmp_path):
    export_checkpoint(finished, tmp_path / "model.pt")
    model = load_model(tmp_path / "model.pt")
    assert model.card.architecture == "unet"
    assert model.card.detectors == ("redvid",)
    bins = [(b["name"], len(b["edges"]) - 1) for b in model.card.hyperparameters["bins"]]
    assert bins == [("q", 2), ("theta", 4), ("inverse_p", 5)]
    event = make_dataset("redvid-10-50-helical", {"tracks": (3, 6)}).event(0, seed=9, split="test")
    found = model.predict_hits(event.hits)
    assert ((found[:, 0::2] >= 0) & (found[:, 0::2] < 40)).all()
    assert (np.diff(found[:, 1::2], axis=1) <= 0).all()
    tracks = tracks_of(tmp_path / "model.pt", event.hits)
    assert len(tracks) > 0
    assert (tracks.n_hits >= 4).all()
    empty = Hits(np.arange(0), *np.zeros((3, 0)))
    assert len(tracks_of(tmp_path / "model.pt", empty)) == 0


def test_algorithm_refuses_other_classifiers():
    with pytest.raises(ModelError, match=r"architecture 'encreg'; .* understands unet"):
        UNet(model="encreg-redvid-10-50-linear").initialize()


@pytest.mark.parametrize("name", [LINEAR, HELICAL, "unet-paper-redvid-50-100-helical"])
def test_losses_are_those_of_the_joint_classes(name):
    """Products of the parameters' probabilities give the same losses as the probabilities of all classes."""
    task = make_task(tiny(name, smoothing=0.0, agreement_weight=1.0))
    torch.manual_seed(3)
    module = task.module()
    torch.nn.init.normal_(module.network.head.weight, std=0.5)
    network, bins = module.network, module.network.bins
    batch = pack([task.source("train")(i) for i in range(3)], bins.names)
    entropy, together, apart, logs = module.losses(batch)
    joint = logs[..., 0]
    first = 1
    for n in network.shape:
        part = logs[..., first : first + n].view(*logs.shape[:2], *[1] * (joint.dim() - 2), n)
        joint = joint[..., None] + part
        first += n
    joint = joint.flatten(1)
    assert joint.shape[1] == bins.n_classes
    classes = torch.from_numpy(bins.classes(batch.targets.numpy()))
    wanted = -joint.gather(1, classes[:, None]).mean()
    torch.testing.assert_close(entropy, wanted, rtol=1e-4, atol=1e-5)
    losses = agreement_loss(
        [joint.exp()[:, None]], batch.particle, batch.packing.lengths, task.config.anchors
    )
    for mine, theirs in zip((together, apart), losses, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)


def test_learns_straight_tracks():
    """Within some optimiser steps of a small network, hits agree far better than where each knows its own place."""
    task = make_task(tiny(LINEAR, dataset_settings={"tracks": [20, 25]}, bins={"phi": 90, "theta": 60}))
    torch.manual_seed(1)
    module = task.module()
    batches = task.training_batches(0)
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        entropy, together, apart, _ = module.losses(next(batches))
        optimizer.zero_grad()
        (0.5 * entropy + together + apart).backward()
        optimizer.step()
        losses.append((entropy.item(), together.item() + apart.item()))
    first, last = np.mean(losses[:3], axis=0), np.mean(losses[-5:], axis=0)
    assert last[0] < 0.6 * first[0]
    assert last[1] < 0.75 * first[1]


def test_weights_are_taken_over(finished):
    config = tiny("unet-redvid-50-100-helical", start_from=str(finished))
    network = make_task(config).module().network
    state = torch.load(finished, weights_only=True)["state_dict"]
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, state[f"network.{name}"], rtol=0, atol=0)
    with pytest.raises(ConfigurationError, match="other settings: extent, image, pixels"):
        make_task(tiny(LINEAR, start_from=str(finished))).module()
