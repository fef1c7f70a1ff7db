"""HDBSCAN on the graph of nearest neighbours: for many small, well separated clusters, such as tracks.

The minimum spanning tree of the mutual reachability distances is taken from the k nearest neighbours of each point
(Boruvka) instead of from all pairs. Below the distances at which that graph falls apart, tree and clusters are those of
HDBSCAN. A part of the graph that nothing connects to the rest joins it at the smallest distance that any of its points
could have to a point that is not among its neighbours: a lower limit, so an upper limit of the density at which the
part is born. (Joining parts at infinity instead would make each of them one cluster, however well its inside
separates.)

Reference: Campello, Moulavi, Sander, "Density-based clustering based on hierarchical density estimates" (2013); the
condensed tree and the excess of mass follow McInnes, Healy, "Accelerated hierarchical density based clustering" (2017).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.clustering.nearest import nearest_neighbours
from mltrack_plugin.compiled import kernel

Array = npt.NDArray[Any]

#: Smallest distance that counts as different from 0, as a fraction of the largest core distance.
_RESOLUTION = 1e-7


def cluster_knn(
    points: Array,
    min_cluster_size: int,
    min_samples: int,
    neighbours: int,
    allow_single_cluster: bool,
    epsilon: float = 0.0,
    max_distance: float = math.inf,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Group points by density; arguments are checked by :func:`~mltrack_plugin.clustering.cluster_hdbscan`.

    Args:
        points: (n, k) float64, n > min_samples.
        min_cluster_size: smallest group that is a cluster.
        min_samples: neighbours that define the core distance.
        neighbours: neighbours of each point in the graph, at least min_samples; larger than a cluster, so that most
            clusters see another one.
        allow_single_cluster: let all points be one cluster.
        epsilon: groups that are this close to each other are not split.
        max_distance: points further apart are no neighbours; a short one saves most of the time, which goes into the
            search for neighbours.

    Returns:
        labels (n,) int64, -1 = noise, numbered by their first point; membership (n,) float32.
    """
    n = len(points)
    k = min(max(neighbours, min_samples), n - 1)
    distance, index = nearest_neighbours(points, k, max_distance)
    core = distance[:, min_samples - 1].copy()
    # Without a single edge there is no cluster and the floor does not matter.
    largest = float(core.max(initial=0.0, where=np.isfinite(core)))
    floor = max(largest * _RESOLUTION, np.finfo(np.float64).tiny)
    left, right, weight = spanning_forest(distance, index, core)
    order = np.argsort(weight, kind="stable")
    labels, membership = tree_clusters(
        left[order],
        right[order],
        np.maximum(weight[order], floor),
        np.clip(distance[:, -1], floor, max_distance),
        min_cluster_size,
        allow_single_cluster,
        epsilon,
    )
    return labels, membership


@kernel
def _root(parent: Array, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel
def spanning_forest(distance: Array, index: Array, core: Array) -> tuple[Array, Array, Array]:
    """Minimum spanning forest of the mutual reachability graph (Boruvka).

    Args:
        distance: (n, k) to the neighbours, ascending.
        index: (n, k) neighbours; the point itself where there are no more.
        core: (n,) core distances; a point with an infinite one has no edges.

    Returns:
        both ends and the length of each edge, (m,) each; n - m is the number of connected parts.
    """
    n, k = index.shape
    parent = np.arange(n)
    part = np.arange(n)
    first = np.zeros(n, dtype=np.int64)
    left, right = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    weight = np.empty(n)
    best_weight = np.empty(n)
    best_from, best_to = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    m = 0
    while True:
        best_weight[:] = np.inf
        for i in range(n):
            # Neighbours in the same part stay there: they are skipped for good.
            j = first[i]
            while j < k and part[index[i, j]] == part[i]:
                j += 1
            first[i] = j
            while j < k:
                d = distance[i, j]
                if d > best_weight[part[i]] and d > core[i]:
                    break
                other = index[i, j]
                j += 1
                if part[other] == part[i]:
                    continue
                w = max(d, core[i], core[other])
                if w == np.inf:
                    continue
                low, high = min(i, other), max(i, other)
                # An edge serves both of its parts; ties go to the smaller ends, the same from both sides.
                for own in (part[i], part[other]):
                    if w < best_weight[own] or (
                        w == best_weight[own]
                        and (low < best_from[own] or (low == best_from[own] and high < best_to[own]))
                    ):
                        best_weight[own], best_from[own], best_to[own] = w, low, high
        joined = False
        for own in range(n):
            if best_weight[own] == np.inf:
                continue
            a, b = _root(parent, best_from[own]), _root(parent, best_to[own])
            if a != b:
                parent[max(a, b)] = min(a, b)
                left[m], right[m], weight[m] = best_from[own], best_to[own], best_weight[own]
                m += 1
                joined = True
        if not joined:
            return left[:m], right[:m], weight[:m]
        for i in range(n):
            part[i] = _root(parent, i)


@kernel
def tree_clusters(
    left: Array, right: Array, weight: Array, reach: Array, min_size: int, allow_single: bool, epsilon: float
) -> tuple[Array, Array]:
    """Clusters of a spanning forest by excess of mass.

    Args:
        left, right, weight: (m,) edges in ascending order of length.
        reach: (n,) distance beyond which a point may have neighbours that the graph does not hold.
        min_size: smallest cluster.
        allow_single: a forest of one tree may be one cluster.
        epsilon: an edge shorter than this separates no clusters.

    Returns:
        labels (n,) int64, -1 = noise; membership (n,) float32, 1 in the densest place of a cluster.
    """
    n, m = len(reach), len(left)
    # The dendrogram: nodes 0..n-1 are points, node n + e joins two nodes by edge e.
    total = n + m
    child_a, child_b = np.full(total, -1), np.full(total, -1)
    size = np.ones(total, dtype=np.int64)
    nearest_reach = np.empty(total)
    nearest_reach[:n] = reach
    parent, node = np.arange(n), np.arange(n)
    has_parent = np.zeros(total, dtype=np.bool_)
    for e in range(m):
        a, b = _root(parent, left[e]), _root(parent, right[e])
        p, q, new = node[a], node[b], n + e
        child_a[new], child_b[new] = p, q
        has_parent[p], has_parent[q] = True, True
        size[new] = size[p] + size[q]
        nearest_reach[new] = min(nearest_reach[p], nearest_reach[q])
        parent[max(a, b)] = min(a, b)
        node[min(a, b)] = new

    # The condensed tree, from the roots down. A cluster is born at its first node and loses points until it splits.
    n_roots = n - m
    max_clusters = 2 * (n // min_size + 1) + n_roots
    birth, stability = np.zeros(max_clusters), np.zeros(max_clusters)
    mother = np.full(max_clusters, -1)
    largest = np.zeros(max_clusters)
    cluster_of, density_of = np.full(n, -1), np.zeros(n)
    n_clusters = 0
    stack_node, stack_cluster = np.empty(total, dtype=np.int64), np.empty(total, dtype=np.int64)
    fallen = np.empty(total, dtype=np.int64)
    top = 0
    for root in range(total):
        if not has_parent[root] and size[root] >= min_size and root >= n:
            birth[n_clusters] = 0.0 if n_roots == 1 else 1.0 / max(nearest_reach[root], weight[root - n])
            stack_node[top], stack_cluster[top] = root, n_clusters
            top += 1
            n_clusters += 1
    n_tops = n_clusters
    while top:
        top -= 1
        current, cluster = stack_node[top], stack_cluster[top]
        density = 1.0 / weight[current - n]
        a, b = child_a[current], child_b[current]
        big_a, big_b = size[a] >= min_size, size[b] >= min_size
        if big_a and big_b and weight[current - n] >= epsilon:
            stability[cluster] += size[current] * (density - birth[cluster])
            for child in (a, b):
                birth[n_clusters], mother[n_clusters] = density, cluster
                stack_node[top], stack_cluster[top] = child, n_clusters
                top += 1
                n_clusters += 1
            continue
        for child, big in ((a, big_a), (b, big_b)):
            if big:
                stack_node[top], stack_cluster[top] = child, cluster
                top += 1
                continue
            depth = 1
            fallen[0] = child
            while depth:
                depth -= 1
                inner = fallen[depth]
                if inner < n:
                    cluster_of[inner], density_of[inner] = cluster, density
                    stability[cluster] += density - birth[cluster]
                    largest[cluster] = max(largest[cluster], density)
                else:
                    fallen[depth], fallen[depth + 1] = child_a[inner], child_b[inner]
                    depth += 2

    # Excess of mass, from the leaves up: a cluster stands for its descendants if it is more stable than they are.
    below = np.zeros(max_clusters)
    stands = np.zeros(max_clusters, dtype=np.bool_)
    deepest = largest.copy()
    for cluster in range(n_clusters - 1, -1, -1):
        only_root = cluster < n_tops and n_tops == 1 and n_roots == 1 and not allow_single
        stands[cluster] = stability[cluster] >= below[cluster] and not only_root
        own = max(stability[cluster], below[cluster])
        if mother[cluster] >= 0:
            below[mother[cluster]] += own
            deepest[mother[cluster]] = max(deepest[mother[cluster]], deepest[cluster])
    # A cluster without an own selected ancestor is the answer; children always have larger numbers.
    answer = np.full(max_clusters, -1)
    for cluster in range(n_clusters):
        if mother[cluster] >= 0 and answer[mother[cluster]] >= 0:
            answer[cluster] = answer[mother[cluster]]
        elif stands[cluster]:
            answer[cluster] = cluster

    labels, membership = np.full(n, -1), np.zeros(n, dtype=np.float32)
    number = np.full(max_clusters, -1)
    used = 0
    for i in range(n):
        if cluster_of[i] < 0 or answer[cluster_of[i]] < 0:
            continue
        chosen = answer[cluster_of[i]]
        if number[chosen] < 0:
            number[chosen] = used
            used += 1
        labels[i] = number[chosen]
        membership[i] = min(density_of[i], deepest[chosen]) / deepest[chosen]
    return labels, membership
