"""An event as a mixture of tracks: their parameters, and which hit is whose, by expectation and maximisation.

For detectors in which every track from the origin is a point of a plane and leaves one hit on each surface that it
crosses. Starting from clusters, each iteration takes the parameters of the tracks (their centres) from their hits,
weighted by resolution and membership, and the memberships from the chi2 of each hit with each track. Memberships are
normalised per hit and per track and surface (Sinkhorn), so that tracks compete for hits and a second hit on a surface
goes to another track. After some iterations fragments of a track are merged, tracks without hits are dropped, and
unassigned hits make new tracks. No hit is on two tracks, and no track has two hits on a surface.

Shapes: N hits, C tracks, P planes, L surfaces.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.mixture.planes import PlaneHits

Array = npt.NDArray[Any]

#: Iterations of expectation and maximisation.
ITERATIONS = 9
#: Factor on chi2, and gate (largest chi2 of a hit), of the first iterations; the last entry holds for all others.
TEMPERING = (0.5, 0.7, 1.0)
GATES = (40.0, 30.0, 25.0)
#: Iterations after which tracks are merged, dropped and made.
MERGED_AFTER = (2, 4, 6)
#: Normalisations of memberships, per hit and per track and surface in turns (Sinkhorn).
NORMALISATIONS = 4
#: Smallest membership of a hit that is assigned to a track before the last iteration.
MIN_MEMBERSHIP = 0.3
#: Largest chi2 (two degrees of freedom) between the centres of fragments of one track.
MAX_FRAGMENT_CHI2 = 12.0
#: Fewest hits of a track before the last iteration.
MIN_HITS = 3
#: Precision (1 / variance) of a centre without hits.
NO_PRECISION = 1e-9


class Tracks(NamedTuple):
    """Tracks while they are found."""

    #: (C, N) float64 memberships.
    weight: Array
    #: (C,) int64 plane of each.
    plane: Array


class Centres(NamedTuple):
    """(C,) each: where tracks are in their plane, and one over the variances."""

    eta: Array
    second: Array
    eta_precision: Array
    second_precision: Array


def wrapped(angle: Array) -> Array:
    """Angles in [-pi, pi)."""
    return np.asarray(np.mod(angle + np.pi, 2 * np.pi) - np.pi)


def difference(hits: PlaneHits, values: Array) -> Array:
    """Differences of second coordinates."""
    return wrapped(values) if hits.angle else values


def centres(hits: PlaneHits, tracks: Tracks) -> Centres:
    """Weighted means of the tracks' hits."""
    first = tracks.weight / hits.eta_sigma**2
    second = tracks.weight / hits.second_sigma[tracks.plane] ** 2
    values = hits.second[tracks.plane]
    first_sum, second_sum = first.sum(axis=1) + NO_PRECISION, second.sum(axis=1) + NO_PRECISION
    # Angles are averaged around the track's strongest hit.
    about = values[np.arange(len(values)), second.argmax(axis=1)]
    offset = difference(hits, values - about[:, None])
    return Centres(
        (first * hits.eta).sum(axis=1) / first_sum,
        about + (second * offset).sum(axis=1) / second_sum,
        first_sum,
        second_sum,
    )


def distances(hits: PlaneHits, found: Centres, plane: Array) -> Array:
    """(C, N) chi2, two degrees of freedom, of each hit with each track."""
    eta = (hits.eta - found.eta[:, None]) ** 2 / (hits.eta_sigma**2 + 1 / found.eta_precision[:, None])
    offset = difference(hits, hits.second[plane] - found.second[:, None])
    variance = hits.second_sigma[plane] ** 2 + 1 / found.second_precision[:, None]
    return np.asarray(eta + offset**2 / variance)


def first_tracks(hits: PlaneHits, labels: Array) -> Tracks:
    """Tracks from clusters, in the plane in which most hits are near the cluster's median; the others are left out.

    Args:
        labels: (N,) int64 in the order of ``hits``; negative = none.
    """
    names = np.unique(labels[labels >= 0])
    weight = (labels == names[:, None]).astype(np.float64)
    if not len(names):
        return Tracks(weight, np.zeros(0, dtype=np.int64))
    only = np.where(weight > 0, 1.0, np.nan)
    eta = np.nanmedian(hits.eta * only, axis=1)
    _, largest, gate = GATES
    chi2 = []
    for values, sigma in zip(hits.second, hits.second_sigma, strict=True):
        about = values[weight.argmax(axis=1)]
        offset = difference(hits, values - about[:, None])
        rest = difference(hits, offset - np.nanmedian(offset * only, axis=1)[:, None])
        # A median is no better than some hits are.
        far = ((hits.eta - eta[:, None]) / np.hypot(hits.eta_sigma, 0.02)) ** 2
        chi2.append(np.minimum(far + (rest / np.hypot(sigma, 0.02)) ** 2, largest))
    cost = np.stack(chi2)
    plane = (cost * weight).sum(axis=2).argmin(axis=0)
    near = cost[plane, np.arange(len(names))] < gate
    return Tracks(weight * near, plane)


def shared(hits: PlaneHits, likelihood: Array, background: float) -> Array:
    """(C, N) memberships from likelihoods: they sum up to at most 1 per track and surface, and per hit."""
    for _ in range(NORMALISATIONS):
        likelihood = likelihood / (background + likelihood.sum(axis=0))
        total = np.add.reduceat(likelihood, hits.first, axis=1)
        likelihood = likelihood / np.maximum(total, 1.0)[:, hits.layer]
    return np.asarray(likelihood / np.maximum(likelihood.sum(axis=0), 1.0))


def assigned(hits: PlaneHits, weight: Array) -> Array:
    """(C, N) bool: each track's hit of largest membership on each surface, if no other track has a larger one."""
    if not len(weight):
        return np.zeros(weight.shape, dtype=bool)
    best = np.maximum.reduceat(weight, hits.first, axis=1)[:, hits.layer]
    claim = np.where((weight >= best) & (weight > MIN_MEMBERSHIP), weight, 0.0)
    owner = claim.argmax(axis=0)
    return np.asarray((claim > 0) & (owner == np.arange(len(weight))[:, None]))


def merged_and_new(hits: PlaneHits, tracks: Tracks, min_hits: int, seed_chi2: float) -> Tracks:
    """Merge fragments, drop tracks without assigned hits, make new ones of unassigned hits."""
    mine = assigned(hits, tracks.weight)
    n = len(mine)
    if n:
        on: Array = np.logical_or.reduceat(mine, hits.first, axis=1).astype(np.int64)
        found = centres(hits, tracks)
        eta = found.eta[:, None] - found.eta
        second = difference(hits, found.second[:, None] - found.second)
        pull = eta**2 / (1 / found.eta_precision + 1 / found.eta_precision[:, None])
        pull += second**2 / (1 / found.second_precision + 1 / found.second_precision[:, None])
        alive = on.sum(axis=1) > 0
        same = (pull < MAX_FRAGMENT_CHI2) & (tracks.plane[:, None] == tracks.plane) & (on @ on.T == 0)
        same &= alive[:, None] & alive
        number = np.arange(n)
        target = np.where(same, number, n).min(axis=1, initial=n)
        target = np.minimum(target, number)
        best: Array = np.maximum.reduceat(tracks.weight, hits.first, axis=1)
        keeps_second = best[:, hits.layer] < MIN_MEMBERSHIP
        weight, together = np.zeros_like(tracks.weight), np.zeros(mine.shape, dtype=np.int64)
        np.add.at(weight, target, tracks.weight * (mine | keeps_second))
        np.add.at(together, target, mine)
        kept = (together > 0).sum(axis=1) >= MIN_HITS
        mine = together[kept] > 0
        tracks = Tracks(np.minimum(weight[kept], 1.0), tracks.plane[kept])
    return with_new(hits, tracks, np.flatnonzero(~mine.any(axis=0)), min_hits, seed_chi2)


def with_new(hits: PlaneHits, tracks: Tracks, free: Array, min_hits: int, seed_chi2: float) -> Tracks:
    """Add tracks of unassigned hits: one after the other, from the hit with neighbours on most surfaces.

    Args:
        free: (F,) rows of unassigned hits, ascending.
        min_hits: fewest surfaces of a new track.
        seed_chi2: largest chi2 between a seed and its hits.
    """
    if len(free) < min_hits:
        return tracks
    first = np.flatnonzero(np.r_[True, np.diff(hits.layer[free]) > 0])
    near = []
    eta = (hits.eta[free][:, None] - hits.eta[free]) ** 2
    eta /= hits.eta_sigma[free][:, None] ** 2 + hits.eta_sigma[free] ** 2
    for values, sigma in zip(hits.second[:, free], hits.second_sigma[:, free], strict=True):
        offset = difference(hits, values[:, None] - values)
        near.append(eta + offset**2 / (sigma[:, None] ** 2 + sigma**2) < seed_chi2)
    neighbours = np.stack(near)
    left = np.ones(len(free), dtype=bool)
    starts = left.copy()
    weights, planes = [tracks.weight], [tracks.plane]
    while True:
        layers = np.logical_or.reduceat(neighbours & left, first, axis=2).sum(axis=2) * starts
        plane, start = np.unravel_index(int(layers.argmax()), layers.shape)
        if layers[plane, start] < min_hits:
            break
        starts[start] = False
        members = neighbours[plane, start] & left
        own_plane = np.array([plane])
        for _ in range(3):
            weight = np.zeros((1, len(hits.eta)))
            weight[:, free[members]] = 1.0
            (chi2,) = distances(hits, centres(hits, Tracks(weight, own_plane)), own_plane)
            members = (chi2[free] < seed_chi2) & left
        if len(np.unique(hits.layer[free[members]])) >= min_hits:
            weight = np.zeros((1, len(hits.eta)))
            weight[:, free[members]] = 1.0
            weights.append(weight)
            planes.append(own_plane)
            left &= ~members
            starts &= left
    return Tracks(np.concatenate(weights), np.concatenate(planes))


def fit_mixture(
    hits: PlaneHits, labels: Array, *, min_hits: int = 4, seed_chi2: float = 12.0, background: float = 1e-3
) -> tuple[Array, Array]:
    """The tracks of an event.

    Args:
        hits: of the event.
        labels: (n,) integers, a cluster for each hit of the input; negative = none.
        min_hits: tracks with fewer hits are dropped.
        seed_chi2: see :func:`with_new`.
        background: likelihood of a hit to be of no track, where that of a hit at a track's centre is 1.

    Returns:
        (n,) int64 track of each hit, -1 = none; (n,) float32 its membership, 0 for those on none.
    """
    result, membership = np.full(len(labels), -1, dtype=np.int64), np.zeros(len(labels), dtype=np.float32)
    if not len(hits.row):
        return result, membership
    tracks = first_tracks(hits, np.asarray(labels)[hits.row])
    if not len(tracks.plane):
        tracks = with_new(hits, tracks, np.arange(len(hits.row)), min_hits, seed_chi2)
    for iteration in range(ITERATIONS):
        chi2 = distances(hits, centres(hits, tracks), tracks.plane)
        step = min(iteration, len(GATES) - 1)
        likelihood = np.exp(-0.5 * TEMPERING[step] * chi2) * (chi2 < GATES[step])
        tracks = tracks._replace(weight=shared(hits, likelihood, background))
        if iteration in MERGED_AFTER:
            tracks = merged_and_new(hits, tracks, min_hits, seed_chi2)
        if not len(tracks.plane):
            return result, membership
    owner, value = tracks.weight.argmax(axis=0), tracks.weight.max(axis=0)
    label = np.where(value > 0.5, owner, -1)
    counts = np.bincount(label[label >= 0], minlength=len(tracks.plane))
    label = np.where((label >= 0) & (counts[np.maximum(label, 0)] >= min_hits), label, -1)
    result[hits.row] = label
    membership[hits.row] = np.where(label >= 0, value, 0.0)
    return result, membership
