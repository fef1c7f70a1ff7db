"""EncEmb: blocks hold every hit once, padding and neighbours in the batch change nothing, far hits do not interact."""

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import load_model, pack, save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import ModelError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.encemb import Blocks, EncEmb, EncEmbConfig, PatchConfig

PATCHES = (
    {},
    {"bending": 0.4, "shift": 0.5, "aspect": 0.6},
    {"origin": 0.06, "aspect": 2.0, "shift": 0.25},
    {"turning": -1, "shift": 0.25},
)
SIZES = {"d_model": 16, "n_heads": 2, "d_ff": 16, "block_size": 32, "embedding": 4, "patches": PATCHES}


@pytest.fixture
def network():
    torch.manual_seed(1)
    return EncEmb(EncEmbConfig(**SIZES)).eval()


def random_hits(n, seed=1):
    rng = np.random.default_rng(seed)
    r, phi, eta = rng.uniform(30, 1000, n), rng.uniform(-np.pi, np.pi, n), rng.uniform(-3, 3, n)
    return torch.tensor(
        np.stack([r * np.cos(phi), r * np.sin(phi), r * np.sinh(eta)], 1), dtype=torch.float32
    )


def embed(network, hits):
    with torch.inference_mode():
        return network(hits[None], torch.ones(1, len(hits), dtype=torch.bool))[0]


@pytest.mark.parametrize("patch", PATCHES)
@pytest.mark.parametrize("lengths", [(1,), (32,), (33,), (100, 3, 31), (500, 1, 64)])
def test_blocks_hold_each_hit_once_and_one_event_only(patch, lengths):
    config = EncEmbConfig(**SIZES)
    sorter = Blocks(config, PatchConfig(**patch))
    counts = torch.tensor(lengths)
    event = torch.repeat_interleave(torch.arange(len(lengths)), counts)
    hits = random_hits(int(counts.sum()))
    slots, filled, slot_of_hit = sorter(*sorter.coordinates(hits), event, counts)
    assert sorted(slots[filled].tolist()) == list(range(len(hits)))
    assert (slots.view(-1)[slot_of_hit] == torch.arange(len(hits))).all()
    assert slots.shape[1] <= 32
    for row, real in zip(slots, filled, strict=True):
        assert len(set(event[row[real]].tolist())) == 1
        # Blocks of an event are as large as each other, so little is wasted.
    sizes = filled.sum(dim=1)
    of_block = event[slots[:, 0]]
    for number, n in enumerate(lengths):
        own = sizes[of_block == number]
        assert len(own) == -(-n // 32)
        assert own.max() - own.min() <= 1


def test_tracks_of_one_hypothesis_are_points_of_the_plane():
    """A helix from the layer's origin with the layer's bending has one pseudorapidity and azimuth (small angles)."""
    sorter = Blocks(EncEmbConfig(**SIZES), PatchConfig(bending=0.1, origin=0.05))
    r = torch.linspace(30.0, 1000.0, 20)
    phi = 1.0 - 0.1e-3 * r
    hits = torch.stack([r * torch.cos(phi), r * torch.sin(phi), 50.0 + 0.7 * r], dim=1)
    eta, azimuth = sorter.coordinates(hits)
    torch.testing.assert_close(eta, torch.full_like(eta, float(np.arcsinh(0.7))), rtol=0, atol=1e-5)
    torch.testing.assert_close(azimuth, torch.full_like(azimuth, 1.0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("direction", [1, -1])
def test_helices_from_azimuth_0_are_points_of_the_turning_plane(direction):
    """r = a t, phi = +-t, z = b t, seam of the azimuth included; the other direction of turning is spread."""
    t = torch.linspace(0.5, 6.5, 25)
    hits = torch.stack([1.2 * t * torch.cos(t), direction * 1.2 * t * torch.sin(t), -1.6 * t], dim=1)
    eta, length = Blocks(EncEmbConfig(**SIZES), PatchConfig(turning=direction)).coordinates(hits)
    torch.testing.assert_close(eta, torch.full_like(eta, float(np.arcsinh(-1.6 / 1.2))), rtol=0, atol=1e-5)
    torch.testing.assert_close(length, torch.full_like(length, float(np.log(2.0))), rtol=0, atol=1e-5)
    _, other = Blocks(EncEmbConfig(**SIZES), PatchConfig(turning=-direction)).coordinates(hits)
    assert other.std() > 0.5


@pytest.mark.parametrize("n", [1, 5, 32, 33, 150])
def test_padding_and_other_events_change_nothing(network, n):
    alone = embed(network, random_hits(n))
    features = torch.zeros(3, 200, 3)
    mask = torch.zeros(3, 200, dtype=torch.bool)
    features[0, :200], mask[0] = random_hits(200, seed=2), True
    features[1, :n], mask[1, :n] = random_hits(n), True
    with torch.inference_mode():
        batch = network(features, mask)
    torch.testing.assert_close(batch[1, :n], alone, rtol=1e-4, atol=1e-5)
    assert (batch[1, n:] == 0).all()
    assert (batch[2] == 0).all()


def test_order_of_hits_does_not_matter(network):
    hits = random_hits(150)
    order = torch.from_numpy(np.random.default_rng(3).permutation(150))
    torch.testing.assert_close(embed(network, hits)[order], embed(network, hits[order]), rtol=1e-4, atol=1e-5)


def test_attention_is_local():
    """With one layer, moving a hit changes the embeddings of its block only."""
    torch.manual_seed(1)
    config = EncEmbConfig(**{**SIZES, "patches": ({},)})
    network = EncEmb(config).eval()
    hits = random_hits(320)
    before = embed(network, hits)
    moved = hits.clone()
    moved[7] *= 1.0001
    changed = (embed(network, moved) - before).abs().amax(dim=1) > 0
    assert changed[7]
    assert 2 <= int(changed.sum()) <= 32


@pytest.mark.parametrize("cached", [1, 40, 10**6])
def test_a_few_blocks_at_a_time_give_the_same_as_all_at_once(network, cached):
    """With gradients, and on a GPU, a layer takes all blocks at once."""
    hits = torch.cat([random_hits(211, 1), random_hits(90, 2)])[None]
    mask = torch.ones(1, hits.shape[1], dtype=torch.bool)
    whole = network(hits, mask)
    network.cached_hits = cached
    with torch.no_grad():
        torch.testing.assert_close(network(hits, mask), whole, rtol=0, atol=1e-6)


def test_both_ways_of_attention_agree(network):
    hits = random_hits(100)
    fused = embed(network, hits)
    for layer in network.layers:
        layer.written_out = True
    torch.testing.assert_close(embed(network, hits), fused, rtol=1e-4, atol=1e-5)


def test_kernel_start_prefers_near_hits():
    config = EncEmbConfig(**{**SIZES, "d_model": 64, "block_size": 400})
    torch.manual_seed(1)
    network = EncEmb(config)
    network.start_as_kernel(1.0)
    hits = random_hits(400) * 0.1
    # The same direction, other radius: what the first layer shall find.
    hits[1] = hits[0] * 1.5
    sorter, layer = network.sorters[0], network.layers[0]
    eta, phi = sorter.coordinates(hits)
    x = network.inputs(hits) + network.positions[0](network.fourier(eta, phi))
    q, k, _ = layer.qkv(layer.norm1(x)).view(400, 3, 2, 32).unbind(1)
    weight = torch.softmax(torch.einsum("hd,nhd->hn", q[0], k) / 32**0.5, dim=1)
    assert weight[0, 1] > 20 * weight[0, 2:].median()
    assert weight[:, :2].sum(dim=1).min() > 0.5


def test_kernel_start_needs_room():
    with pytest.raises(ValueError, match="d_model"):
        EncEmb(EncEmbConfig(**SIZES)).start_as_kernel(1.0)


def card():
    return ModelCard(
        name="tiny-encemb",
        architecture="encemb",
        hyperparameters=EncEmbConfig(**SIZES).model_dump(mode="json"),
        features=("x", "y", "z"),
        units=dict.fromkeys("xyz", "mm"),
        coordinate_system="cartesian",
        detectors=("generic",),
        outputs=tuple(f"embedding_{i}" for i in range(4)),
        output_scales=(1.0,) * 4,
    )


def test_archive_gives_the_same_embedding(network, tmp_path):
    model = load_model(save_torchscript(network, card(), tmp_path / "tiny.pt"))
    hits = random_hits(150)
    np.testing.assert_allclose(
        model.predict(hits.numpy()), embed(network, hits).numpy(), rtol=1e-4, atol=1e-5
    )
    assert model.predict(np.zeros((0, 3), dtype=np.float32)).shape == (0, 4)
    again = build_network(model.card.architecture, model.card.hyperparameters)
    again.load_state_dict(network.state_dict())


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_sorting_by_value_cannot_be_exported_as_a_graph(suffix, network, capsys):
    """And the error is a line, not torch's pages of the graph."""
    if suffix == ".onnx":
        pytest.importorskip("onnxscript")
    with pytest.raises(
        ModelError, match=r"cannot be exported .*; the format \.pt holds every network$"
    ) as caught:
        pack(network, card(), suffix)
    assert len(str(caught.value).splitlines()) == 1
    assert not "".join(capsys.readouterr())


def test_heads_divide_the_width():
    with pytest.raises(ValueError, match="multiple"):
        EncEmb(EncEmbConfig(**{**SIZES, "n_heads": 3}))
