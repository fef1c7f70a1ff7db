"""Damage to clusters of hits, as clusterings make it: what the refiner is trained to repair.

Shapes: N hits, M clusters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.spatial import cKDTree

from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]


class Corruption(Config):
    """How much damage is done; all are shares, each event gets a random part of them."""

    swapped: float = Field(default=0.1, ge=0, le=1)
    """Share of hits that are moved to the cluster of one of their neighbours."""
    dropped: float = Field(default=0.1, ge=0, le=1)
    """Share of hits that are taken off their cluster."""
    merged: float = Field(default=0.1, ge=0, le=1)
    """Share of clusters that are merged with a near one."""
    cut: float = Field(default=0.05, ge=0, le=1)
    """Share of clusters that are cut in two."""
    untouched: float = Field(default=0.3, ge=0, le=1)
    """Share of events whose clusters stay as they are."""


def corrupted(labels: Array, points: Array, settings: Corruption, rng: np.random.Generator) -> Array:
    """Damaged clusters of one event.

    Args:
        labels: (N,) int64, the clusters, dense from 0; negative = none.
        points: (N, k) coordinates in which near hits are neighbours.
        settings: shares.
        rng: random numbers.

    Returns:
        (N,) int64.
    """
    result = np.array(labels)
    n, m = len(labels), int(labels.max(initial=-1)) + 1
    if n < 2 or m < 1 or rng.random() < settings.untouched:
        return result
    scale = rng.random(4)
    assigned = labels >= 0
    if m > 1:
        counts = np.bincount(labels[assigned], minlength=m)
        centre = np.stack(
            [
                np.bincount(labels[assigned], column[assigned], m) / np.maximum(counts, 1)
                for column in points.T
            ],
            1,
        )
        # The nearest cluster or the second nearest.
        k = min(3, m)
        near = cKDTree(centre).query(centre, k=k)[1][np.arange(m), rng.integers(1, k, m)]
        joined = rng.random(m) < settings.merged * scale[0]
        target = np.where(joined, near, np.arange(m))
        result[assigned] = target[result[assigned]]
    # A random plane through a cluster's hits cuts it.
    cut = rng.random(m) < settings.cut * scale[1]
    side = points @ rng.normal(size=points.shape[1])
    middle = np.bincount(labels[assigned], side[assigned], m) / np.maximum(
        np.bincount(labels[assigned], minlength=m), 1
    )
    away = assigned & cut[np.maximum(labels, 0)] & (side > middle[np.maximum(labels, 0)])
    result[away] = labels[away] + m
    swapped = np.flatnonzero(rng.random(n) < settings.swapped * scale[2])
    if len(swapped):
        k = min(9, n)
        neighbour = cKDTree(points).query(points[swapped], k=k)[1][
            np.arange(len(swapped)), rng.integers(1, k, len(swapped))
        ]
        result[swapped] = result[neighbour]
    result[rng.random(n) < settings.dropped * scale[3]] = -1
    return result
