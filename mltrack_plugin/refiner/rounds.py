"""From the refiner's answers to tracks: merged and split clusters, and one owner for each hit.

Each round asks the network about the present clusters. Clusters that claim each other's hits and agree in their
parameters become one. Every hit then goes to the cluster that claims it most, if that is likely enough. Hits that a
cluster loses without another taking them are a cluster of their own in the next round. The rounds end with the last
one, or when nothing was merged or split.

Shapes: N hits, C clusters, S slots, T parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mltrack_plugin.models.hypotheses import Hypothesis
from mltrack_plugin.refiner.slots import Clusters, Slots, make_slots

Array = npt.NDArray[Any]

#: Slots -> (C, S + 1 + 2T), as :meth:`mltrack_plugin.models.refiner.Refiner.forward`.
Network = Callable[[Slots], Array]


class Answers(NamedTuple):
    """What the network says about clusters."""

    #: (C, S) probability of each slot's hit to be the cluster's.
    membership: Array
    #: (C,) probability that the cluster is a track.
    probability: Array
    #: (C, T).
    parameters: Array
    #: (C, T) standard deviations.
    sigmas: Array

    @classmethod
    def split(cls, output: Array, slots: int) -> Answers:
        """The columns of the network's output."""
        t = (output.shape[1] - slots - 1) // 2
        parts = np.split(output, [slots, slots + 1, slots + 1 + t], axis=1)
        return cls(parts[0], parts[1][:, 0], parts[2], parts[3])


class Refined(NamedTuple):
    """Refined tracks."""

    #: (N,) int64: track of each hit, from 0 and dense, -1 = none.
    labels: Array
    #: (N,) float32: probability that the hit belongs to its track; 0 for those on none.
    membership: Array
    #: (C,) float32: probability that the track is one particle's.
    probability: Array
    #: (C, T) float32.
    parameters: Array
    #: (C, T) float32: standard deviations.
    sigmas: Array


def clusters_of(labels: Array, weight: Array | None = None) -> Clusters:
    """Clusters from one label per hit (negative = none), with memberships (default 1)."""
    hit = np.flatnonzero(labels >= 0)
    hit = hit[np.argsort(labels[hit], kind="stable")]
    names, cluster = np.unique(labels[hit], return_inverse=True)
    own = np.ones(len(hit), dtype=np.float32) if weight is None else weight[hit].astype(np.float32)
    return Clusters(cluster.reshape(-1).astype(np.int64), hit, own, len(names))


def merged(slots: Slots, answers: Answers, n_hits: int, overlap: float, max_pull: float) -> Array:
    """Which clusters are the same track.

    Args:
        slots, answers: of all clusters.
        n_hits: N.
        overlap: share of the smaller cluster's hits that both must claim.
        max_pull: largest difference of any parameter, in standard deviations.

    Returns:
        (C,) int64: group of each cluster.
    """
    claimed = answers.membership > 0.5
    cluster = np.nonzero(claimed)[0]
    n = len(claimed)
    table = csr_array((np.ones(len(cluster)), (cluster, slots.hit[claimed])), shape=(n, n_hits))
    common = (table @ table.T).tocoo()
    a, b = common.coords
    size = claimed.sum(axis=1)
    same = (a < b) & (common.data >= overlap * np.minimum(size[a], size[b]))
    a, b = a[same], b[same]
    difference = np.abs(answers.parameters[a] - answers.parameters[b])
    pull = difference / np.sqrt(answers.sigmas[a] ** 2 + answers.sigmas[b] ** 2)
    agree = (pull <= max_pull).all(axis=1)
    edges = csr_array((np.ones(int(agree.sum())), (a[agree], b[agree])), shape=(n, n))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def owners(slots: Slots, answers: Answers, n_hits: int, min_membership: float) -> tuple[Array, Array]:
    """The cluster that claims each hit most.

    Equal claims go to the cluster of the smaller number.

    Returns:
        (N,) int64 cluster, -1 where no claim reaches ``min_membership``; (N,) float32 membership there, otherwise 0.
    """
    valid = slots.mask & (answers.membership >= min_membership)
    cluster = np.nonzero(valid)[0]
    hit, claim = slots.hit[valid], answers.membership[valid]
    order = np.lexsort((cluster, -claim, hit))
    first = order[np.unique(hit[order], return_index=True)[1]]
    owner, membership = np.full(n_hits, -1, dtype=np.int64), np.zeros(n_hits, dtype=np.float32)
    owner[hit[first]], membership[hit[first]] = cluster[first], claim[first]
    return owner, membership


def refine(
    positions: Array,
    labels: Array,
    network: Network,
    *,
    hypotheses: Sequence[Hypothesis],
    length_scale: float,
    slots: int,
    min_hits: int = 4,
    min_membership: float = 0.5,
    min_probability: float = 0.0,
    overlap: float = 0.5,
    max_pull: float = 5.0,
    rounds: int = 3,
) -> Refined:
    """Refine the clusters of one event.

    Args:
        positions: (N, 3) float32, Cartesian, in the network's unit.
        labels: (N,) integers, the clusters; negative = none.
        network: see :data:`Network`.
        hypotheses, length_scale, slots: the network's.
        min_hits: tracks with fewer hits are dropped; hits that a cluster loses are a cluster from so many on.
        min_membership: smallest probability with which a hit is on a track.
        min_probability: tracks of smaller probability are dropped.
        overlap, max_pull: see :func:`merged`.
        rounds: times that the network is asked, at most.
    """
    n = len(positions)
    clusters = clusters_of(labels)
    empty = np.zeros((0, 0), dtype=np.float32)
    nothing = Refined(
        np.full(n, -1), np.zeros(n, dtype=np.float32), np.zeros(0, dtype=np.float32), empty, empty
    )
    for turn in range(rounds):
        if not clusters.n:
            return nothing
        sets = make_slots(positions, clusters, hypotheses, length_scale, slots)
        answers = Answers.split(network(sets), sets.hit.shape[1])
        owner, membership = owners(sets, answers, n, min_membership)
        if turn == rounds - 1:
            break
        group = merged(sets, answers, n, overlap, max_pull)
        # Hits of a cluster that no cluster claims now.
        left = np.flatnonzero(owner < 0)
        before = np.full(n, -1, dtype=np.int64)
        before[clusters.hit[::-1]] = clusters.cluster[::-1]
        pieces = before[left]
        large = np.bincount(pieces[pieces >= 0], minlength=clusters.n) >= min_hits
        piece = (pieces >= 0) & large[np.maximum(pieces, 0)]
        if len(np.unique(group)) == clusters.n and not piece.any():
            break
        following = np.where(owner >= 0, group[np.maximum(owner, 0)], -1)
        following[left[piece]] = clusters.n + pieces[piece]
        weight = membership.copy()
        weight[left[piece]] = 1.0
        clusters = clusters_of(following, weight)
    counts = np.bincount(owner[owner >= 0], minlength=clusters.n)
    kept = (counts >= min_hits) & (answers.probability >= min_probability)
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    final = np.where(owner >= 0, number[np.maximum(owner, 0)], -1)
    return Refined(
        final,
        np.where(final >= 0, membership, np.float32(0.0)).astype(np.float32),
        answers.probability[kept],
        answers.parameters[kept],
        answers.sigmas[kept],
    )
