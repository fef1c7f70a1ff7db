"""Accuracy, purity and efficiency of a classification of segments or hits, and the threshold that balances them.

Definitions of Farrell et al. (arXiv:1810.06111): over all elements of all graphs, accuracy is the share that is
classified rightly, purity the share of true ones among the selected, efficiency the share of selected ones among the
true.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

#: Names of the three quantities, in the order of every array here.
QUANTITIES = ("accuracy", "purity", "efficiency")
#: Published on test events: Farrell et al., slides of CTD 2018.
PUBLISHED = {"gnn-segments": (0.9952, 0.9945, 0.9870), "gnn-hits": (0.9942, 0.9918, 0.9793)}


@dataclasses.dataclass(frozen=True)
class Counts:
    """Selected and true elements of one or many graphs.

    Attributes:
        total: (...,) all elements.
        true: (...,) true elements.
        selected: (...,) selected elements.
        both: (...,) selected true elements.
    """

    total: Array
    true: Array
    selected: Array
    both: Array

    def columns(self) -> tuple[Array, ...]:
        """The four arrays, in the order of the attributes."""
        return tuple(getattr(self, f.name) for f in dataclasses.fields(self))

    def sum(self) -> Counts:
        """Of all graphs together."""
        return Counts(*(np.asarray(column.sum()) for column in self.columns()))

    def take(self, rows: Array) -> Counts:
        """Of the given graphs."""
        return Counts(*(column[rows] for column in self.columns()))

    def quantities(self) -> Array:
        """(3, ...) accuracy, purity, efficiency; NaN where nothing is there, selected or true."""
        wrong = self.selected + self.true - 2 * self.both
        parts = ((self.total - wrong, self.total), (self.both, self.selected), (self.both, self.true))
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.stack([np.where(below > 0, above / below, np.nan) for above, below in parts])


def count(score: Array, target: Array, graph: Array, n_graphs: int, threshold: float) -> Counts:
    """Counts per graph of the elements with ``score >= threshold``.

    Args:
        score: (n,) in [0, 1].
        target: (n,) bool.
        graph: (n,) graph of each element.
        n_graphs: number of graphs.
        threshold: in [0, 1].
    """
    selected = score >= threshold

    def per_graph(mask: Array) -> Array:
        return np.bincount(graph[mask], minlength=n_graphs)

    return Counts(
        np.bincount(graph, minlength=n_graphs),
        per_graph(target),
        per_graph(selected),
        per_graph(selected & target),
    )


def balanced_threshold(score: Array, target: Array, reference: tuple[float, float, float]) -> float:
    """The threshold at which the worst of the three quantities, compared with a reference, is best.

    Compared are the shortfalls from 1: the largest of ``(1 - quantity) / (1 - reference)`` is made as small as can be.

    Args:
        score: (n,) scores of validation elements.
        target: (n,) bool.
        reference: accuracy, purity, efficiency, each below 1.

    Returns:
        a threshold half way between two scores; 0.5 if there is no true element.
    """
    if not target.any():
        return 0.5
    order = np.argsort(-score, kind="stable")
    ranked = score[order].astype(np.float64)
    both = np.cumsum(target[order])
    selected = np.arange(1, len(order) + 1)
    quantities = Counts(
        np.full(len(order), len(order)), np.full(len(order), both[-1]), selected, both
    ).quantities()
    shortfall = ((1.0 - quantities) / (1.0 - np.array(reference)[:, None])).max(axis=0)
    # A cut cannot lie between equal scores.
    shortfall[:-1][ranked[:-1] == ranked[1:]] = np.inf
    best = int(np.argmin(shortfall))
    return float((ranked[best] + (ranked[best + 1] if best + 1 < len(ranked) else 0.0)) / 2.0)


def bootstrap(counts: Counts, seed: int, repetitions: int = 1000) -> Array:
    """(3,) standard deviation of the quantities when graphs are resampled; elements of one graph are correlated."""
    n = len(counts.total)
    if n < 2:
        return np.full(3, np.nan)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=repetitions)
    resampled = Counts(*(weights @ column for column in counts.columns()))
    return np.asarray(np.nanstd(resampled.quantities(), axis=1, ddof=1))
