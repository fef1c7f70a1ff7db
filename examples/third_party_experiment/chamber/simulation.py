"""Toy events, and a network that is trained on them.

python -m chamber.simulation events.txt directions.pt
"""

from __future__ import annotations

import sys

import numpy as np
import torch

from chamber.reader import FIRST_LINE
from mltrack_plugin.archives.archive import save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.models import build_network

RADII = np.arange(100.0, 900.0, 100.0)


def directions(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 3): random directions at up to 45 degrees from the transverse plane."""
    phi, slope = rng.uniform(-np.pi, np.pi, n), rng.uniform(-1.0, 1.0, n)
    vectors = np.stack([np.cos(phi), np.sin(phi), slope], axis=1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def hits_of(rng: np.random.Generator, tracks: np.ndarray) -> np.ndarray:
    """(n, 8, 3) mm: hits of tracks from near the origin on the cylinders."""
    lengths = RADII / np.hypot(tracks[:, :1], tracks[:, 1:2])
    return lengths[..., None] * tracks[:, None] + rng.normal(0.0, 0.2, (len(tracks), len(RADII), 3))


def write_events(path: str, n_events: int = 20, seed: int = 1) -> None:
    """Events of 5 to 15 tracks and 5 noise hits in the experiment's format."""
    rng = np.random.default_rng(seed)
    lines = [FIRST_LINE]
    for event in range(n_events):
        lines.append(f"event {event}")
        tracks = directions(rng, rng.integers(5, 16))
        lines += [f"particle {i} {x:.6f} {y:.6f} {z:.6f}" for i, (x, y, z) in enumerate(tracks, start=1)]
        noise = hits_of(rng, directions(rng, 5))[np.arange(5), rng.integers(0, len(RADII), 5)]
        hits = [
            (layer, *p, i)
            for i, points in enumerate(hits_of(rng, tracks), 1)
            for layer, p in enumerate(points)
        ]
        hits += [(np.argmin(abs(RADII - np.hypot(*p[:2]))), *p, 0) for p in noise]
        lines += [
            f"hit {k} {layer} {x:.4f} {y:.4f} {z:.4f} {i}" for k, (layer, x, y, z, i) in enumerate(hits, 1)
        ]
    with open(path, "w", encoding="ascii") as file:
        file.write("\n".join([*lines, ""]))


def train(path: str, steps: int = 1500, seed: int = 1) -> None:
    """Train a direction-mlp for a few seconds and write it as a model archive."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    settings = {"width": 64}
    network = build_network("direction-mlp", settings)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=2e-2, total_steps=steps)
    for _ in range(steps):
        tracks = directions(rng, 64)
        hits = torch.from_numpy(hits_of(rng, tracks)).float()
        wanted = torch.from_numpy(tracks).float()[:, None]
        found = network(hits, torch.ones(hits.shape[:2], dtype=torch.bool))
        loss = torch.linalg.vector_norm(found - wanted, dim=-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    card = ModelCard(
        name="chamber-directions",
        architecture="direction-mlp",
        hyperparameters=settings,
        features=("x", "y", "z"),
        units={"x": "mm", "y": "mm", "z": "mm"},
        coordinate_system="cartesian",
        detectors=("chamber",),
        outputs=("direction_x", "direction_y", "direction_z"),
        output_scales=(0.01, 0.01, 0.01),
        validity={"r": (0.0, 900.0), "z": (-1200.0, 1200.0)},
    )
    save_torchscript(network.eval(), card, path)


if __name__ == "__main__":
    write_events(sys.argv[1])
    train(sys.argv[2])
