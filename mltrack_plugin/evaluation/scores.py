"""Scores of a whole event: the TrackML score and FitAccuracy."""

from __future__ import annotations

from typing import NamedTuple

from mltrack_plugin.evaluation.matching import Matching

#: Fewest hits that a particle must have left to count, and that a track must have to be matched.
DEFAULT_MIN_HITS = 4


class Fraction(NamedTuple):
    """A metric as numerator and denominator, so that events add up."""

    numerator: float
    denominator: float

    @property
    def value(self) -> float:
        """The quotient; NaN where there is nothing to divide by."""
        return self.numerator / self.denominator if self.denominator else float("nan")


def trackml_score(matching: Matching) -> Fraction:
    """TrackML score: weight of the correctly assigned hits over the weight of all hits.

    A track is good if strictly more than half of its hits come from one particle and it holds strictly more
    than half of that particle's hits; the hits of that particle on it are correctly assigned. With the
    weights of the challenge (`trackml_weights`) this is ``score_event`` of trackml-library, the score of
    Kaggle and Codalab; with weight 1 per hit it is the score of the published REDVID results ("FitAccuracy"
    in their tables). Two differences of bookkeeping: hits without a track are no track here (the library
    wants every hit on one, and the published evaluation scores the clustering's noise label as a track), and
    noise has no weight here (as in all TrackML files).
    """
    good = (2 * matching.track_n_matched > matching.track_n_hits) & (
        2 * matching.track_n_matched > matching.majority_n_hits
    )
    return Fraction(float(matching.track_weight[good].sum()), matching.total_weight)


def fit_accuracy(matching: Matching, min_hits: int = DEFAULT_MIN_HITS) -> Fraction:
    """FitAccuracy as the text of "Efficient ML-Assisted Particle Track Reconstruction Designs" words it.

    Tracks with at least ``min_hits`` hits count if at least half of their hits come from one particle; the
    weights of those hits are summed and divided by the weight of all hits. There is no condition on the
    fraction of the particle's hits, so split tracks cost nothing, and a track that is exactly half of one
    particle counts: this is looser than `trackml_score`, which is what the published code computes.
    """
    good = (matching.track_n_hits >= min_hits) & (2 * matching.track_n_matched >= matching.track_n_hits)
    return Fraction(float(matching.track_weight[good].sum()), matching.total_weight)
