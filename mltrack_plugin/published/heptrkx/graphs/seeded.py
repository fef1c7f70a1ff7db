"""Graphs around seeds, as the hit classifier reads them: seeds, hits near a track's expected points, candidates.

Farrell et al. (arXiv:1810.06111) take the neighbourhood of the true track; where there is no truth, the seed's three
hits are extended to all layers.

Shapes: n hits of the event, k seeds, L = 10 barrel layers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.published.heptrkx.graphs.construct import connect, wrapped
from mltrack_plugin.published.heptrkx.graphs.layers import BARREL_LAYERS

Array = npt.NDArray[Any]

#: Hits per layer around a seed, and layers that a seed's hits lie on.
HITS_PER_LAYER, SEED_LAYERS = 5, 3
N_LAYERS = len(BARREL_LAYERS)
#: A value of eta - phi distance that no hit has.
_FAR = 1e3


def find_seeds(
    layer: Array,
    r: Array,
    phi: Array,
    z: Array,
    *,
    max_dphi: float = 0.05,
    max_slope_change: float = 1e-4,
    max_kink: float = 2.0,
) -> Array:
    """Triplets of hits on the three inner layers that may lie on one track.

    Args:
        layer: (n,) barrel layer, 0 to 9.
        r: (n,) mm.
        phi: (n,) radian.
        z: (n,) mm.
        max_dphi: between neighbours, radian; 0.05 is twice what a prompt track of 1 GeV turns in 2 T.
        max_slope_change: of dphi / dr between the two segments, radian / mm.
        max_kink: distance in z of the third hit from the line through the others, mm.

    Returns:
        (k, 3) rows, from inside out, sorted.
    """
    edges = connect(layer, r, phi, z, ((0, 1), (1, 2)), max_dphi=max_dphi, max_dz=np.inf)
    first = edges[:, layer[edges[0]] == 0]
    second = edges[:, layer[edges[0]] == 1]
    # Every segment of the first pair with every one of the second pair that goes on from its outer hit.
    start = np.searchsorted(second[0], first[1])
    counts = np.searchsorted(second[0], first[1], side="right") - start
    left = np.repeat(np.arange(first.shape[1]), counts)
    right = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts) + start[left]
    a, b, c = first[0, left], first[1, left], second[1, right]
    dr1, dr2 = r[b].astype(np.float64) - r[a], r[c].astype(np.float64) - r[b]
    slope1, slope2 = wrapped(phi[b] - phi[a]) / dr1, wrapped(phi[c] - phi[b]) / dr2
    kink = z[c] - z[b] - (z[b] - z[a]) / dr1 * dr2
    keep = (np.abs(slope2 - slope1) < max_slope_change) & (np.abs(kink) < max_kink)
    return np.stack([a[keep], b[keep], c[keep]], axis=1)


def expected_points(seeds: Array, r: Array, phi: Array, z: Array, radii: Array) -> tuple[Array, Array]:
    """Where the tracks of seeds cross the layers: phi and z are taken as linear in r, between first and third hit.

    Args:
        seeds: (k, 3) rows.
        r: (n,) mm.
        phi: (n,) radian.
        z: (n,) mm.
        radii: (L,) of the layers, mm.

    Returns:
        (k, L) pseudorapidity and azimuth (radian, not wrapped).
    """
    a, c = seeds[:, 0], seeds[:, 2]
    step = (radii - r[a][:, None]) / (r[c] - r[a])[:, None].astype(np.float64)
    azimuth = phi[a][:, None] + wrapped(phi[c] - phi[a])[:, None] * step
    along = z[a][:, None] + (z[c] - z[a])[:, None] * step
    return np.arcsinh(along / radii), azimuth


def nearest_hits(layer: Array, eta: Array, phi: Array, at_eta: Array, at_phi: Array) -> tuple[Array, Array]:
    """On each layer the hits nearest to given points in eta and phi.

    Args:
        layer: (n,) barrel layer; other numbers take no part.
        eta: (n,) pseudorapidity of the hits.
        phi: (n,) radian.
        at_eta: (k, L) points.
        at_phi: (k, L) radian.

    Returns:
        (k, L * HITS_PER_LAYER) rows, nearest first within each layer, and the same shape, bool: False where the layer
        has not as many hits.
    """
    k = len(at_eta)
    rows, there = [], []
    for number in range(N_LAYERS):
        on_layer = np.flatnonzero(layer == number)
        distance = np.hypot(
            at_eta[:, number, None] - eta[on_layer], wrapped(at_phi[:, number, None] - phi[on_layer])
        )
        # A layer with too few hits is filled up with a hit that counts as absent.
        missing = max(0, HITS_PER_LAYER - len(on_layer))
        distance = np.concatenate([distance, np.full((k, missing), _FAR)], axis=1)
        on_layer = np.append(on_layer, np.zeros(missing, dtype=np.int64))
        nearest = np.argsort(distance, axis=1, kind="stable")[:, :HITS_PER_LAYER]
        rows.append(on_layer[nearest])
        there.append(np.take_along_axis(distance, nearest, axis=1) < _FAR)
    return np.concatenate(rows, axis=1), np.concatenate(there, axis=1)


def seed_edges() -> Array:
    """(2, 225) int64: all segments between the hits of neighbouring layers, ``HITS_PER_LAYER`` on each."""
    inner, outer = np.meshgrid(np.arange(HITS_PER_LAYER), np.arange(HITS_PER_LAYER), indexing="ij")
    pair = np.stack([inner.ravel(), outer.ravel() + HITS_PER_LAYER])
    return np.concatenate([pair + HITS_PER_LAYER * number for number in range(N_LAYERS - 1)], axis=1)


def joined_graphs(there: Array) -> tuple[Array, Array]:
    """The graphs of several seeds side by side, without absent hits.

    Args:
        there: (k, N) bool, N = L * HITS_PER_LAYER.

    Returns:
        (m,) node of the flattened (k, N) array for each hit kept, and (2, e) edges between hits kept.
    """
    k, n = there.shape
    edges = (seed_edges()[:, None] + n * np.arange(k)[:, None]).reshape(2, -1)
    present = there.ravel()
    number = np.cumsum(present) - 1
    return np.flatnonzero(present), number[edges[:, present[edges].all(axis=0)]]


def seeded_nodes(rows: Array, seed: Array, first: Array, r: Array, phi: Array, z: Array) -> Array:
    """Inputs of the hit classifier.

    Args:
        rows: (k, N) rows of the event's hits.
        seed: (k, N) bool, hits of the seed.
        first: (k,) azimuth from which the others are counted, radian.
        r: (n,) mm.
        phi: (n,) radian.
        z: (n,) mm.

    Returns:
        (k, N, 4) float32: r, phi, z, seed.
    """
    turned = wrapped(phi[rows] - first[:, None])
    return np.stack([r[rows], turned, z[rows], seed], axis=-1).astype(np.float32)


def best_candidates(
    rows: Array, score: Array, min_score: float, min_hits: int, n: int
) -> tuple[Array, Array]:
    """Track candidates from the scores of the hits around seeds; no hit on two of them.

    On each layer the hit with the largest score is taken if it is large enough. Candidates are accepted by the sum of
    log(score / (1 - score)), largest first; hits on an accepted candidate are lost to the others, and a candidate that
    keeps fewer than ``min_hits`` or not more than half of its hits is dropped.

    Args:
        rows: (k, N) rows of the event's hits.
        score: (k, N) in [0, 1]; 0 for absent hits.
        min_score: smallest score of a hit.
        min_hits: smallest number of hits of a candidate.
        n: number of hits of the event.

    Returns:
        (n,) int64 candidate of each hit, -1 = none, and (n,) float32 score of the hit there.
    """
    k = len(rows)
    label, membership = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.float32)
    per_layer = score.reshape(k, N_LAYERS, HITS_PER_LAYER)
    best = per_layer.argmax(axis=2)[..., None]
    value = np.take_along_axis(per_layer, best, axis=2)[..., 0]
    hit = np.take_along_axis(rows.reshape(k, N_LAYERS, HITS_PER_LAYER), best, axis=2)[..., 0]
    chosen = value >= max(min_score, 1e-6)
    clipped = np.clip(value.astype(np.float64), 1e-6, 1.0 - 1e-6)
    quality = np.where(chosen, np.log(clipped / (1.0 - clipped)), 0.0).sum(axis=1)
    for candidate in np.argsort(-quality, kind="stable"):
        own = hit[candidate][chosen[candidate]]
        free = label[own] < 0
        if free.sum() >= min_hits and 2 * free.sum() > len(own):
            label[own[free]] = candidate
            membership[own[free]] = value[candidate][chosen[candidate]][free]
    return label, membership
