"""EncCla with local attention: two best classes, padding, what the consensus compares and averages, archive."""

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import load_model, save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.models import build_network
from mltrack_plugin.models.attention import Packing
from mltrack_plugin.models.consensus import OUTPUTS, consensus
from mltrack_plugin.models.enccla_local import EncClaLocal, EncClaLocalConfig

SIZES = {
    "d_model": 32,
    "n_heads": 2,
    "d_ff": 32,
    "block_size": 16,
    "embedding": 4,
    "parameters": 2,
    "consensus_rounds": 3,
    "patches": ({"aspect": 1.0}, {"bending": 0.4, "shift": 0.5}),
    "bins": (
        {"name": "phi", "edges": np.linspace(-np.pi, np.pi, 7).tolist()},
        {"name": "q", "edges": [-1.0, 0.0, 1.0]},
    ),
}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(1)
    return EncClaLocal(EncClaLocalConfig(**SIZES)).eval()


def random_hits(n, seed=1):
    return 300.0 * torch.randn(1, n, 3, generator=torch.Generator().manual_seed(seed))


def whole(hits):
    return torch.ones(hits.shape[:2], dtype=torch.bool)


def test_output_is_the_two_best_classes(network):
    hits = random_hits(40)
    with torch.no_grad():
        probability = torch.softmax(network.logits_packed(hits[0], Packing.of([40])), dim=1)
        found = network(hits, whole(hits))[0]
    value, number = probability.sort(dim=1, descending=True)
    assert found.shape == (40, 4)
    for column, wanted in enumerate((number[:, 0], value[:, 0], number[:, 1], value[:, 1])):
        torch.testing.assert_close(found[:, column], wanted.float(), rtol=1e-5, atol=1e-6)


def test_padding_and_other_events_do_not_matter(network):
    one, two = random_hits(40), random_hits(23, seed=2)
    both = torch.zeros(3, 45, 3)
    both[0, :40], both[2, :23] = one[0], two[0]
    mask = torch.zeros(3, 45, dtype=torch.bool)
    mask[0, :40] = mask[2, :23] = True
    with torch.no_grad():
        found = network(both, mask)
        for row, hits in ((0, one), (2, two)):
            alone = network(hits, whole(hits))[0]
            torch.testing.assert_close(found[row, : hits.shape[1]], alone, rtol=1e-4, atol=1e-5)
        packed = network.logits_packed(torch.cat([one[0], two[0]]), Packing.of([40, 0, 23]))
        apart = [network.logits_packed(hits[0], Packing.of([hits.shape[1]])) for hits in (one, two)]
    assert not found[~mask].any()
    torch.testing.assert_close(packed, torch.cat(apart), rtol=1e-4, atol=1e-4)


def test_hits_near_in_the_compared_columns_agree_on_the_others():
    """Two groups, near each other in the second column alone, which is not compared."""
    x = torch.tensor([[0.0, 1.0], [0.1, 1.2], [0.2, 1.4], [9.0, 1.1], [9.2, 1.3]])
    moved = consensus(x[None], torch.zeros(1), 4, None)[0]
    for group in (slice(0, 3), slice(3, 5)):
        torch.testing.assert_close(moved[group], x[group].mean(0).expand_as(moved[group]), rtol=0, atol=1e-3)


def test_archive_gives_the_same_classes(network, tmp_path):
    card = ModelCard(
        name="tiny-enccla-local",
        architecture="enccla-local",
        hyperparameters=EncClaLocalConfig(**SIZES).model_dump(mode="json"),
        features=("x", "y", "z"),
        units=dict.fromkeys("xyz", "mm"),
        coordinate_system="cartesian",
        detectors=("generic",),
        outputs=OUTPUTS,
        output_scales=(1.0,) * 4,
    )
    model = load_model(save_torchscript(network, card, tmp_path / "tiny.pt"))
    hits = random_hits(50)
    with torch.no_grad():
        wanted = network(hits, whole(hits))[0].numpy()
    np.testing.assert_allclose(model.predict(hits[0].numpy()), wanted, rtol=1e-4, atol=1e-5)
    assert model.predict(np.zeros((0, 3), dtype=np.float32)).shape == (0, 4)
    again = build_network(model.card.architecture, model.card.hyperparameters)
    again.load_state_dict(network.state_dict())
    assert again.bins.names == ("phi", "q")
