"""Nearest neighbours of every point of a set among the others.

A balanced k-d tree with the box of the points of each node. Points of a leaf lie side by side in memory, component by
component, so that the distances of a point to all of a leaf are one pass of vector instructions; and the points
themselves are asked in the order of the tree, so that their neighbours are in the cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import inlined, kernel, uncounted

Array = npt.NDArray[Any]

#: Most points of a leaf.
LEAF = 32
#: Number of the node that holds all points.
ROOT = 1
#: Columns of the places of a node, and rows of its box.
FIRST, END = range(2)
LOW, HIGH = range(2)


def nearest_neighbours(points: Array, k: int, max_distance: float = math.inf) -> tuple[Array, Array]:
    """The k nearest other points of each point that are nearer than ``max_distance``.

    Args:
        points: (n, d) float64, n > 0.
        k: at least 1.
        max_distance: larger than 0.

    Returns:
        distances (n, k), ascending, and rows of the neighbours (n, k) int64; infinity and the point itself where there
        are no more.
    """
    levels = max(math.ceil(math.log2(len(points) / LEAF)), 0)
    order, span, box = plant(points, levels)
    return ask(np.ascontiguousarray(points[order].T), order, span, box, k, max_distance**2)


@kernel
def plant(points: Array, levels: int) -> tuple[Array, Array, Array]:
    """A tree: node 1 is the root, 2 i and 2 i + 1 are the halves of node i along its longest side.

    Args:
        points: (n, d), at least one for each of the 2^levels leaves.

    Returns:
        order (n,), rows of the points leaf by leaf; span (nodes, 2), first and last + 1 place of each node in it; box
        (nodes, 2, d), smallest and largest coordinates of its points.
    """
    n, d = points.shape
    leaves = 2**levels
    order = np.arange(n)
    span, box = np.zeros((2 * leaves, 2), dtype=np.int64), np.empty((2 * leaves, 2, d))
    span[ROOT, END] = n
    for node in range(ROOT, 2 * leaves):
        first, end = span[node]
        low, high = box[node]
        low[:], high[:] = np.inf, -np.inf
        for i in range(first, end):
            for c in range(d):
                value = points[order[i], c]
                low[c], high[c] = min(low[c], value), max(high[c], value)
        if node >= leaves:
            continue
        longest = 0
        for c in range(1, d):
            if high[c] - low[c] > high[longest] - low[longest]:
                longest = c
        part = order[first:end].copy()
        along = np.empty(len(part))
        for i in range(len(part)):
            along[i] = points[part[i], longest]
        order[first:end] = part[np.argsort(along)]
        middle = (first + end) // 2
        span[2 * node, FIRST], span[2 * node, END] = first, middle
        span[2 * node + 1, FIRST], span[2 * node + 1, END] = middle, end
    return order, span, box


@inlined
def gap2(point: Array, box: Array) -> float:
    """Squared distance of a point (d,) to a box (2, d)."""
    total = 0.0
    for c in range(len(point)):
        beside = max(box[LOW, c] - point[c], point[c] - box[HIGH, c], 0.0)
        total += beside * beside
    return total


@kernel
def ask(columns: Array, order: Array, span: Array, box: Array, k: int, limit: float) -> tuple[Array, Array]:
    """Neighbours of all points of a tree; as `nearest_neighbours`.

    Args:
        columns: (d, n) coordinates in the tree's order.
        order, span, box: see `plant`.
        limit: square of the distance within which neighbours lie.
    """
    columns, span, box = uncounted(columns), uncounted(span), uncounted(box)
    d, n = columns.shape
    leaves = len(span) // 2
    distance, index = np.empty((n, k)), np.empty((n, k), dtype=np.int64)
    squares, point = np.empty(LEAF), np.empty(d)
    # At most one node for each level waits.
    waiting, gaps = np.empty(64, dtype=np.int64), np.empty(64)
    for i in range(n):
        own = order[i]
        near, rows = distance[own], index[own]
        near[:], rows[:] = np.inf, own
        for c in range(d):
            point[c] = columns[c, i]
        worst = limit
        waiting[0], gaps[0], top = ROOT, 0.0, 1
        while top:
            top -= 1
            node = waiting[top]
            if gaps[top] >= worst:
                continue
            while 0 < node < leaves:
                # Down to the nearer half; the other one waits.
                node *= 2
                gap, other = gap2(point, box[node]), gap2(point, box[node + 1])
                aside = node + 1
                if other < gap:
                    node, aside, gap, other = aside, node, other, gap
                if other < worst:
                    waiting[top], gaps[top] = aside, other
                    top += 1
                if gap >= worst:
                    node = 0
            if node == 0:
                continue
            first, m = span[node, FIRST], span[node, END] - span[node, FIRST]
            squares[:m] = 0.0
            for c in range(d):
                values, at = columns[c, first : first + m], point[c]
                for j in range(m):
                    squares[j] += (values[j] - at) * (values[j] - at)
            for j in range(m):
                square = squares[j]
                if square < worst and first + j != i:
                    place = k - 1
                    while place > 0 and near[place - 1] > square:
                        near[place], rows[place] = near[place - 1], rows[place - 1]
                        place -= 1
                    near[place], rows[place] = square, order[first + j]
                    worst = min(worst, near[k - 1])
        for j in range(k):
            near[j] = math.sqrt(near[j])
    return distance, index
