"""Straight tracks from the origin in REDVID's detector, and a stand-in for the refiner that knows the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

from mltrack_plugin.models.hypotheses import Hypothesis
from mltrack_plugin.refiner.slots import Slots

Array = np.ndarray[Any, Any]

#: Settings of a network for them.
STRAIGHT: dict[str, Any] = {"hypotheses": (Hypothesis(),), "length_scale": 10.0, "slots": 12}


def lines(azimuths: list[float], slopes: list[float], n: int = 6) -> tuple[Array, Array]:
    """Hits (m, 3) float32 of one track after the other, at z = 2, 3, ..., and the track (m,) of each."""
    z = np.arange(2.0, 2.0 + n)
    tracks = [
        np.stack([s * z * np.cos(p), s * z * np.sin(p), z], 1) for p, s in zip(azimuths, slopes, strict=True)
    ]
    return np.concatenate(tracks).astype(np.float32), np.repeat(np.arange(len(azimuths)), n)


class Oracle:
    """Hits of the cluster's majority particle get 0.9, others 0.1; parameters are that particle's number +- 0.1.

    Args:
        particle: (n,) particle of each hit; -1 = noise.
        sets: sets of hits that were asked about, for the test to look at.
    """

    def __init__(self, particle: Array) -> None:
        self.particle = particle
        self.sets: list[Slots] = []

    def __call__(self, slots: Slots) -> Array:
        self.sets.append(slots)
        particle = np.where(slots.mask, self.particle[slots.hit], -1)
        n = int(self.particle.max()) + 1
        votes = np.zeros((len(particle), n))
        for k in range(n):
            votes[:, k] = ((particle == k) * slots.weight).sum(1)
        own = votes.argmax(1)
        claim = np.where(particle == own[:, None], 0.9, 0.1) * slots.mask
        parameters = np.stack([own, np.full(len(own), 0.1)], 1)
        probability = (votes.max(1) > 0.5 * slots.weight.sum(1)).astype(float)
        return np.concatenate([claim, probability[:, None], parameters], 1).astype(np.float32)
