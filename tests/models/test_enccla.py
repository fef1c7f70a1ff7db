"""The EncCla network: published size, two best classes, padding, archives, bins in the card."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.archive import load_model, pack
from mltrack_plugin.models.attention import Packing
from mltrack_plugin.models.card import ModelCard
from mltrack_plugin.models.checkpoint import check_equal
from mltrack_plugin.models.enccla import OUTPUTS, EncCla, EncClaConfig
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


def card():
    return ModelCard(
        name="tiny-enccla",
        architecture="enccla",
        hyperparameters=EncClaConfig(**SIZES).model_dump(mode="json"),
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


def test_packed_events_give_the_same_logits(network):
    one, two = random_hits(20), random_hits(11, seed=2)
    with torch.no_grad():
        packed = network.logits_packed(torch.cat([one[0], two[0]]), Packing.of([20, 11]))
        for hits, found in zip((one, two), torch.split(packed, [20, 11]), strict=True):
            alone = network.logits(hits, torch.ones(hits.shape[:2], dtype=torch.bool))[0]
            torch.testing.assert_close(found, alone, rtol=1e-4, atol=1e-5)


def test_padding_and_order_do_not_matter(network):
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
def test_archives_give_the_same_classes(network, suffix, tmp_path):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    path = tmp_path / f"tiny{suffix}"
    path.write_bytes(pack(network, card(), suffix))
    model = load_model(path)
    assert check_equal(network, model) < 1e-3
    again = build_network(model.card.architecture, model.card.hyperparameters)
    again.load_state_dict(network.state_dict())
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
