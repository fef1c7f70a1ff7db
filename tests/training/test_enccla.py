"""Training of EncCla: from the tiny configuration to a model archive, warm starts, losses."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.archives.checkpoint import export_checkpoint, load_checkpoint
from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event
from mltrack_plugin.training.class_start import started_from
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.losses import agreement_loss, class_loss
from mltrack_plugin.training.run import train
from mltrack_plugin.training.targets import hit_targets
from mltrack_plugin.training.tasks import make_task

NAME = "enccla-redvid-10-50-linear"


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    config = load_training_config(NAME, tiny=True)
    return train(config, tmp_path_factory.mktemp("run"), device="cpu", threads=1, progress=False)


def event(index, tracks=(4, 8)):
    return redvid_event(RedvidConfig(tracks=tracks), [1, index])


def test_tiny_training_becomes_a_model(finished, tmp_path):
    export_checkpoint(finished, tmp_path / "model.pt")
    model = load_model(tmp_path / "model.pt")
    assert model.card.outputs == ("class", "probability", "second_class", "second_probability")
    assert model.card.detectors == ("redvid",)
    bins = [(b["name"], len(b["edges"]) - 1) for b in model.card.hyperparameters["bins"]]
    assert bins == [("phi", 6), ("theta", 4)]
    found = model.predict_hits(event(0).hits)
    assert (found[:, (0, 2)] == np.round(found[:, (0, 2)])).all()
    assert ((found[:, (0, 2)] >= 0) & (found[:, (0, 2)] < 24)).all()
    assert (found[:, 1] >= found[:, 3]).all()
    assert (found[:, 1] + found[:, 3] <= 1.0 + 1e-6).all()


def test_bins_hold_equally_many_hits():
    task = make_task(load_training_config(NAME, tiny=True))
    bins = task.module().network.bins
    events = [task.source("train")(i) for i in range(20)]
    values = np.concatenate([hit_targets(e.particles, e.truth_links, bins.names)[0] for e in events])
    for column, n in enumerate(bins.shape):
        counts = np.bincount(bins.indices(values)[:, column], minlength=n)
        # The hits of a particle share its value, so counts differ by those of a particle.
        assert counts.max() - counts.min() <= 20


def test_classifier_goes_on_where_it_stopped(finished):
    config = load_training_config(NAME, tiny=True, start_from=str(finished))
    task = make_task(config)
    module = task.module()
    network = module.network
    assert task.card(module)["training_recipe"]["started_from"] == finished.name
    before, _ = load_checkpoint(finished)
    for name, value in before.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)
    for mine, theirs in zip(network.bins.edges, before.bins.edges, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("rounds", [0, 4])
def test_start_from_regression_knows_the_classes(rounds):
    """Untrained as a classifier, it finds the bin of the azimuth, and of the polar angle to a neighbour."""
    events = [event(i, (20, 30)) for i in range(60)]
    settings = {"d_model": 64, "n_heads": 4, "d_ff": 128, "n_layers": 6, "norm_first": True}
    settings |= {"phi_frequencies": (1, 2, 4, 8, 16, 32), "eta_frequencies": (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)}
    values = np.concatenate([hit_targets(e.particles, e.truth_links, ("phi", "theta"))[0] for e in events])
    bins = QuantileBins.measured(values, {"phi": 12, "theta": 8})
    settings |= {"input_scale": (10.0,) * 3, "consensus_rounds": rounds}
    # All shapes agree; only the settings tell that the hits would be seen where they are, not on the layers.
    with pytest.raises(ConfigurationError, match=r"another encoder \(surfaces differs"):
        started_from(settings, bins, "encreg-redvid-10-50-linear", events)
    _, card = eager_network("encreg-redvid-10-50-linear")
    settings["surfaces"] = card.hyperparameters["surfaces"]
    network = started_from(settings, bins, "encreg-redvid-10-50-linear", events).eval()
    narrow = started_from(settings, bins, "encreg-redvid-10-50-linear", events, width=0.25)
    torch.testing.assert_close(
        network.log_width - narrow.log_width, torch.full_like(network.log_width, np.log(2))
    )
    test = event(1000, (20, 30))
    target, _ = hit_targets(test.particles, test.truth_links, ("phi", "theta"))
    with torch.no_grad():
        hits = torch.from_numpy(np.array(test.hits.positions, dtype=np.float32))[None]
        found = network(hits, torch.ones(1, len(target), dtype=torch.bool))[0].numpy()
    index = np.stack(np.unravel_index(found[:, 0].astype(np.int64), bins.shape), axis=1)
    right = index - bins.indices(target)
    assert np.mean(right[:, 0] == 0) > 0.8
    assert np.mean(np.abs(right[:, 1]) <= 1) > 0.95


def test_flash_attention_is_refused_before_any_work():
    task = make_task(load_training_config(NAME, tiny=True, attention="flash"))
    with pytest.raises(ConfigurationError, match="half precision"):
        task.check("cpu")
    make_task(load_training_config(NAME, tiny=True, attention="math")).check("cpu")


def test_starts_from_something_else_are_refused(finished):
    config = load_training_config(NAME, tiny=True)
    with pytest.raises(ConfigurationError, match=r"another encoder"):
        make_task(config.model_copy(update={"start_from": "encreg-redvid-10-50-linear"})).module()
    with pytest.raises(ConfigurationError, match=r"no EncReg or EncCla but encemb"):
        make_task(config.model_copy(update={"start_from": "encemb-generic"})).module()
    other = config.model_copy(update={"start_from": str(finished), "bins": {"phi": 5, "theta": 4}})
    with pytest.raises(ConfigurationError, match=r"bins \{'phi': 6, 'theta': 4\}, not \{'phi': 5"):
        make_task(other).module()


def test_class_loss_is_the_cross_entropy_of_shared_labels():
    probability = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1], [0.9, 0.05, 0.05]])
    classes = torch.tensor([[0, 1], [1, 2], [2, 0]])
    weights = torch.tensor([[0.5, 0.5], [1.0, 0.0], [0.0, 0.0]])
    wanted = -(0.5 * math.log(0.5) + 0.5 * math.log(0.25) + math.log(0.8)) / 2
    assert float(class_loss(probability.log(), classes, weights)) == pytest.approx(wanted, rel=1e-5)


def test_agreement_asks_for_one_class_a_particle_whichever():
    particle = torch.tensor([0, 0, 0, 1, 1, 1, -1])

    def losses(classes):
        # A second event that is right in every respect, in the classes of the first.
        probability = torch.nn.functional.one_hot(torch.tensor([*classes, 0, 0]), 4).float()
        rows = torch.cat([particle, torch.tensor([0, 0])])
        together, apart = agreement_loss([probability[:, None]], rows, (7, 2), max_anchors=7)
        # Means over the anchors of both events: all hits but the noise.
        return float(together) * 8 / 6, float(apart) * 8 / 6

    worst = -math.log(1e-6)
    for right in ([0, 0, 0, 1, 1, 1, 1], [3, 3, 3, 2, 2, 2, 0]):
        assert losses(right) == pytest.approx((0.0, 0.0), abs=1e-4)
    # Both particles in one class: each hit meets three of the other particle.
    assert losses([0] * 7) == pytest.approx((0.0, 3 * worst), rel=1e-2, abs=1e-4)
    # One hit of the first particle astray: its two pairs, of the particle's three, are lost for both ends.
    together, apart = losses([2, 0, 0, 1, 1, 1, 1])
    assert together == pytest.approx((worst + 0.5 * worst + 0.5 * worst) / 6, rel=1e-2)
    assert apart == pytest.approx(0.0, abs=1e-4)
