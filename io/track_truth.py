"""Truth of tracks, as the ACTS track formats store it."""

from __future__ import annotations

import dataclasses

import numpy as np

from mltrack_plugin.evaluation.matching import match_tracks
from mltrack_plugin.event_data import Tracks, TruthLinks
from mltrack_plugin.event_data.base import Array

#: ``Acts...TrackMatchClassification``.
UNKNOWN, MATCHED, DUPLICATE, FAKE = range(4)
#: ``matchingRatio`` of the ACTS ``TrackTruthMatcher``.
MATCHING_RATIO = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class TrackTruth:
    """The majority particle of each track; all zero and ``UNKNOWN`` without truth."""

    #: (n_tracks,) uint64; 0 = none (no truth, or all hits are noise).
    particle_id: Array
    #: (n_tracks,) int64: hits of that particle on the track.
    n_majority: Array
    #: (n_tracks,) int32: ``UNKNOWN``, ``MATCHED``, ``DUPLICATE`` or ``FAKE``.
    classification: Array


def track_truth(tracks: Tracks, links: TruthLinks | None) -> TrackTruth:
    """Match tracks by the default of the ACTS ``TrackTruthMatcher``.

    A track is matched if at least half of its hits come from its majority particle, else it is a fake. Of
    the tracks matched to one particle all but the one with the most hits (then the smallest chi2, then the
    smallest track id) are duplicates.
    """
    n = len(tracks)
    if links is None or not n:
        return TrackTruth(np.zeros(n, np.uint64), np.zeros(n, np.int64), np.full(n, UNKNOWN, np.int32))
    matching = match_tracks(tracks.labels(len(links)), links.particle_id)
    has = matching.track_particle >= 0
    particle_id = np.zeros(n, dtype=np.uint64)
    particle_id[has] = matching.particle_ids[matching.track_particle[has]]
    n_hits = matching.track_n_hits
    matched = has & (matching.track_n_matched >= MATCHING_RATIO * n_hits)
    best_first = np.lexsort((np.asarray(tracks.chi2), -n_hits))
    best_first = best_first[matched[best_first]]
    first = best_first[np.unique(particle_id[best_first], return_index=True)[1]]
    classification = np.where(matched, DUPLICATE, FAKE).astype(np.int32)
    classification[first] = MATCHED
    return TrackTruth(particle_id, matching.track_n_matched, classification)
