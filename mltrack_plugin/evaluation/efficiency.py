"""Efficiencies and rates, one definition each.

Every metric is a sum of numerators over a sum of denominators, one term per particle or per track, so that
events add up and the same terms fill histograms.

Words used in all definitions, with ``min_hits`` (default 4) the one cut:

- a particle is *reconstructable* if it left at least ``min_hits`` hits in the event;
- a track is *matched* to its majority particle if it has at least ``min_hits`` hits and strictly more than
  half of them come from that particle. Shorter tracks are emitted tracks like all others, but earn nothing.
  Peers: ACTS ``TrackTruthMatcher`` with ``doubleMatching=False`` (at least ``matchingRatio`` = 0.5 of the
  hits, no cut on the length).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from mltrack_plugin.evaluation.matching import Array, Matching
from mltrack_plugin.evaluation.scores import DEFAULT_MIN_HITS, Fraction


class Terms(NamedTuple):
    """Numerator and denominator of a metric, one entry per particle or track."""

    #: (n,) int64.
    numerator: Array
    #: (n,) int64.
    denominator: Array
    #: What the entries are, and so which pT and eta they are binned in: ``"particle"`` (true values),
    #: ``"match"`` (tracks, true values of the majority particle), ``"track"`` (tracks, their own values).
    of: Literal["particle", "match", "track"]

    @property
    def fraction(self) -> Fraction:
        """The metric of the event."""
        return Fraction(float(self.numerator.sum()), float(self.denominator.sum()))


def is_matched(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Array:
    """(n_tracks,) bool: at least ``min_hits`` hits, strictly more than half from the majority particle."""
    return np.asarray(
        (matching.track_n_hits >= min_hits) & (2 * matching.track_n_matched > matching.track_n_hits)
    )


def is_duplicate(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Array:
    """(n_tracks,) bool: matched, but not the best matched track of its particle.

    The best track holds the most hits of the particle; ties go to the purer, then to the first track.
    """
    matched = np.flatnonzero(is_matched(matching, min_hits))
    particle = matching.track_particle[matched]
    order = np.lexsort(
        (matched, matching.track_n_hits[matched], -matching.track_n_matched[matched], particle)
    )
    best = order[np.unique(particle[order], return_index=True)[1]]
    duplicate = np.zeros(matching.n_tracks, dtype=bool)
    duplicate[matched] = True
    duplicate[matched[best]] = False
    return duplicate


def perfect_match_efficiency(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Terms:
    """Particles of which a track holds all hits and nothing else, over all particles.

    All particles with at least one hit are in the denominator; the track needs ``min_hits`` hits. Published
    as "perfect match efficiency"; peer: ``perfect`` of gnn_tracking's cluster metrics.
    """
    perfect = (matching.track_n_matched == matching.track_n_hits) & (
        matching.track_n_matched == matching.majority_n_hits
    )
    return _particles_with(matching, perfect & (matching.track_n_hits >= min_hits))


def double_majority_efficiency(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Terms:
    """Particles with a track of which they have at least half and which holds more than half of them.

    The track has at least ``min_hits`` hits, at least 50% of them from the particle, and less than 50% of the
    particle's hits are outside the track; it counts once, for its majority particle. All particles with at
    least one hit are in the denominator.
    Published as "double majority efficiency" (the published code asks for strictly more than half both ways);
    peer: ``double_majority`` of gnn_tracking.
    """
    good = (2 * matching.track_n_matched >= matching.track_n_hits) & (
        2 * matching.track_n_matched > matching.majority_n_hits
    )
    return _particles_with(matching, good & (matching.track_n_hits >= min_hits))


def lhc_match_efficiency(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Terms:
    """Tracks with at least 75% of their hits from one particle, over all tracks.

    The track needs ``min_hits`` hits to be credited; every emitted track is in the denominator. Published as
    "LHC-style match efficiency" (the published code asks for strictly more than 75%); peer: ``lhc`` of
    gnn_tracking.
    """
    good = (4 * matching.track_n_matched >= 3 * matching.track_n_hits) & (matching.track_n_hits >= min_hits)
    return Terms(good.astype(np.int64), np.ones(matching.n_tracks, dtype=np.int64), "track")


def efficiency(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Terms:
    """Reconstructable particles to which at least one track is matched, over reconstructable particles.

    Peers: track efficiency of ACTS's performance writers with single matching; "physics efficiency" of
    acorn and HEPTv2 adds cuts on pT and eta, read here from the bins.
    """
    found = np.zeros(matching.n_particles, dtype=bool)
    found[matching.track_particle[is_matched(matching, min_hits)]] = True
    reconstructable = matching.particle_n_hits >= min_hits
    return Terms((found & reconstructable).astype(np.int64), reconstructable.astype(np.int64), "particle")


def fake_rate(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Terms:
    """Tracks that are matched to no particle, over all emitted tracks (strict).

    Nothing is left out: neither short tracks, nor tracks of noise, nor tracks of particles that are not
    reconstructable or below a pT cut. Peers that do leave tracks out report less: HEPTv2 and gnn_tracking
    count only tracks whose majority particle is reconstructable and above the pT cut.
    """
    fake = ~is_matched(matching, min_hits)
    return Terms(fake.astype(np.int64), np.ones(matching.n_tracks, dtype=np.int64), "track")


def duplicate_rate(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Terms:
    """Matched tracks beyond the best one of their particle, over all emitted tracks.

    Peers: clone rate (LHCb, Belle II); ``duplicationRatio_tracks`` of ACTS's track finder performance writer.
    Its ``duplicationRatio_particle`` (particles with duplicates, over particles) is another quantity.
    """
    duplicate = is_duplicate(matching, min_hits)
    return Terms(duplicate.astype(np.int64), np.ones(matching.n_tracks, dtype=np.int64), "track")


def purity(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Terms:
    """Hits on matched tracks that come from the matched particle, over all hits on matched tracks.

    Pooled over hits, so long tracks count more than in a mean over tracks. Peers: hit purity (Belle II),
    purity of ACTS's track quality plots (a mean over tracks).
    """
    matched = is_matched(matching, min_hits)
    return Terms(matching.track_n_matched * matched, matching.track_n_hits * matched, "match")


def completeness(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Terms:
    """Hits on matched tracks that come from the matched particle, over all hits of the matched particles.

    Pooled over hits; a particle with two matched tracks enters once per track. Peers: hit efficiency
    (Belle II), completeness of ACTS's track quality plots (a mean over tracks).
    """
    matched = is_matched(matching, min_hits)
    return Terms(matching.track_n_matched * matched, matching.majority_n_hits * matched, "match")


#: All metrics of this module by the name they have in results.
METRICS: dict[str, Callable[[Matching, int], Terms]] = {
    function.__name__: function
    for function in (
        perfect_match_efficiency,
        lhc_match_efficiency,
        double_majority_efficiency,
        efficiency,
        fake_rate,
        duplicate_rate,
        purity,
        completeness,
    )
}


def _particles_with(matching: Matching, good_track: Array) -> Terms:
    """Terms over all particles; the numerator marks those that are the majority of a good track."""
    found = np.zeros(matching.n_particles, dtype=np.int64)
    found[matching.track_particle[good_track & (matching.track_particle >= 0)]] = 1
    return Terms(found, np.ones(matching.n_particles, dtype=np.int64), "particle")
