"""Networks of torch's own layers are networks: their code, members and values pass."""

from __future__ import annotations

import pytest
import torch
from model_fixtures import make_card
from torch import nn

from mltrack_plugin.archives import torchscript
from mltrack_plugin.archives.safezip import read_checked

LAYERS: list[nn.Module] = [
    nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    nn.TransformerEncoder(
        nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", norm_first=True),
        1,
        enable_nested_tensor=False,
    ),
    nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.BatchNorm1d(4), nn.Dropout(), nn.Softmax(-1)),
    nn.Sequential(nn.Conv1d(3, 4, 3, padding="same"), nn.GroupNorm(2, 4), nn.SiLU(), nn.AdaptiveAvgPool1d(2)),
    nn.Sequential(
        nn.Conv2d(3, 4, 3, padding_mode="circular"), nn.BatchNorm2d(4), nn.LeakyReLU(), nn.MaxPool2d(2)
    ),
    nn.Sequential(
        nn.ConvTranspose2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True), nn.Upsample(scale_factor=2)
    ),
    nn.GRU(3, 4, 2, bidirectional=True),
    nn.LSTM(3, 4),
    nn.EmbeddingBag(4, 4),
    nn.ModuleDict({"a": nn.Bilinear(3, 3, 2), "b": nn.PReLU()}),
]


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_of_torch(layer: nn.Module) -> None:
    content = torchscript.save(layer, make_card())
    archive = read_checked(content, "test")
    assert torchscript.read_card(archive, "test") == make_card()
    found = torchscript.TorchScriptEngine(archive, "cpu", "test").state_dict()
    assert {name: tuple(value.shape) for name, value in found.items()} == {
        name: tuple(value.shape) for name, value in layer.state_dict().items()
    }
    assert all(torch.equal(found[name], value) for name, value in layer.state_dict().items())
