"""Events of exact tracks in the barrel: lines in (r, phi) and (r, z), one hit per layer; and their predictor."""

from __future__ import annotations

import numpy as np

from mltrack_plugin.event_data import Hits, TruthLinks
from mltrack_plugin.models.hit_predictor import GENERIC_RADII
from mltrack_plugin.published.heptrkx.graphs.layers import BARREL_LAYERS

RADII = np.array(GENERIC_RADII)
#: Standard deviations that the predictor claims: phi in rad, z in mm.
SIGMA = (1e-3, 0.5)


def lines(n: int, seed: int = 1, turn: float = 2e-4) -> np.ndarray:
    """(n, 10, 3): r, phi, z of n tracks that start at z0 near the origin, evenly spread in azimuth."""
    rng = np.random.default_rng(seed)
    phi0 = np.linspace(-np.pi, np.pi, n, endpoint=False) + 0.1
    bend = rng.uniform(-turn, turn, n)
    z0, slope = rng.uniform(-50, 50, n), rng.uniform(-0.8, 0.8, n)
    phi = phi0[:, None] + bend[:, None] * RADII
    z = z0[:, None] + slope[:, None] * RADII
    return np.stack([np.broadcast_to(RADII, phi.shape), (phi + np.pi) % (2 * np.pi) - np.pi, z], axis=2)


def event(tracks: np.ndarray, present: np.ndarray | None = None, seed: int = 2) -> tuple[Hits, TruthLinks]:
    """Hits of tracks (n, 10, 3) in random order; track i has particle id i + 1.

    Args:
        tracks: r, phi, z.
        present: (n, 10) bool, hits that exist.
        seed: of the order.
    """
    there = np.ones(tracks.shape[:2], dtype=bool) if present is None else present
    track, layer = np.nonzero(there)
    order = np.random.default_rng(seed).permutation(len(track))
    track, layer = track[order], layer[order]
    r, phi, z = tracks[track, layer].T
    volume, number = np.array(BARREL_LAYERS)[layer].reshape(-1, 2).T
    hits = Hits(
        np.arange(1, len(track) + 1),
        r * np.cos(phi),
        r * np.sin(phi),
        z,
        volume_id=volume,
        layer_id=number,
        module_id=np.full(len(track), 7),
    )
    return hits, TruthLinks((track + 1).astype(np.uint64))


def straight_line(hits: np.ndarray) -> np.ndarray:
    """(c, t, 3) -> (c, t, 5): the line through the last two hits, with the covariance of SIGMA."""
    result = np.zeros((*hits.shape[:2], 5), dtype=np.float32)
    r, phi, z = np.moveaxis(hits.astype(np.float64), 2, 0)
    for t in range(1, hits.shape[1]):
        # Beyond a track's end there is nothing to continue.
        apart = r[:, t] - r[:, t - 1]
        step = np.where(apart > 0, RADII[t + 1] - r[:, t], 0.0) / np.where(apart > 0, apart, 1.0)
        turned = (phi[:, t] - phi[:, t - 1] + np.pi) % (2 * np.pi) - np.pi
        result[:, t, 0] = (phi[:, t] + turned * step + np.pi) % (2 * np.pi) - np.pi
        result[:, t, 1] = z[:, t] + (z[:, t] - z[:, t - 1]) * step
    result[..., 2], result[..., 4] = SIGMA[0] ** 2, SIGMA[1] ** 2
    return result
