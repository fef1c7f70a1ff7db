"""Track to particle matching by shared hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """The majority particle of every track, and the sizes of tracks and particles.

    Noise (particle id 0) is no particle: it counts in ``track_n_hits`` and is never a majority.
    """

    #: (n_tracks,) int64: label of each track, ascending.
    track_labels: Array
    #: (n_tracks,) int64: hits of the track, noise included.
    track_n_hits: Array
    #: (n_tracks,) int64: majority particle as index into ``particle_ids``; -1 if all hits are noise.
    track_particle: Array
    #: (n_tracks,) int64: hits of the track that come from its majority particle.
    track_n_matched: Array
    #: (n_tracks,) float64: summed weight of those hits.
    track_weight: Array
    #: (n_tracks,) int64: hits of the track that are noise.
    track_n_noise: Array
    #: (n_particles,) uint64: particles with at least one hit in the event, ascending.
    particle_ids: Array
    #: (n_particles,) int64: hits of the particle in the event.
    particle_n_hits: Array
    #: Summed weight of all hits that come from particles.
    total_weight: float

    @property
    def n_tracks(self) -> int:
        """Number of tracks."""
        return len(self.track_labels)

    @property
    def n_particles(self) -> int:
        """Number of particles with at least one hit."""
        return len(self.particle_ids)

    @property
    def purity(self) -> Array:
        """(n_tracks,) float64: fraction of the track's hits that come from its majority particle."""
        return np.asarray(self.track_n_matched / self.track_n_hits)

    @property
    def completeness(self) -> Array:
        """(n_tracks,) float64: fraction of the majority particle's hits that are on the track.

        0 where the track has no majority particle.
        """
        return np.asarray(self.track_n_matched / np.maximum(self.majority_n_hits, 1))

    @property
    def majority_n_hits(self) -> Array:
        """(n_tracks,) int64: hits of the majority particle in the event, 0 where there is none."""
        has = self.track_particle >= 0
        result = np.zeros(self.n_tracks, dtype=np.int64)
        result[has] = self.particle_n_hits[self.track_particle[has]]
        return result

    @staticmethod
    def join(events: Sequence[Matching]) -> Matching:
        """The tracks and particles of several events (one or more), one event after the other.

        Labels and ids are unique only within their event.
        """
        first_particle = np.cumsum([0, *(event.n_particles for event in events)])

        def joined(name: str) -> Array:
            return np.concatenate([getattr(event, name) for event in events])

        return Matching(
            track_labels=joined("track_labels"),
            track_n_hits=joined("track_n_hits"),
            track_particle=np.concatenate(
                [
                    np.where(event.track_particle >= 0, event.track_particle + first, -1)
                    for event, first in zip(events, first_particle.tolist(), strict=False)
                ]
            ),
            track_n_matched=joined("track_n_matched"),
            track_weight=joined("track_weight"),
            track_n_noise=joined("track_n_noise"),
            particle_ids=joined("particle_ids"),
            particle_n_hits=joined("particle_n_hits"),
            total_weight=sum(event.total_weight for event in events),
        )


def match_tracks(
    track_of_hit: npt.ArrayLike, particle_of_hit: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Matching:
    """Find the majority particle of each track from the sparse track x particle hit counts.

    The majority particle has the most hits on the track. Ties go to the particle with the fewest hits in
    the event (the one whose larger part the track holds), then to the smallest particle id. A tie means a
    purity of at most 0.5, so only definitions that accept exactly one half depend on this rule. Peers:
    ``majorityParticleId`` of the ACTS ``TrackTruthMatcher``; ``_analyze_tracks`` of trackml-library (which
    takes noise for a particle, without effect on its score, and gives ties to the smallest id).

    Args:
        track_of_hit: (n_hits,) integers: track label of each hit, negative = on no track.
        particle_of_hit: (n_hits,) integers: particle id of each hit, 0 = noise.
        weights: (n_hits,) hit weights; default 1. The weight of noise hits is taken as 0.

    Raises:
        EventDataError: if the lengths differ or an id is not an integer.

    >>> m = match_tracks([0, 0, 0, 1, -1], [7, 7, 9, 9, 9])
    >>> m.particle_ids[m.track_particle].tolist()
    [7, 9]
    >>> m.purity.round(2).tolist(), m.completeness.round(2).tolist()
    ([0.67, 1.0], [1.0, 0.33])
    """
    track = _integers("track_of_hit", track_of_hit, np.int64)
    particle = _integers("particle_of_hit", particle_of_hit, np.uint64)
    weight = _weights(weights, len(track))
    if particle.shape != track.shape or weight.shape != track.shape:
        raise EventDataError(
            f"one track label, particle id and weight per hit is needed; "
            f"got {track.shape}, {particle.shape} and {weight.shape}"
        )
    hit = np.flatnonzero(track >= 0)
    labels, code = np.unique(track[hit], return_inverse=True)
    return _match(labels, code.reshape(-1), hit, particle, weight)


def match_hit_lists(
    offsets: npt.ArrayLike,
    hit_indices: npt.ArrayLike,
    particle_of_hit: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    *,
    ties: Literal["completeness", "last-hit"] = "completeness",
) -> Matching:
    """As `match_tracks`, for tracks that may share hits and whose hits have an order.

    Args:
        offsets: (n_tracks + 1,) integers; track i owns ``hit_indices[offsets[i]:offsets[i + 1]]``.
        hit_indices: rows of the hits, in the order of the track where it matters.
        particle_of_hit: (n_hits,) integers: particle id of each hit, 0 = noise.
        weights: (n_hits,) hit weights; default 1. The weight of noise hits is taken as 0.
        ties: ``"completeness"`` as in `match_tracks`; ``"last-hit"``: to the particle whose hit comes last on
            the track. That is the rule of ACTS, which counts from the outermost measurement inwards.

    Raises:
        EventDataError: if an id is not an integer, a track is empty or a row is not one of a hit.

    >>> m = match_hit_lists([0, 4, 6], [0, 1, 2, 3, 0, 1], [7, 7, 9, 9], ties="last-hit")
    >>> m.particle_ids[m.track_particle].tolist(), m.purity.tolist()
    ([9, 7], [0.5, 1.0])
    """
    starts = _integers("offsets", offsets, np.int64)
    hit = _integers("hit_indices", hit_indices, np.int64)
    particle = _integers("particle_of_hit", particle_of_hit, np.uint64)
    weight = _weights(weights, len(particle))
    if weight.shape != particle.shape:
        raise EventDataError(
            f"one weight per hit is needed; got {weight.shape} for {len(particle)} particle ids"
        )
    if not len(starts) or starts[0] != 0 or starts[-1] != len(hit) or (np.diff(starts) < 1).any():
        raise EventDataError(f"offsets must rise from 0 to {len(hit)}, the number of hit indices")
    if len(hit) and not 0 <= int(hit.min()) <= int(hit.max()) < len(particle):
        raise EventDataError(
            f"hit indices run from {hit.min()} to {hit.max()}, but the event has {len(particle)} hits"
        )
    labels = np.arange(len(starts) - 1)
    code = np.repeat(labels, np.diff(starts))
    return _match(labels, code, hit, particle, weight, ties_to_last=ties == "last-hit")


def _match(
    labels: Array, code: Array, hit: Array, particle: Array, weight: Array, *, ties_to_last: bool = False
) -> Matching:
    """Majority particles from the entries (track ``code``, ``hit`` row) of the track x hit table."""
    real = particle != 0
    particle_ids, particle_code, particle_n_hits = np.unique(
        particle[real], return_inverse=True, return_counts=True
    )
    n_tracks, n_particles = len(labels), len(particle_ids)
    particle_of = np.zeros(len(particle), dtype=np.int64)
    particle_of[real] = particle_code.reshape(-1)

    # One integer per (track, particle) pair that shares at least one hit.
    of_particle = real[hit]
    entries = np.flatnonzero(of_particle)
    key = code[entries] * max(n_particles, 1) + particle_of[hit[entries]]
    pairs, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(-1)
    pair_weight = np.bincount(inverse, weights=weight[hit[entries]], minlength=len(pairs))
    pair_track, pair_particle = np.divmod(pairs, max(n_particles, 1))

    if ties_to_last:
        preference = np.zeros(len(pairs), dtype=np.int64)
        np.minimum.at(preference, inverse, -entries)
    else:
        preference = particle_n_hits[pair_particle]
    # particle_ids ascend, so the smaller index is the smaller id.
    order = np.lexsort((pair_particle, preference, -count, pair_track))
    first = np.flatnonzero(np.diff(pair_track[order], prepend=-1))
    best = order[first]
    track_particle = np.full(n_tracks, -1, dtype=np.int64)
    track_n_matched = np.zeros(n_tracks, dtype=np.int64)
    track_weight = np.zeros(n_tracks)
    track_particle[pair_track[best]] = pair_particle[best]
    track_n_matched[pair_track[best]] = count[best]
    track_weight[pair_track[best]] = pair_weight[best]
    return Matching(
        track_labels=labels,
        track_n_hits=np.bincount(code, minlength=n_tracks).astype(np.int64),
        track_particle=track_particle,
        track_n_matched=track_n_matched,
        track_weight=track_weight,
        track_n_noise=np.bincount(code[~of_particle], minlength=n_tracks).astype(np.int64),
        particle_ids=particle_ids,
        particle_n_hits=particle_n_hits,
        total_weight=float(weight[real].sum()),
    )


def _weights(weights: npt.ArrayLike | None, n_hits: int) -> Array:
    return np.ones(n_hits) if weights is None else np.asarray(weights, dtype=np.float64)


def _integers(name: str, values: npt.ArrayLike, dtype: npt.DTypeLike) -> Array:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise EventDataError(f"{name} must hold integers (64-bit ids collapse as floats), got {array.dtype}")
    return array.astype(dtype, copy=False)
