"""A small EncReg in all three archive formats."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from model_fixtures import make_card, make_network

from mltrack_plugin.archives.archive import pack
from mltrack_plugin.archives.card import ModelCard


@pytest.fixture(scope="session")
def network() -> torch.nn.Module:
    return make_network()


@pytest.fixture
def card() -> ModelCard:
    return make_card()


@pytest.fixture(scope="session")
def packed(network: torch.nn.Module) -> dict[str, bytes]:
    """Archive contents by suffix."""
    contents = {suffix: pack(network, make_card(), suffix) for suffix in (".pt", ".pt2")}
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError:
        return contents
    return contents | {".onnx": pack(network, make_card(), ".onnx")}


@pytest.fixture(params=[".pt", ".pt2", ".onnx"])
def archive(request: pytest.FixtureRequest, packed: dict[str, bytes], tmp_path: Path) -> Path:
    """The tiny network as an archive of each format."""
    if request.param not in packed:
        pytest.skip("needs the extra [onnx]")
    path = tmp_path / f"tiny{request.param}"
    path.write_bytes(packed[request.param])
    return path
