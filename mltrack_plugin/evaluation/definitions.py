"""Efficiency, fake rate and duplicate rate as several packages define them, side by side.

The same tracks have another fake rate in every package, because packages leave different tracks out. All
definitions here start from one `Matching` and give counts that add up over events:

- `strict`: this package; every emitted track counts.
- `acts`, with single or double matching: ``TrackTruthMatcher`` and the pattern recognition performance writers
  of ACTS.
- `hepattn`: ``experiments/trackml/eval/track_evaluate.py`` of hepattn.
- `gnn_tracking`: ``metrics/cluster_metrics.py`` of gnn_tracking.
- `heptv2`: ``heptv2/eval/metrics.py`` of HEPTv2, which grew out of gnn_tracking's.

Words: a particle is *selected* if it is reconstructable and above the pT cut. Purity and completeness are
those of the track's majority particle among all particles. A rate that a package does not define has
numerator and denominator 0, and so the value NaN.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.evaluation.efficiency import is_duplicate, is_matched
from mltrack_plugin.evaluation.matching import Array, Matching
from mltrack_plugin.evaluation.scores import DEFAULT_MIN_HITS, Fraction

#: Name in results -> what counts as a fake, in one line.
DEFINITIONS = {
    "strict": "every emitted track that is not matched (more than half, min_hits hits)",
    "acts": "tracks with hits of particles, less than half from the majority particle",
    "acts-double": "as acts, or less than half of the majority particle's hits on the track",
    "hepattn": "tracks above the pT cut that are not the double-majority track of a selected particle",
    "gnn_tracking": "tracks of selected particles without double majority",
    "heptv2": "tracks of selected particles with a purity of at most one half",
}

#: Metrics of every definition.
METRIC_NAMES = ("efficiency", "fake_rate", "duplicate_rate")

#: Smallest purity, and with double matching completeness, of a matched track: ``matchingRatio`` of ACTS.
ACTS_MATCHING_RATIO = 0.5


class ActsCounts(NamedTuple):
    """The counts of ACTS's ``PatternRecognitionPerformanceCollector``; each adds up over events."""

    #: ``nTotalTracks``: all tracks.
    tracks: int
    #: ``nTotalMatchedTracks``: matched tracks of selected particles, duplicates included.
    matched_tracks: int
    #: ``nTotalFakeTracks``: tracks with hits of particles that are not matched.
    fake_tracks: int
    #: ``nTotalDuplicateTracks``: matched tracks beyond the first one of their particle, selected or not.
    duplicate_tracks: int
    #: ``nTotalParticles``: selected particles.
    particles: int
    #: ``nTotalMatchedParticles``: selected particles with a matched track.
    matched_particles: int
    #: ``nTotalDuplicateParticles``: selected particles with two or more matched tracks.
    duplicate_particles: int
    #: ``nTotalFakeParticles``: selected particles that are the majority of a fake track.
    fake_particles: int


def evaluate(
    matching: Matching,
    reconstructable: npt.ArrayLike,
    above_pt: npt.ArrayLike,
    min_hits: int = DEFAULT_MIN_HITS,
    tracks_above_pt: npt.ArrayLike | None = None,
) -> dict[str, dict[str, Fraction]]:
    """All definitions for the tracks of one event (or of several: `Matching.join`).

    Args:
        matching: of all emitted tracks to all particles.
        reconstructable: (n_particles,) bool, beside ``matching.particle_ids``: left enough hits to count.
        above_pt: (n_particles,) bool: true transverse momentum above the cut.
        min_hits: hits that a track must have to be credited (strict) or to count at all (hepattn,
            gnn_tracking, HEPTv2, whose own value is 3). ACTS has no such cut.
        tracks_above_pt: (n_tracks,) bool: fitted transverse momentum above the cut, which only hepattn looks
            at; default: all tracks, as hepattn does for models that regress no momentum.

    Returns:
        Name of DEFINITIONS -> name of METRIC_NAMES -> `Fraction`; events add up.

    Raises:
        EventDataError: if a mask has the wrong length.

    >>> from mltrack_plugin.evaluation.matching import match_tracks
    >>> m = match_tracks([0, 0, 0, 0, 1, 1, 1, 1], [7, 7, 7, 7, 9, 9, 0, 0])
    >>> result = evaluate(m, reconstructable=[True, False], above_pt=[True, True])
    >>> {name: metrics["fake_rate"].value for name, metrics in result.items()}
    {'strict': 0.5, 'acts': 0.0, 'acts-double': 0.0, 'hepattn': 0.5, 'gnn_tracking': 0.0, 'heptv2': 0.0}
    """
    asked = _mask("reconstructable", reconstructable, matching.n_particles)
    selected = asked & _mask("above_pt", above_pt, matching.n_particles)
    if tracks_above_pt is None:
        tracks_above_pt = np.ones(matching.n_tracks, dtype=bool)
    own = _mask("tracks_above_pt", tracks_above_pt, matching.n_tracks)
    return {
        "strict": strict(matching, selected, min_hits),
        "acts": acts(matching, selected),
        "acts-double": acts(matching, selected, double_matching=True),
        "hepattn": hepattn(matching, selected, min_hits, own),
        "gnn_tracking": gnn_tracking(matching, selected, min_hits),
        "heptv2": heptv2(matching, selected, min_hits),
    }


def strict(matching: Matching, selected: Array, min_hits: int = DEFAULT_MIN_HITS) -> dict[str, Fraction]:
    """The definitions of `efficiency`, for the selected particles.

    Efficiency: selected particles with a matched track (``min_hits`` hits, purity above one half). Fakes: all
    other tracks, over all emitted tracks; no cut on particles or tracks hides any. Duplicates: matched
    tracks beyond the best one of each particle, over all emitted tracks.
    """
    matched = is_matched(matching, min_hits)
    return {
        "efficiency": _found(matching, matched, selected),
        "fake_rate": _fraction((~matched).sum(), matching.n_tracks),
        "duplicate_rate": _fraction(is_duplicate(matching, min_hits).sum(), matching.n_tracks),
    }


def acts(matching: Matching, selected: Array, *, double_matching: bool = False) -> dict[str, Fraction]:
    """The ratios that ACTS's pattern recognition performance writers print, from `acts_counts`.

    Efficiency: "Efficiency with particles" (``nMatchedParticles / nTrueParticles``). Fakes and duplicates:
    "Fake ratio with tracks" and "Duplicate ratio with tracks", over all tracks. A track of noise only is in
    the denominator but is no fake.
    """
    counts = acts_counts(matching, selected, double_matching=double_matching)
    return {
        "efficiency": _fraction(counts.matched_particles, counts.particles),
        "fake_rate": _fraction(counts.fake_tracks, counts.tracks),
        "duplicate_rate": _fraction(counts.duplicate_tracks, counts.tracks),
    }


def acts_counts(
    matching: Matching,
    selected: Array,
    *,
    double_matching: bool = False,
    matching_ratio: float = ACTS_MATCHING_RATIO,
) -> ActsCounts:
    """What ACTS's ``TrackTruthMatcher`` and performance writer count.

    The matcher must know all particles that left hits (else it drops the tracks of the others without a
    trace), and the writer the selected ones. A track is matched to its majority particle if at least
    ``matching_ratio`` of its measurements come from it, with double matching also at least that fraction of the
    particle's measurements are on the track; a track that is not matched is a fake. Tracks of noise only
    are neither. There is no cut on the length. Of exactly half a track from each of two particles ACTS takes the
    one whose measurement is outermost: ``ties="last-hit"`` of `match_hit_lists`.

    Args:
        matching: tracks with their measurements (no outliers, no holes).
        selected: (n_particles,) bool: particles that the writer is given.
        double_matching: ``doubleMatching`` of the matcher.
        matching_ratio: ``matchingRatio`` of the matcher.
    """
    has_particle = matching.track_particle >= 0
    matched = has_particle & (matching.purity >= matching_ratio)
    if double_matching:
        matched &= matching.completeness >= matching_ratio
    fake = has_particle & ~matched
    tracks_of = np.bincount(matching.track_particle[matched], minlength=matching.n_particles)
    fakes_of = np.bincount(matching.track_particle[fake], minlength=matching.n_particles)
    return ActsCounts(
        tracks=matching.n_tracks,
        matched_tracks=int(tracks_of[selected].sum()),
        fake_tracks=int(fake.sum()),
        duplicate_tracks=int(np.maximum(tracks_of - 1, 0).sum()),
        particles=int(selected.sum()),
        matched_particles=int((tracks_of[selected] > 0).sum()),
        duplicate_particles=int((tracks_of[selected] > 1).sum()),
        fake_particles=int((fakes_of[selected] > 0).sum()),
    )


def hepattn(
    matching: Matching,
    selected: Array,
    min_hits: int = DEFAULT_MIN_HITS,
    tracks_above_pt: Array | None = None,
) -> dict[str, Fraction]:
    """hepattn's track evaluation with double majority.

    Tracks shorter than ``min_hits`` do not count. hepattn knows the selected particles only; each is given to
    the track that holds most of its hits, and that track is efficient if more than half of its hits come from
    the particle and it holds more than half of the particle's hits. Efficiency: selected particles with such a
    track. Fakes: all other tracks whose own fitted momentum is above the cut, over all tracks above it; so the
    second track of a particle, and a good track of a particle that is not selected, are fakes. Duplicates: tracks with
    exactly the hits of an earlier one: none, because the function is exact only where a hit is on one track.
    """
    counted = matching.track_n_hits >= min_hits
    best = np.zeros(matching.n_tracks, dtype=bool)
    candidates = np.flatnonzero(counted & _of_selected(matching, selected))
    particle = matching.track_particle[candidates]
    order = np.lexsort((candidates, -matching.track_n_matched[candidates], particle))
    best[candidates[order[np.unique(particle[order], return_index=True)[1]]]] = True
    good = best & _double_majority(matching)
    if tracks_above_pt is not None:
        counted = counted & tracks_above_pt
    return {
        "efficiency": _found(matching, good, selected),
        "fake_rate": _fraction((counted & ~good).sum(), counted.sum()),
        "duplicate_rate": _fraction(0, counted.sum()),
    }


def gnn_tracking(
    matching: Matching, selected: Array, min_hits: int = DEFAULT_MIN_HITS
) -> dict[str, Fraction]:
    """gnn_tracking's ``double_majority`` and ``fake_double_majority``.

    Only tracks of at least ``min_hits`` hits count whose most frequent particle id belongs to a selected
    particle; noise is an id like any other there, so a track with more noise than hits of any particle is left
    out. Efficiency: counted tracks with more than half of their hits from the particle and more than half of its
    hits, over selected particles. Fakes: counted tracks without, over counted tracks. Duplicates are not defined.
    """
    counted = _counted_by_gnn(matching, selected, min_hits)
    good = counted & _double_majority(matching)
    return {
        "efficiency": _fraction(good.sum(), selected.sum()),
        "fake_rate": _fraction((counted & ~good).sum(), counted.sum()),
        "duplicate_rate": _fraction(0, 0),
    }


def heptv2(matching: Matching, selected: Array, min_hits: int = DEFAULT_MIN_HITS) -> dict[str, Fraction]:
    """HEPTv2's ``double_majority``, ``fake_rate`` and ``dup_rate``.

    Counted tracks and efficiency are those of `gnn_tracking`. Fakes: counted tracks with a purity of at most
    one half, over counted tracks, whatever part of the particle they hold. Duplicates: tracks with a purity
    above one half beyond one per particle, over the particles that have one.
    """
    counted = _counted_by_gnn(matching, selected, min_hits)
    matched = counted & (2 * matching.track_n_matched > matching.track_n_hits)
    found = len(np.unique(matching.track_particle[matched]))
    return {
        "efficiency": _fraction((counted & _double_majority(matching)).sum(), selected.sum()),
        "fake_rate": _fraction((counted & ~matched).sum(), counted.sum()),
        "duplicate_rate": _fraction(matched.sum() - found, found),
    }


def _counted_by_gnn(matching: Matching, selected: Array, min_hits: int) -> Array:
    """(n_tracks,) bool: long enough, and most frequent id that of a selected particle."""
    frequent = matching.track_n_noise <= matching.track_n_matched
    return np.asarray((matching.track_n_hits >= min_hits) & frequent & _of_selected(matching, selected))


def _double_majority(matching: Matching) -> Array:
    """(n_tracks,) bool: purity and completeness strictly above one half."""
    return np.asarray(
        (2 * matching.track_n_matched > matching.track_n_hits)
        & (2 * matching.track_n_matched > matching.majority_n_hits)
    )


def _of_selected(matching: Matching, selected: Array) -> Array:
    """(n_tracks,) bool: the majority particle is selected; tracks of noise only have none."""
    # Index -1 reads the entry appended for "no particle".
    return np.asarray(np.append(selected, False)[matching.track_particle])


def _found(matching: Matching, good: Array, selected: Array) -> Fraction:
    """Selected particles that are the majority particle of a good track, over selected particles."""
    found = np.unique(matching.track_particle[good & _of_selected(matching, selected)])
    return _fraction(len(found), selected.sum())


def _fraction(numerator: float, denominator: float) -> Fraction:
    return Fraction(float(numerator), float(denominator))


def _mask(name: str, values: npt.ArrayLike, length: int) -> Array:
    mask = np.asarray(values)
    if mask.shape != (length,) or (length and mask.dtype != np.bool_):
        raise EventDataError(
            f"{name} must be {length} booleans beside the matching, got {mask.shape} of {mask.dtype}"
        )
    return mask.astype(bool, copy=False)
