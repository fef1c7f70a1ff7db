"""The EncCla network: published size, two best classes, padding, archives, bins in the card."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mltrack_plugin.archives.archive import load_model, pack
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.checkpoint import check_equal
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.attention import Packing
from mltrack_plugin.models.consensus import OUTPUTS
from mltrack_plugin.models.enccla import EncCla, EncClaConfig
from mltrack_plugin.training.config import load_training_config

BINS = (
    {"name": "phi", "edges": np.linspace(-np.pi, np.pi, 7).tolist()},
    {"name": "theta", "edges": [0.0, 0.7, 1.5, 2.4, 3.1]},
    {"name": "q", "edges": [-1.0, 0.0, 1.0]},
)
SIZES = {"d_model": 32, "n_heads": 4, "d_ff": 32, "n_layers": 1, "input_scale": (100.0,) * 3, "bins": BINS}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return EncCla(EncClaConfig(**SIZES)).eval()


@pytest.fixture(scope="module")
def network_with_consensus():
    torch.manual_seed(1)
    return EncCla(EncClaConfig(**SIZES, consensus_rounds=3)).eval()


def card(**changes):
    return ModelCard(
        name="tiny-enccla",
        architecture="enccla",
        hyperparameters=EncClaConfig(**SIZES, **changes).model_dump(mode="json"),
        features=("x", "y", "z"),
        units=dict.fromkeys("xyz", "mm"),
        coordinate_system="cartesian",
        detectors=("generic",),
        outputs=OUTPUTS,
        output_scales=(1.0,) * 4,
        validity={"r": (0.0, 1000.0), "z": (-1000.0, 1000.0)},
    )


def random_hits(n, seed=1):
    return 300.0 * torch.randn(1, n, 3, generator=torch.Generator().manual_seed(seed))


def test_published_size():
    config = load_training_config("enccla-trackml-200-500-published")
    assert config.bins == {"phi": 30, "theta": 30, "q": 2, "p": 3}
    edges = [{"name": name, "edges": list(range(n + 1))} for name, n in config.bins.items()]
    network = EncCla(EncClaConfig(**config.network, bins=edges))
    assert network.bins.n_classes == 5400
    block = 4 * 128 * 128 + 4 * 128 + 2 * 128 * 256 + 256 + 128 + 4 * 128
    assert sum(p.numel() for p in network.parameters()) == 4 * 128 + 6 * block + 129 * 5400
    assert (len(network.blocks), network.blocks[0].n_heads, network.blocks[0].dropout) == (6, 8, 0.1)


def test_output_is_the_two_best_classes(network):
    hits, mask = random_hits(20), torch.ones(1, 20, dtype=torch.bool)
    with torch.no_grad():
        probability = torch.softmax(network.logits(hits, mask), dim=2)
        found = network(hits, mask)
    assert found.shape == (1, 20, 4)
    order = probability.sort(dim=2, descending=True)
    for column, wanted in enumerate(
        (order.indices[..., 0], order.values[..., 0], order.indices[..., 1], order.values[..., 1])
    ):
        torch.testing.assert_close(found[..., column], wanted.float(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", ["network", "network_with_consensus"])
def test_packed_events_give_the_same_logits(which, request):
    network = request.getfixturevalue(which)
    one, two = random_hits(20), random_hits(11, seed=2)
    with torch.no_grad():
        packed = network.logits_packed(torch.cat([one[0], two[0]]), Packing.of([20, 11]))
        for hits, found in zip((one, two), torch.split(packed, [20, 11]), strict=True):
            alone = network.logits(hits, torch.ones(hits.shape[:2], dtype=torch.bool))[0]
            torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", ["network", "network_with_consensus"])
def test_padding_and_order_do_not_matter(which, request):
    network = request.getfixturevalue(which)
    hits = random_hits(20)
    padded = torch.cat([hits, torch.zeros(1, 7, 3)], dim=1)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(2))
    whole = torch.ones(1, 20, dtype=torch.bool)
    with torch.no_grad():
        alone = network.logits(hits, whole)
        with_padding = network.logits(padded, torch.arange(27)[None] < 20)[:, :20]
        shuffled = network.logits(hits[:, order], whole)
    torch.testing.assert_close(with_padding, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shuffled, alone[:, order], rtol=1e-4, atol=1e-5)


def test_consensus_brings_the_hits_of_a_group_together(network_with_consensus):
    """Three groups far apart: after the rounds each is a point at its mean, whatever the padding."""
    torch.manual_seed(3)
    center = torch.tensor([[0.0, 0.0, 0.0], [8.0, 0.0, 0.0], [0.0, 8.0, 1.0]])
    x = (center.repeat_interleave(5, 0) + 0.3 * torch.randn(15, 3))[None]
    with torch.no_grad():
        moved = network_with_consensus.consensus(x, None)
        padded = torch.cat([x, torch.full((1, 4, 3), 0.5)], dim=1)
        bias = network_with_consensus.key_bias(torch.arange(19)[None] < 15, torch.float32)
        again = network_with_consensus.consensus(padded, bias)[:, :15]
    torch.testing.assert_close(again, moved, rtol=1e-5, atol=1e-5)
    for group in range(3):
        own = slice(5 * group, 5 * group + 5)
        torch.testing.assert_close(moved[0, own].mean(0), x[0, own].mean(0), rtol=0, atol=0.1)
        assert moved[0, own].std(0).max() < 0.02
        assert x[0, own].std(0).max() > 0.2


def test_half_precision_does_not_round_the_numbers_of_classes():
    torch.manual_seed(1)
    bins = [{"name": "phi", "edges": list(range(1002))}]
    network = EncCla(EncClaConfig(**(SIZES | {"bins": bins}))).eval()
    hits, mask = random_hits(40), torch.ones(1, 40, dtype=torch.bool)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(hits, mask)[0, :, 0]
        logits = network.logits(hits, mask)[0]
    assert found.dtype == torch.float32
    # Not argmax: rounded logits may be equal.
    assert (logits.gather(1, found.long()[:, None])[:, 0] == logits.amax(dim=1)).all()


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
def test_archives_give_the_same_classes(network_with_consensus, suffix, tmp_path):
    network = network_with_consensus
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    path = tmp_path / f"tiny{suffix}"
    path.write_bytes(pack(network, card(consensus_rounds=3), suffix))
    model = load_model(path)
    assert check_equal(network, model) < 1e-3
    again = build_network(model.card.architecture, model.card.hyperparameters)
    again.load_state_dict(network.state_dict())
    assert again.rounds == 3
    # Nobody has to remember an edge: the card holds them.
    assert again.bins.names == ("phi", "theta", "q")
    low, high = again.bins.box(np.array([0, 47]))
    np.testing.assert_allclose(low, [[-np.pi, 0.0, -1.0], [2 * np.pi / 3, 2.4, 0.0]])
    np.testing.assert_allclose(high, [[-2 * np.pi / 3, 0.7, 0.0], [np.pi, 3.1, 1.0]])


def test_wrong_bins_are_refused():
    with pytest.raises(ValidationError, match="two classes"):
        EncClaConfig(bins=({"name": "q", "edges": [-1.0, 1.0]},))
    with pytest.raises(ConfigurationError, match="rising"):
        EncClaConfig(bins=({"name": "theta", "edges": [0.0, 2.0, 1.0]},))
