"""The sets of hits that the refiner looks at: each cluster's own hits and the nearest others.

Near is what lies close to the cluster's centre in the plane of the track hypothesis under which the cluster is most
compact. No loop runs over hits or clusters.

Shapes: N hits, C clusters, S slots, P hypotheses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from scipy.spatial import cKDTree

from mltrack_plugin.models.hypotheses import Hypothesis, plane_coordinates

Array = npt.NDArray[Any]


class Clusters(NamedTuple):
    """Clusters of hits, which may share hits and hold them in part; sorted by cluster."""

    #: (m,) int64, ascending: cluster of each entry, from 0.
    cluster: Array
    #: (m,) int64: row of the hit.
    hit: Array
    #: (m,) float32 in (0, 1]: membership.
    weight: Array
    #: Number of clusters.
    n: int


class Slots(NamedTuple):
    """What the network reads; see :meth:`mltrack_plugin.models.refiner.Refiner.forward`."""

    #: (C, S, 3) float32.
    positions: Array
    #: (C, S) int64.
    hit: Array
    #: (C, S) float32.
    weight: Array
    #: (C, S) bool.
    mask: Array


def plane_points(
    positions: Array, hypotheses: Sequence[Hypothesis], length_scale: float
) -> list[tuple[Array, Array]]:
    """Coordinates (N,) float64 of hits in the plane of each hypothesis, azimuths in [0, 2 pi).

    Args:
        positions: (N, 3) float32 in the network's unit.
        hypotheses: P of them.
        length_scale: the network's.
    """
    hits = torch.from_numpy(np.ascontiguousarray(positions, dtype=np.float32))
    found = []
    for h in hypotheses:
        eta, second = plane_coordinates(
            hits,
            h.bending / length_scale,
            h.origin * length_scale,
            float(h.turning),
            h.pitch * length_scale,
        )
        other = second.numpy().astype(np.float64)
        found.append((eta.numpy().astype(np.float64), other if h.turning else np.mod(other, 2.0 * np.pi)))
    return found


def group_medians(values: Array, group: Array, n: int) -> Array:
    """(n,) lower median of the values of each group; groups are ascending and none is empty."""
    order = np.lexsort((values, group))
    counts = np.bincount(group, minlength=n)
    first = np.cumsum(counts) - counts
    return np.asarray(values[order][first + (counts - 1) // 2])


def make_slots(
    positions: Array, clusters: Clusters, hypotheses: Sequence[Hypothesis], length_scale: float, slots: int
) -> Slots:
    """Choose the hits of each cluster's set.

    Args:
        positions: (N, 3) float32, Cartesian, in the network's unit.
        clusters: with at least one entry each.
        hypotheses: the network's.
        length_scale: the network's.
        slots: S. Of a cluster with more hits the nearest ones to its centre are taken.

    Returns:
        the sets, with min(S, N) slots; a cluster's own hits come first, by their distance.
    """
    n_hits = len(positions)
    slots = min(slots, n_hits)
    of, n = clusters.cluster, clusters.n
    spread = np.full((n, len(hypotheses)), np.inf)
    centres, points = [], []
    for number, ((eta, second), hypothesis) in enumerate(
        zip(plane_points(positions, hypotheses, length_scale), hypotheses, strict=True)
    ):
        first_entry = np.searchsorted(of, np.arange(n))
        reference = second[clusters.hit[first_entry]]
        offset = second[clusters.hit] - reference[of]
        if not hypothesis.turning:
            offset = np.mod(offset + np.pi, 2.0 * np.pi) - np.pi
        middle_eta = group_medians(eta[clusters.hit], of, n)
        middle = group_medians(offset, of, n)
        spread[:, number] = group_medians(
            np.hypot(eta[clusters.hit] - middle_eta[of], offset - middle[of]), of, n
        )
        if hypothesis.turning:
            points.append(np.stack([eta, second], axis=1))
            centres.append(np.stack([middle_eta, middle + reference], axis=1))
        else:
            # As points of the unit circle, because the azimuth is periodic.
            azimuth = middle + reference
            points.append(np.stack([eta, np.cos(second), np.sin(second)], axis=1))
            centres.append(np.stack([middle_eta, np.cos(azimuth), np.sin(azimuth)], axis=1))
    chosen = spread.argmin(axis=1)
    near_cluster, near_hit, near_distance, own_distance = [], [], [], np.empty(len(of))
    for number, (point, centre) in enumerate(zip(points, centres, strict=True)):
        here = np.flatnonzero(chosen == number)
        mine = chosen[of] == number
        own_distance[mine] = np.linalg.norm(point[clusters.hit[mine]] - centre[of[mine]], axis=1)
        if len(here):
            distance, index = cKDTree(point).query(centre[here], k=np.arange(1, slots + 1))
            near_cluster.append(np.repeat(here, slots))
            near_hit.append(index.ravel())
            near_distance.append(distance.ravel())
    other = np.concatenate(near_cluster), np.concatenate(near_hit), np.concatenate(near_distance)
    cluster = np.concatenate([of, other[0]])
    hit = np.concatenate([clusters.hit, other[1]])
    distance = np.concatenate([own_distance, other[2]])
    weight = np.concatenate([clusters.weight, np.zeros(len(other[0]), dtype=np.float32)])
    is_other = np.arange(len(cluster)) >= len(of)
    # A cluster's own hits are among its neighbours again: the first entry of each pair is kept.
    order = np.lexsort((is_other, hit, cluster))
    again = np.zeros(len(order), dtype=bool)
    again[1:] = (cluster[order][1:] == cluster[order][:-1]) & (hit[order][1:] == hit[order][:-1])
    kept = order[~again]
    kept = kept[np.lexsort((hit[kept], distance[kept], is_other[kept], cluster[kept]))]
    counts = np.bincount(cluster[kept], minlength=n)
    rank = np.arange(len(kept)) - (np.cumsum(counts) - counts)[cluster[kept]]
    kept, rank = kept[rank < slots], rank[rank < slots]
    result = Slots(
        np.zeros((n, slots, 3), dtype=np.float32),
        np.zeros((n, slots), dtype=np.int64),
        np.zeros((n, slots), dtype=np.float32),
        np.zeros((n, slots), dtype=np.bool_),
    )
    place = cluster[kept], rank
    result.positions[place] = positions[hit[kept]]
    result.hit[place], result.weight[place], result.mask[place] = hit[kept], weight[kept], True
    return result
