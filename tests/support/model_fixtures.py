"""A small EncReg and its card, for tests of model archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.models import build_network

SETTINGS: dict[str, Any] = {
    "d_model": 16,
    "n_heads": 2,
    "d_ff": 32,
    "n_layers": 2,
    "input_mean": [0.0, 0.0, 0.0],
    "input_scale": [100.0, 100.0, 100.0],
    "output_mean": [0.5, -1.0],
    "output_scale": [2.0, 3.0],
}


def card_content(**changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny-encreg",
        "architecture": "encreg",
        "hyperparameters": SETTINGS,
        "features": ["x", "y", "z"],
        "units": {"x": "mm", "y": "mm", "z": "mm", "theta": "rad"},
        "coordinate_system": "cartesian",
        "detectors": ["generic"],
        "outputs": ["theta", "q"],
        "output_scales": [0.1, 0.5],
        "validity": {"r": [0.0, 1100.0], "z": [-3000.0, 3000.0], "n_hits": [1, 400]},
    } | changes


def make_card(**changes: Any) -> ModelCard:
    return ModelCard.from_mapping(card_content(**changes), "test")


def make_network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_network("encreg", SETTINGS).eval()


def features(n: int, seed: int = 0) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).normal(0.0, 100.0, (n, 3)).astype(np.float32)


def eager(network: torch.nn.Module, event: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        mask = torch.ones((1, len(event)), dtype=torch.bool)
        return np.asarray(network(torch.from_numpy(event)[None], mask)[0].numpy())


def write_checkpoint(path: Path, **changes: Any) -> Path:
    """A checkpoint as ``mltrack train`` writes it, with some of its entries changed."""
    network = make_network()
    content: dict[str, Any] = {
        "epoch": 1,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": {f"network.{name}": value for name, value in network.state_dict().items()}
        | {"log_scale": torch.zeros(2)},
        "callbacks": {},
        "mltrack": {"architecture": "encreg", "architecture_config": SETTINGS, "card": card_content()},
    }
    torch.save(content | changes, path)
    return path
