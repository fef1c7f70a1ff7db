"""Training of the graph networks: batches, what turning leaves alone, losses, and the way to an archive."""

import itertools

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("acts")
pytest.importorskip("pythia8mc")

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.archives.checkpoint import export_checkpoint
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.published.heptrkx.graphs.construct import wrapped
from mltrack_plugin.published.heptrkx.graphs.samples import GraphSample
from mltrack_plugin.published.heptrkx.training.gnn import batch_of, turned
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.run import train
from mltrack_plugin.training.tasks import make_task

NAMES = ("gnn-segments", "gnn-hits")
TARGET = np.array([True, False, True, False])


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    """Where simulated collisions are kept, so that each is simulated once."""
    return str(tmp_path_factory.mktemp("banks"))


def tiny(name, banks, **changes):
    config = load_training_config(name, tiny=True)
    settings = {**config.dataset_settings, "bank_dir": banks}
    return load_training_config(name, tiny=True, dataset_settings=settings, **changes)


def sample(n_features=3):
    rng = np.random.default_rng(1)
    nodes = rng.uniform(-1, 1, (6, n_features)).astype(np.float32)
    edges = np.array([[0, 1, 2, 3], [2, 3, 4, 5]])
    return GraphSample(nodes, edges, TARGET, np.zeros(4, dtype=np.int64), TARGET)


def test_turning_leaves_all_differences_alone_up_to_the_mirror():
    before = sample()
    after = turned(before, np.random.default_rng(3))
    inner, outer = before.edges

    def steps(s):
        change = s.nodes[outer] - s.nodes[inner]
        return np.stack([change[:, 0], wrapped(change[:, 1]), np.abs(change[:, 2])], axis=1)

    assert not np.allclose(before.nodes[:, 1], after.nodes[:, 1])
    np.testing.assert_allclose(steps(before), steps(after), atol=1e-5)


def test_seeded_graphs_are_not_turned_but_mirrored():
    before = sample(4)
    seen = [turned(before, np.random.default_rng(i)).nodes for i in range(20)]
    assert all(np.allclose(np.abs(nodes), np.abs(before.nodes)) for nodes in seen)
    assert {(np.sign(n[0, 1]), np.sign(n[0, 2])) for n in seen} == set(itertools.product((-1, 1), repeat=2))


def test_every_graph_of_a_batch_weighs_the_same():
    one = np.ones(1, dtype=bool)
    small = GraphSample(np.zeros((2, 3), np.float32), np.array([[0], [1]]), one, np.zeros(1, np.int64), one)
    batch = batch_of([sample(), small])
    np.testing.assert_allclose(batch.weight, [0.125] * 4 + [0.5])
    np.testing.assert_array_equal(batch.edges[:, -1], [6, 7])


@pytest.mark.parametrize("name", NAMES)
def test_batches_depend_on_their_number_alone(name, banks):
    config = tiny(name, banks)
    whole = list(itertools.islice(make_task(config).training_batches(0), 4))
    rest = list(itertools.islice(make_task(config).training_batches(2), 2))
    for mine, other in zip(whole[2:], rest, strict=True):
        for first, second in zip(mine, other, strict=True):
            assert torch.equal(first, second)


@pytest.mark.parametrize("name", NAMES)
def test_losses_are_mean_cross_entropies_of_graphs(name, banks):
    task = make_task(tiny(name, banks))
    module, batch = task.module(), next(task.training_batches(0))
    logits, scores, weights = module.losses(batch)
    segments = module.network.logits(batch.nodes, batch.edges)[1]
    assert segments.shape == (2, batch.edges.shape[1])
    target = batch.same_particle.expand(2, -1)
    every = torch.nn.functional.binary_cross_entropy_with_logits(segments, target, reduction="none")
    alone = torch.nn.functional.binary_cross_entropy_with_logits(logits, batch.target, reduction="none")
    # Two graphs; elements of one graph have the same weight.
    parts = [batch.weight == value for value in batch.weight.unique()]
    torch.testing.assert_close(scores, torch.stack([alone[part].mean() for part in parts]).mean())
    if name == "gnn-segments":
        torch.testing.assert_close(weights, torch.stack([every[:, part].mean() for part in parts]).mean())
    else:
        torch.testing.assert_close(weights, every.mean())


def test_segments_of_other_particles_count_as_segments_of_particles(banks):
    batch = next(make_task(tiny("gnn-hits", banks)).training_batches(0))
    both = (batch.target[batch.edges] == 1).all(dim=0)
    # Those of the seed's track are among them, and there are others.
    assert (batch.same_particle[both] == 1).all()
    assert batch.same_particle.sum() > both.sum()


@pytest.mark.parametrize("name", NAMES)
def test_trains_and_becomes_an_archive(name, banks, tmp_path):
    last = train(tiny(name, banks), tmp_path / "run", device="cpu", threads=1, progress=False)
    model = export_checkpoint(last, tmp_path / "model.pt")
    card = load_model(tmp_path / "model.pt").card
    assert (card.kind, card.architecture, card.features[:3]) == ("graph", name, ("r", "phi", "z"))
    assert 0.0 <= card.metrics["val_threshold"] <= 1.0
    assert "bank_dir" not in card.training_data["settings"]
    assert model.card.parameters > 0


def test_events_that_give_no_graph_end_in_a_message(banks):
    config = tiny("gnn-segments", banks, max_edges=1)
    with pytest.raises(ConfigurationError, match=r"80 events of heptrkx-qcd give 0 graphs, 4 are asked for"):
        next(make_task(config).training_batches(0))
