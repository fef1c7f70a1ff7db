"""Training of the refiner: what is true of a damaged cluster, batches, and that it learns."""

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import load_model, save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.refiner import majority
from mltrack_plugin.training.tasks import make_task

NAMES = ("refiner-redvid-linear", "refiner-redvid-helical")


def tiny(name=NAMES[0], **changes):
    return make_task(load_training_config(name, tiny=True, **changes))


def test_majority_and_its_ties():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 2, -1, 3])
    particle = np.array([5, 5, 2, 1, 1, 4, 4, -1, 5, 0])
    distance = np.array([1.0, 2, 3, 4, 5, 0.5, 6, 1, 1, 1])
    assert majority(labels, particle, distance, 4).tolist() == [5, 4, -1, 0]
    assert majority(labels, particle, -distance, 4).tolist() == [5, 4, -1, 0]
    assert majority(labels[:0], particle[:0], distance[:0], 2).tolist() == [-1, -1]


@pytest.mark.parametrize("name", NAMES)
def test_batches_hold_the_truth_of_their_sets(name):
    task = tiny(name, corruption={"swapped": 0.3, "dropped": 0.3, "merged": 0.3, "cut": 0.3, "untouched": 0})
    first = next(task.training_batches(3))
    again = next(tiny(name, corruption=task.config.corruption.model_dump()).training_batches(3))
    for mine, theirs in zip(first, again, strict=True):
        torch.testing.assert_close(mine, theirs)
    assert set(first.truth.unique().tolist()) == {0.0, 1.0}
    assert (first.truth[~first.mask] == 0).all()
    # No cluster holds more hits of its particle than there are, and its own are the most.
    assert (first.truth.sum(dim=1) <= first.total).all()
    own = first.weight > 0
    assert ((first.truth * own).sum(dim=1) >= 1)[first.total > 0].all()
    assert first.targets.abs().max() <= 4


def test_true_clusters_are_all_true():
    task = tiny(corruption={"untouched": 1}, dataset_settings={"tracks": [5, 5], "noise": 0.0})
    batch = next(task.training_batches(0))
    assert (batch.truth == (batch.weight > 0)).all()
    assert (batch.truth.sum(dim=1) == batch.total).all()


def test_it_learns_and_becomes_a_model(tmp_path):
    torch.manual_seed(1)
    task = tiny(training_events=40, batch_size=8, dataset_settings={"tracks": [6, 10]})
    module = task.module()
    optimizer = torch.optim.Adam(module.parameters(), lr=5e-3)
    batches = task.training_batches(0)
    losses = []
    for _ in range(60):
        terms = module.losses(next(batches))
        optimizer.zero_grad()
        (terms[0] + 0.3 * terms[1] + 0.05 * terms[2]).backward()
        optimizer.step()
        losses.append([term.item() for term in terms])
    assert (np.mean(losses[-10:], axis=0) < 0.6 * np.mean(losses[:5], axis=0)).all()
    card = ModelCard.from_mapping(task.card(module), "test")
    model = load_model(save_torchscript(module.network.eval(), card, tmp_path / "tiny.pt"))
    inputs = module.network.example_inputs()
    np.testing.assert_allclose(
        model.apply(*(a.numpy() for a in inputs)),
        module.network(*inputs).detach().numpy(),
        rtol=1e-4,
        atol=1e-5,
    )
    assert card.outputs[:2] == ("membership", "track")
    assert len(card.outputs) == 2 + 2 * len(task.config.targets)
