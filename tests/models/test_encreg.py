"""The EncReg network: published sizes, equality with torch's own encoder, symmetry, masks, start, surfaces."""

import numpy as np
import pytest
import torch
from torch import nn

from mltrack_plugin.archives.archive import load_model, pack
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.models.encreg import EncReg, EncRegConfig


def raw(d_model, n_heads, n_outputs, **changes):
    constants = {"output_mean": (0.0,) * n_outputs, "output_scale": (1.0,) * n_outputs}
    return EncReg(EncRegConfig(d_model=d_model, n_heads=n_heads, inputs="raw", **constants, **changes)).eval()


@pytest.mark.parametrize(
    ("d_model", "n_heads", "n_outputs", "parameters"),
    [(32, 4, 4, 76_484), (32, 4, 3, 76_451), (64, 8, 3, 201_283)],
)
def test_published_sizes(d_model, n_heads, n_outputs, parameters):
    assert sum(p.numel() for p in raw(d_model, n_heads, n_outputs).parameters()) == parameters


def test_equals_torch_encoder():
    """The published architecture is nn.TransformerEncoder between two linear layers (post-norm, ReLU)."""
    torch.manual_seed(1)
    network = raw(32, 4, 3)
    layer = nn.TransformerEncoderLayer(32, 4, 128, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False).eval()
    names = {
        "qkv.weight": "self_attn.in_proj_weight",
        "qkv.bias": "self_attn.in_proj_bias",
        "out.": "self_attn.out_proj.",
        "up.": "linear1.",
        "down.": "linear2.",
    }
    state = {}
    for name, value in network.blocks.state_dict().items():
        target = name
        for mine, theirs in names.items():
            target = target.replace(mine, theirs)
        state[f"layers.{target}"] = value
    encoder.load_state_dict(state)
    features = torch.randn(2, 17, 3)
    mask = torch.ones(2, 17, dtype=torch.bool)
    mask[1, 11:] = False
    with torch.no_grad():
        hidden = encoder(network.embedding.linear(features), src_key_padding_mask=~mask)
        expected = network.head(hidden)
        found = network(features, mask)
    torch.testing.assert_close(found[mask], expected[mask], rtol=1e-5, atol=1e-5)


@pytest.fixture
def expanded():
    torch.manual_seed(2)
    return EncReg(
        EncRegConfig(n_layers=2, norm_first=True, input_scale=(10.0,) * 3, turning_features=True)
    ).eval()


def test_order_of_hits_does_not_matter(expanded):
    hits = 5 * torch.randn(1, 20, 3)
    mask = torch.ones(1, 20, dtype=torch.bool)
    order = torch.randperm(20)
    with torch.no_grad():
        torch.testing.assert_close(
            expanded(hits, mask)[:, order], expanded(hits[:, order], mask), rtol=1e-4, atol=1e-5
        )


def test_padding_does_not_matter(expanded):
    hits = 5 * torch.randn(1, 20, 3)
    padded = torch.cat([hits, torch.zeros(1, 7, 3)], dim=1)
    mask = torch.arange(27)[None] < 20
    with torch.no_grad():
        alone = expanded(hits, torch.ones(1, 20, dtype=torch.bool))
        torch.testing.assert_close(expanded(padded, mask)[:, :20], alone, rtol=1e-4, atol=1e-5)


def test_outputs_have_the_constants_of_the_config():
    torch.manual_seed(3)
    config = EncRegConfig(n_layers=1, output_mean=(2.0, -1.0), output_scale=(0.5, 3.0))
    network = EncReg(config).eval()
    hits, mask = torch.randn(1, 4, 3), torch.ones(1, 4, dtype=torch.bool)
    with torch.no_grad():
        expected = network.normalised(hits, mask) * torch.tensor([0.5, 3.0]) + torch.tensor([2.0, -1.0])
        torch.testing.assert_close(network(hits, mask), expected)


def test_kernel_start_attends_to_the_same_direction():
    torch.manual_seed(4)
    frequencies = {"phi_frequencies": (4, 8, 16, 32), "eta_frequencies": (4.0, 8.0, 16.0, 32.0)}
    config = EncRegConfig(d_model=64, n_heads=4, norm_first=True, input_scale=(10.0,) * 3, **frequencies)
    network = EncReg(config).eval()
    network.start_as_kernel(1.0)
    phi, slope = torch.tensor([0.3, 0.9, -2.0]), torch.tensor([0.2, 0.25, 1.0])
    z = torch.arange(2.0, 8.0)
    r = slope[:, None] * z
    hits = torch.stack([r * phi.cos()[:, None], r * phi.sin()[:, None], z.expand(3, 6)], dim=-1).reshape(
        1, 18, 3
    )
    track = torch.arange(3).repeat_interleave(6)
    with torch.no_grad():
        block = network.blocks[0]
        qkv = block.qkv(block.norm1(network.embedding(hits))).view(1, 18, 3, 4, 16)
        logits = torch.einsum("bnhd,bmhd->bhnm", qkv[:, :, 0], qkv[:, :, 1]) / 4.0
        same = (logits.softmax(dim=-1) * (track[:, None] == track)).sum(dim=-1)
    # Three tracks of six hits: attention without preference would give 1/3.
    assert same.min() > 0.9


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="not a multiple"):
        EncReg(EncRegConfig(d_model=30, n_heads=4))
    with pytest.raises(ValueError, match="kernel start"):
        raw(32, 4, 3).start_as_kernel(1.0)


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
def test_hits_are_put_onto_surfaces_in_all_formats(suffix, tmp_path):
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    torch.manual_seed(1)
    sizes = {"d_model": 16, "n_heads": 2, "d_ff": 16, "n_layers": 1, "output_mean": (0.0,) * 2}
    sizes |= {"output_scale": (1.0,) * 2, "turning_features": True}
    layers = {
        "discs": (-3, 3),
        "barrels": (4, 5),
        "barrel_z": 2.5,
        "barrel_distance": 0.2,
        "disc_distance": 0.5,
    }
    network = EncReg(EncRegConfig(**sizes, surfaces=layers)).eval()
    plain = EncReg(EncRegConfig(**sizes)).eval()
    plain.load_state_dict(network.state_dict())
    # On a disc, on a barrel, on neither.
    smeared = torch.tensor([[[1.0, 0.5, 3.1], [3.0, 2.6, -1.0], [1.0, 1.0, 0.5]]])
    placed = smeared.clone()
    placed[0, 0, 2] = 3.0
    placed[0, 1, :2] *= 4.0 / smeared[0, 1, :2].norm()
    mask = torch.ones(1, 3, dtype=torch.bool)
    with torch.no_grad():
        wanted = plain(placed, mask)
        torch.testing.assert_close(network(smeared, mask), wanted)
        assert (plain(smeared, mask) - wanted).abs().max() > 1e-3
    card = ModelCard(
        name="tiny-encreg",
        architecture="encreg",
        hyperparameters=EncRegConfig(**sizes, surfaces=layers).model_dump(mode="json"),
        features=("x", "y", "z"),
        units=dict.fromkeys("xyz", "mm"),
        coordinate_system="cartesian",
        detectors=("generic",),
        outputs=("a", "b"),
        output_scales=(1.0, 1.0),
    )
    path = tmp_path / f"tiny{suffix}"
    path.write_bytes(pack(network, card, suffix))
    np.testing.assert_allclose(
        load_model(path).predict(smeared[0].numpy()), wanted[0].numpy(), rtol=1e-4, atol=1e-4
    )
