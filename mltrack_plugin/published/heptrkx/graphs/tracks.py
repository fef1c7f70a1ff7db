"""From scored segments to track candidates: connected components, and a walk that resolves hits claimed twice.

Shapes: n nodes (hits of a graph), m edges (segments).
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

# Scores are kept off 0 and 1, where their logarithms end.
_SMALLEST = 1e-6


def connected_components(n: int, edges: Array) -> Array:
    """Groups of hits that segments join, directly or not.

    Args:
        n: number of nodes.
        edges: (2, m).

    Returns:
        (n,) int64: component of each node; -1 for nodes without a segment.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components as components

    matrix = coo_array((np.ones(edges.shape[1], dtype=np.int8), (edges[0], edges[1])), shape=(n, n))
    labels = np.asarray(components(matrix, directed=False)[1], dtype=np.int64) if n else np.zeros(0, np.int64)
    alone = np.bincount(edges.ravel(), minlength=n) == 0
    labels[alone] = -1
    return labels


def walk_through(
    n: int,
    edges: Array,
    score: Array,
    layer: Array,
    position: Array | None = None,
    max_double_distance: float = 0.0,
) -> Array:
    """Paths from inside out, best first, no two of which share a hit.

    The value of a path is the sum of log(score / (1 - score)) of its segments, relative to that of the weakest segment
    given, so that longer paths are better. In every connected component the best path is taken, its hits are removed,
    and so on until no segment is left. With ``position``, a path also takes the second hits of its particle on its
    layers (see :func:`add_double_hits`) before they can make a path of their own.

    Args:
        n: number of nodes.
        edges: (2, m) segments worth following, e.g. those above a threshold.
        score: (m,) in [0, 1].
        layer: (n,) layer numbers that rise along every edge.
        position: (n, 3), mm.
        max_double_distance: between two hits of a path on one layer, mm.

    Returns:
        (n,) int64: path of each node, -1 = none.
    """
    label = np.full(n, -1, dtype=np.int64)
    if not edges.shape[1]:
        return label
    clipped = np.clip(score.astype(np.float64), _SMALLEST, 1.0 - _SMALLEST)
    gain = np.log(clipped / (1.0 - clipped))
    gain += 1.0 - gain.min()
    # Best segment first within each outer hit, layer by layer: the order in which values are settled.
    order = np.lexsort((edges[0], layer[edges[1]]))
    edges, gain, score = edges[:, order], gain[order], score[order]
    component = connected_components(n, edges)
    paths = 0
    while edges.shape[1]:
        value, previous = _best_paths(n, edges, gain, layer)
        # The best end of each component; the first of equal ones.
        nodes = np.unique(edges)
        by_value = nodes[np.lexsort((nodes, -value[nodes], component[nodes]))]
        ends = by_value[np.r_[True, np.diff(component[by_value]) != 0]]
        current, number = ends, paths + np.arange(len(ends))
        paths += len(ends)
        while len(current):
            label[current] = number
            current, number = previous[current], number[previous[current] >= 0]
            current = current[current >= 0]
        if position is not None and max_double_distance > 0.0:
            label = add_double_hits(label, edges, score, layer, position, max_double_distance)
        left = (label[edges] < 0).all(axis=0)
        edges, gain, score = edges[:, left], gain[left], score[left]
        component = connected_components(n, edges)
    return label


def _best_paths(n: int, edges: Array, gain: Array, layer: Array) -> tuple[Array, Array]:
    """Value of the best path that ends at each node, and the node before it (-1 = it starts there).

    Edges are sorted by the layer of their outer node.
    """
    value, previous = np.zeros(n), np.full(n, -1, dtype=np.int64)
    outer_layer = layer[edges[1]]
    bounds = np.flatnonzero(np.r_[True, outer_layer[1:] != outer_layer[:-1], True])
    for first, last in itertools.pairwise(bounds):
        inner, outer = edges[:, first:last]
        total = value[inner] + gain[first:last]
        by_outer = np.lexsort((inner, -total, outer))
        best = by_outer[np.r_[True, np.diff(outer[by_outer]) != 0]]
        value[outer[best]], previous[outer[best]] = total[best], inner[best]
    return value, previous


def add_double_hits(
    label: Array, edges: Array, score: Array, layer: Array, position: Array, max_distance: float
) -> Array:
    """Give left-over hits to the track that has another hit beside them on the same layer.

    Where modules overlap, a particle leaves two hits on a layer, and a path takes one of them. The other one joins that
    path if a segment connects it with the path and it lies near the path's hit on its layer.

    Args:
        label: (n,) path of each node, -1 = none.
        edges: (2, m) segments worth following.
        score: (m,).
        layer: (n,).
        position: (n, 3), mm.
        max_distance: between the two hits, mm.

    Returns:
        (n,) int64: ``label`` with the hits that were added.
    """
    # Every segment between a left-over hit and a path, seen from the hit.
    hit, neighbour = np.concatenate([edges, edges[::-1]], axis=1)
    strength = np.tile(score, 2)
    wanted = (label[hit] < 0) & (label[neighbour] >= 0)
    hit, path, strength = hit[wanted], label[neighbour[wanted]], strength[wanted]
    # The path's hit on the same layer, through a sorted list of (path, layer).
    on_path = np.flatnonzero(label >= 0)
    if not len(hit) or not len(on_path):
        return label
    span = int(layer.max()) + 1
    keys = label[on_path] * span + layer[on_path]
    order = np.argsort(keys, kind="stable")
    found = np.minimum(np.searchsorted(keys, path * span + layer[hit], sorter=order), len(order) - 1)
    partner = on_path[order[found]]
    near = (label[partner] == path) & (layer[partner] == layer[hit])
    near &= np.linalg.norm(position[partner] - position[hit], axis=1) < max_distance
    hit, path, strength = hit[near], path[near], strength[near]
    best = np.lexsort((path, -strength, hit))
    best = best[np.r_[True, np.diff(hit[best]) != 0][: len(best)]]
    result = label.copy()
    result[hit[best]] = path[best]
    return result


def hit_membership(label: Array, edges: Array, score: Array) -> Array:
    """Largest score of the segments that join each hit to others of its track: (n,) float32, 0 without any."""
    same = (label[edges[0]] == label[edges[1]]) & (label[edges[0]] >= 0)
    result = np.zeros(len(label), dtype=np.float32)
    for ends in edges:
        np.maximum.at(result, ends[same], score[same])
    return result
