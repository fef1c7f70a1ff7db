"""Quantile bins of track parameters: each bin of a parameter holds about as many hits as the others.

Caron et al. number all combinations of such bins; the number is a hit's class (:mod:`mltrack_plugin.models.enccla`).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import ConfigurationError

Array = npt.NDArray[Any]

#: Parameters that wrap around, with their limits: the first and the last bin are neighbours.
PERIODIC = {"phi": (-np.pi, np.pi)}


def quantile_edges(values: Array, n_bins: int) -> Array:
    """Edges of bins that hold equally many values.

    An edge lies half-way between two neighbouring values, so no value lies on one. Equal values stay together: the
    edge goes to the nearest change of value, which puts the charges -1 and +1 into two bins whatever their shares.

    Args:
        values: (n,) finite numbers.
        n_bins: number of bins.

    Returns:
        (n_bins + 1,) float64, strictly rising; the first is the smallest, the last the largest value.

    Raises:
        ConfigurationError: if there are fewer distinct values than bins.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    changes = np.flatnonzero(np.diff(ordered) > 0) + 1
    if n_bins < 1 or len(changes) + 1 < max(n_bins, 2):
        found = len(changes) + bool(len(ordered))
        raise ConfigurationError(
            f"{n_bins} bins need {max(n_bins, 2)} distinct values or more, there are {found}"
        )
    cuts: list[int] = []
    for k in range(1, n_bins):
        # Enough changes of value must remain for the edges that follow.
        allowed = changes[len(cuts) : len(changes) - (n_bins - 1 - k)]
        allowed = allowed[allowed > (cuts[-1] if cuts else 0)]
        cuts.append(int(allowed[np.argmin(np.abs(allowed - k * len(ordered) / n_bins))]))
    inner = [0.5 * (ordered[cut - 1] + ordered[cut]) for cut in cuts]
    return np.array([ordered[0], *inner, ordered[-1]])


@dataclasses.dataclass(frozen=True)
class QuantileBins:
    """All combinations of the bins of several parameters, numbered from 0 with the last parameter running fastest.

    Attributes:
        names: D parameters.
        edges: for each (n_bins + 1,) strictly rising. Values beyond the ends belong to the outermost bins.
    """

    names: tuple[str, ...]
    edges: tuple[Array, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.edges) or not self.names:
            raise ConfigurationError(f"{len(self.edges)} sets of bin edges for the parameters {self.names}")
        for name, edges in zip(self.names, self.edges, strict=True):
            if len(edges) < 2 or not (np.diff(edges) > 0).all():
                raise ConfigurationError(f"the bin edges of {name} must be two or more rising numbers")

    @classmethod
    def measured(cls, values: Array, n_bins: Mapping[str, int]) -> QuantileBins:
        """Quantile bins of given values.

        Args:
            values: (n, D), one row per hit, in the order of ``n_bins``.
            n_bins: parameter -> number of bins.
        """
        edges = []
        for column, (name, n) in enumerate(n_bins.items()):
            try:
                found = quantile_edges(values[:, column], n)
            except ConfigurationError as error:
                raise ConfigurationError(f"bins of {name}: {error}") from None
            if name in PERIODIC:
                found[0], found[-1] = PERIODIC[name]
            edges.append(found)
        return cls(tuple(n_bins), tuple(edges))

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins of each parameter."""
        return tuple(len(edges) - 1 for edges in self.edges)

    @property
    def n_classes(self) -> int:
        """Number of combinations."""
        return int(np.prod(self.shape))

    def indices(self, values: Array) -> Array:
        """(n, D) parameters to (n, D) int64 bins; a bin holds its lower edge."""
        columns = [
            np.searchsorted(edges[1:-1], values[:, i], side="right") for i, edges in enumerate(self.edges)
        ]
        return np.stack(columns, axis=1)

    def classes(self, values: Array) -> Array:
        """(n, D) parameters to (n,) int64 classes."""
        return np.asarray(np.ravel_multi_index(tuple(self.indices(values).T), self.shape))

    def box(self, classes: Array) -> tuple[Array, Array]:
        """(n,) classes to the lower and upper edges (n, D) of their bins."""
        index = np.stack(np.unravel_index(classes, self.shape), axis=1)
        low = np.stack([edges[index[:, i]] for i, edges in enumerate(self.edges)], axis=1)
        high = np.stack([edges[index[:, i] + 1] for i, edges in enumerate(self.edges)], axis=1)
        return low, high

    def shared(self, values: Array, width: float, smooth: Sequence[str]) -> tuple[Array, Array]:
        """Classes among which values near the border of a bin are shared: label smoothing towards the neighbours.

        At a border the two bins have the weight 1/2 each; at a distance of ``width`` (as a fraction of the bin) the
        value's own bin has the whole weight.

        Args:
            values: (n, D).
            width: 0 to 0.5; 0 = no sharing.
            smooth: parameters that are smoothed; not those with discrete values.

        Returns:
            (n, 2^S) int64 classes and (n, 2^S) float32 weights of sum 1, for S smoothed parameters.
        """
        index = self.indices(values)
        options: list[list[tuple[Array, Array]]] = []
        for i, (name, edges) in enumerate(zip(self.names, self.edges, strict=True)):
            own, last = index[:, i], len(edges) - 2
            if name not in smooth or width <= 0 or not last:
                options.append([(own, np.ones(len(own)))])
                continue
            part = np.clip((values[:, i] - edges[own]) / (edges[own + 1] - edges[own]), 0.0, 1.0)
            side = np.where(part < 0.5, -1, 1)
            other = own + side
            if name in PERIODIC:
                other %= last + 1
            outside = (other < 0) | (other > last)
            weight = np.maximum(0.0, 0.5 - np.minimum(part, 1.0 - part) / (2.0 * width))
            weight = np.where(outside, 0.0, weight)
            options.append([(own, 1.0 - weight), (np.where(outside, own, other), weight)])
        classes, weights = [], []
        for choice in itertools.product(*options):
            classes.append(np.ravel_multi_index(tuple(one for one, _ in choice), self.shape))
            weights.append(np.prod([weight for _, weight in choice], axis=0))
        return np.stack(classes, axis=1), np.stack(weights, axis=1).astype(np.float32)
