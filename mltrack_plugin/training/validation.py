"""Scores of clustered validation events, by the definitions that `mltrack evaluate` uses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import nn

from mltrack_plugin.evaluation.efficiency import METRICS
from mltrack_plugin.evaluation.matching import Array, match_tracks
from mltrack_plugin.evaluation.scores import DEFAULT_MIN_HITS, Fraction, trackml_score
from mltrack_plugin.evaluation.summary import hit_weights
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.settings import TrainingConfig
from mltrack_plugin.training.task import TaskModule

#: Efficiencies that are logged beside the TrackML score, as ``val_<name>``.
METRIC_NAMES = ("perfect_match_efficiency", "lhc_match_efficiency", "double_majority_efficiency")


class ValidationScores:
    """TrackML score and efficiencies, added up over validation events."""

    def __init__(self) -> None:
        self._sums: dict[str, Fraction] = {}

    def add(
        self, labels: npt.ArrayLike, particle: npt.ArrayLike, weights: npt.ArrayLike | None = None
    ) -> None:
        """Add one event.

        Args:
            labels: (n_hits,) track of each hit, -1 = none.
            particle: (n_hits,) row of the hit's particle, -1 = noise.
            weights: (n_hits,) TrackML weights; None = all alike.
        """
        matching = match_tracks(labels, (np.asarray(particle) + 1).astype(np.uint64), weights)
        values = {name: METRICS[name](matching, DEFAULT_MIN_HITS).fraction for name in METRIC_NAMES}
        for name, value in {"score": trackml_score(matching), **values}.items():
            before = self._sums.get(name, Fraction(0.0, 0.0))
            self._sums[name] = Fraction(
                before.numerator + value.numerator, before.denominator + value.denominator
            )

    def result(self, suffix: str = "") -> dict[str, float]:
        """``val_score`` (the TrackML score) and the efficiencies; 0 where nothing was found to count.

        Args:
            suffix: behind each name.
        """
        return {
            f"val_{name}{suffix}": total.value if total.denominator else 0.0
            for name, total in self._sums.items()
        }

    def clear(self) -> None:
        """Forget all events."""
        self._sums.clear()


class ScoredModule(TaskModule):
    """A module whose validation steps add tracks to scores, which are logged at the end of each validation."""

    def __init__(self, config: TrainingConfig, network: nn.Module) -> None:
        super().__init__(config, network)
        self._scores = ValidationScores()
        #: TrackML weights of the hits of each validation event, in order; None = all hits alike.
        self.validation_weights: list[Array | None] = []

    def on_validation_epoch_start(self) -> None:
        self._weights = iter(self.validation_weights)

    def on_validation_epoch_end(self) -> None:
        values = self._scores.result()
        self.log("val_score", values.pop("val_score"), prog_bar=True)
        self.log_dict(values)
        self._scores.clear()


def event_weights(event: SimulatedEvent, detector: str | None) -> Array | None:
    """(n_hits,) TrackML weights of an event as ``mltrack evaluate`` takes them; None = all hits alike."""
    return hit_weights(event.hits, event.truth_links, event.particles, detector)[0]
