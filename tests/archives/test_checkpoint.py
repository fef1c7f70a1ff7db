"""Checkpoints: read safely, exported only if the archive gives the network's numbers."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_fixtures import SETTINGS, card_content, eager, features, make_card, make_network, write_checkpoint

from mltrack_plugin.archives import checkpoint
from mltrack_plugin.archives.archive import check_content, load_file, load_model, pack
from mltrack_plugin.archives.checkpoint import check_equal, export_checkpoint, load_checkpoint
from mltrack_plugin.errors import ConfigurationError, ModelError, OutputError
from mltrack_plugin.models import build_network


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "last.ckpt")


def test_network_and_card_come_back(ckpt: Path, network: torch.nn.Module) -> None:
    found, card = load_checkpoint(ckpt)
    assert not found.training
    assert card.name == "tiny-encreg"
    np.testing.assert_array_equal(eager(found, features(20)), eager(network, features(20)))


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
def test_export(ckpt: Path, tmp_path: Path, network: torch.nn.Module, suffix: str) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
    output = tmp_path / f"model{suffix}"
    model = export_checkpoint(ckpt, output, name="renamed")
    assert model.card.name == "renamed"
    assert model.sha256 == load_model(output).sha256
    np.testing.assert_allclose(
        load_model(output).predict(features(20)), eager(network, features(20)), rtol=2e-5, atol=2e-5
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.ckpt", output.name]


def test_existing_output(ckpt: Path, tmp_path: Path) -> None:
    output = tmp_path / "model.pt"
    output.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"exists already.*--overwrite"):
        export_checkpoint(ckpt, output)
    assert output.read_bytes() == b"precious"
    export_checkpoint(ckpt, output, overwrite=True)
    assert load_model(output).card.name == "tiny-encreg"


def test_an_archive_with_other_numbers_is_not_written(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = pack(make_network(seed=1), make_card(), ".pt")
    monkeypatch.setattr(checkpoint, "pack", lambda *_: other)
    with pytest.raises(ModelError, match=r"differs from the checkpoint by .* nothing was written"):
        export_checkpoint(ckpt, tmp_path / "model.pt")
    assert not (tmp_path / "model.pt").exists()


class Leaky(torch.nn.Module):
    """Ignores the mask: padding changes the numbers of real hits."""

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return (features - features.mean(dim=1, keepdim=True))[..., :2]


class NotANumber(torch.nn.Module):
    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return features[..., :2] * float("nan")


@pytest.mark.parametrize("module", [Leaky, NotANumber])
def test_networks_that_break_the_contract_are_found(module: type[torch.nn.Module]) -> None:
    content = pack(module(), make_card(), ".pt")
    model = load_file(check_content(Path("model.pt"), content))
    with pytest.raises(ModelError, match="differs from the checkpoint"):
        check_equal(module(), model)


def test_agreement_is_reported(network: torch.nn.Module) -> None:
    model = load_file(check_content(Path("model.pt"), pack(network, make_card(), ".pt")))
    assert check_equal(network, model) < 1e-4


class Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


def test_nothing_in_a_checkpoint_runs(tmp_path: Path) -> None:
    trace = tmp_path / "code-has-run"
    path = write_checkpoint(tmp_path / "bad.ckpt", callbacks=Bomb(trace))
    with pytest.raises(ModelError, match="more than tensors and plain values"):
        load_checkpoint(path)
    assert not trace.exists()
    # torch.load would hand this one to torch.jit.load.
    path.write_bytes(pack(make_network(), make_card(), ".pt"))
    with pytest.raises(ModelError, match="not a checkpoint of mltrack train"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mltrack": None}, "not one of mltrack train"),
        ({"mltrack": {"architecture": "encreg"}}, "not one of mltrack train"),
        ({"state_dict": {}}, "the weights do not fit the architecture"),
        ({"state_dict": {"network.strange": torch.zeros(1)}}, "the weights do not fit the architecture"),
        (
            {"mltrack": {"architecture": "encrag", "architecture_config": {}, "card": card_content()}},
            "no network 'encrag'. Did you mean 'encreg'",
        ),
        (
            {"mltrack": {"architecture": "encreg", "architecture_config": SETTINGS, "card": {}}},
            "the model card is not valid: name: Field required",
        ),
    ],
)
def test_other_checkpoints(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write_checkpoint(tmp_path / "other.ckpt", **changes)
    with pytest.raises(ModelError, match=message):
        load_checkpoint(path)


def test_damaged_checkpoints(ckpt: Path, tmp_path: Path) -> None:
    content = ckpt.read_bytes()
    ckpt.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="damaged"):
        load_checkpoint(ckpt)
    with zipfile.ZipFile(ckpt, "w") as archive:
        archive.writestr("archive/readme", "hello")
    with pytest.raises(ModelError, match="not a checkpoint"):
        load_checkpoint(ckpt)
    with pytest.raises(ModelError, match="no such file"):
        load_checkpoint(tmp_path / "gone.ckpt")


def test_unknown_suffix_and_names(ckpt: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"must end in \.pt, \.pt2, \.onnx"):
        export_checkpoint(ckpt, tmp_path / "model.h5")
    with pytest.raises(ModelError, match=r"--name: .*name: "):
        export_checkpoint(ckpt, tmp_path / "model.pt", name="a/b")


def test_architectures() -> None:
    with pytest.raises(ConfigurationError, match=r"no network 'endreg'. Did you mean 'encreg'"):
        build_network("endreg", {})
    with pytest.raises(ConfigurationError, match=r"no setting 'n_layer'. Did you mean 'n_layers'"):
        build_network("encreg", {"n_layer": 3})
    with pytest.raises(ConfigurationError, match="not a multiple"):
        build_network("encreg", {"d_model": 10, "n_heads": 3})
