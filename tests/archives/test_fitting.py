"""Networks built from settings and weights that nobody vouches for."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from archive_cases import members
from model_fixtures import SETTINGS, card_content, make_network, write_checkpoint

from mltrack_plugin.archives.checkpoint import load_checkpoint, read_checkpoint
from mltrack_plugin.archives.fitting import network_with_weights
from mltrack_plugin.archives.safezip import write_canonical
from mltrack_plugin.errors import ModelError


@pytest.fixture
def weights() -> dict[str, Any]:
    return dict(make_network().state_dict())


def test_the_network_has_the_weights(weights: dict[str, Any]) -> None:
    network = network_with_weights("encreg", SETTINGS, weights, "test.ckpt")
    assert not network.training
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())
    halved = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    assert (
        network_with_weights("encreg", SETTINGS, halved, "test").state_dict()["head.bias"].dtype
        == torch.float32
    )


def test_constants_may_be_given_by_settings(weights: dict[str, Any]) -> None:
    del weights["output_mean"]
    network = network_with_weights("encreg", SETTINGS, weights, "test", given=("output_mean",))
    assert network.state_dict()["output_mean"].tolist() == SETTINGS["output_mean"]
    del weights["head.bias"]
    with pytest.raises(ModelError, match=r"head\.bias"):
        network_with_weights("encreg", SETTINGS, weights, "test", given=("output_mean",))


@pytest.mark.parametrize(
    "settings",
    [
        {"d_model": 2**20, "n_heads": 1, "d_ff": 2**20},
        {"n_layers": 10**9},
        {"d_ff": 10**10},
    ],
)
def test_settings_of_a_giant(weights: dict[str, Any], settings: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=r"test\.ckpt: .*settings describe a far larger network"):
        network_with_weights("encreg", SETTINGS | settings, weights, "test.ckpt")


@pytest.mark.parametrize(
    ("architecture", "settings", "change"),
    [
        (3, SETTINGS, {}),
        (["encreg"], SETTINGS, {}),
        ("encreg", None, {}),
        ("encreg", [1], {}),
        ("encreg", SETTINGS | {"n_layers": "many"}, {}),
        ("encreg", SETTINGS | {"input_mean": "abc"}, {}),
        ("encreg", SETTINGS, {"head.bias": "text"}),
        ("encreg", SETTINGS, {"head.bias": 1.0}),
        ("encreg", SETTINGS, {3: torch.zeros(2)}),
        ("encreg", SETTINGS, {"head.bias": torch.zeros(2, dtype=torch.int64)}),
        ("encreg", SETTINGS, {"head.bias": torch.zeros(3)}),
        ("encreg", SETTINGS, {"head.bias": torch.zeros(2).to_sparse()}),
        ("encreg", SETTINGS, {"more": torch.zeros(2)}),
    ],
)
def test_wrong_types(
    architecture: Any, settings: Any, change: dict[Any, Any], weights: dict[str, Any]
) -> None:
    with pytest.raises(ModelError, match=r"^test\.ckpt: "):
        network_with_weights(architecture, settings, weights | change, "test.ckpt")


@pytest.mark.parametrize("weights", [None, 3, [torch.zeros(1)]])
def test_weights_that_are_none(weights: Any) -> None:
    with pytest.raises(ModelError, match=r"test\.ckpt: the weights do not fit the architecture"):
        network_with_weights("encreg", SETTINGS, weights, "test.ckpt")


@pytest.mark.parametrize(
    "changes",
    [
        {"mltrack": 3},
        {"mltrack": [1, 2]},
        {"mltrack": {"architecture": "encreg", "architecture_config": SETTINGS, "card": 3}},
        {"mltrack": {"architecture": "encreg", "architecture_config": SETTINGS, "card": [[1, 2, 3]]}},
        {"mltrack": {"architecture": 3, "architecture_config": SETTINGS, "card": card_content()}},
        {"mltrack": {"architecture": "encreg", "architecture_config": [3], "card": card_content()}},
        {"state_dict": 3},
        {"state_dict": [1]},
        {"state_dict": {1: 2}},
        {"state_dict": {"network.head.bias": "text"}},
        {"mltrack": torch.zeros(3)},
    ],
)
def test_checkpoints_of_wrong_types(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write_checkpoint(tmp_path / "other.ckpt", **changes)
    with pytest.raises(ModelError, match=r"other\.ckpt"):
        load_checkpoint(path)


@pytest.mark.parametrize("length", [0, 4, -1, 1])
def test_short_weights_of_checkpoints(tmp_path: Path, length: int) -> None:
    path = write_checkpoint(tmp_path / "short.ckpt")
    root, parts = members(path.read_bytes())
    parts["data/3"] = parts["data/3"][:length] if length else b""
    path.write_bytes(write_canonical(root, parts))
    with pytest.raises(ModelError, match=r"short\.ckpt: .*'data/3' has \d+ bytes, \d+ are expected"):
        read_checkpoint(path)


def test_checkpoints_with_other_members(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "more.ckpt")
    root, parts = members(path.read_bytes())
    for name in ("evil.so", "data/x", "code/x.py", "DATA.PKL"):
        path.write_bytes(write_canonical(root, parts | {name: b"x"}))
        with pytest.raises(ModelError, match=r"unexpected member|upper and lower case"):
            read_checkpoint(path)


def test_torch_gets_a_checkpoint_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[bytes] = []
    load = torch.load

    def watched(file: io.BytesIO, **options: Any) -> Any:
        assert options["weights_only"]
        given.append(file.getvalue())
        return load(file, **options)

    monkeypatch.setattr(torch, "load", watched)
    path = write_checkpoint(tmp_path / "good.ckpt")
    read_checkpoint(path)
    with zipfile.ZipFile(io.BytesIO(given[0])) as archive:
        names = {name.split("/")[1] for name in archive.namelist()}
    assert names == {"data.pkl", "data", "version", "byteorder", ".format_version"}
    assert given[0] != path.read_bytes()
