"""Figures of samples with their standard errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mltrack_plugin.event_data.base import Array

#: A figure of a sample with its standard error.
Figure = tuple[float, float]


def central_width(values: Array) -> float:
    """Half the central 68.27% of the values: the standard deviation of a Gaussian, whatever its tails."""
    low, high = np.quantile(values, [0.158655, 0.841345])
    return float(high - low) / 2


def mean(values: Array) -> Figure:
    """Mean of independent values."""
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(
        values
    ) > 1 else np.nan


def share(passed: Array) -> Figure:
    """Fraction with the mean half-width of its Clopper-Pearson interval."""
    from mltrack_plugin.evaluation.intervals import clopper_pearson

    low, high = clopper_pearson([np.count_nonzero(passed)], [len(passed)])
    return float(np.mean(passed)), float(high[0] - low[0]) / 2


def ratio(counts: Array) -> Figure:
    """Ratio of summed counts (n_events, 2) with its bootstrap error over events."""
    from mltrack_plugin.evaluation.intervals import bootstrap_fractions

    low, high = bootstrap_fractions(counts[:, :1].astype(float), counts[:, 1:].astype(float))
    total = counts.sum(axis=0)
    return float(total[0] / max(total[1], 1)), float(high[0] - low[0]) / 2


def bootstrap(values: Array, statistic: Callable[[Array], Any], resamples: int = 200) -> Figure:
    """A statistic with the spread of its bootstrap; NaN without values."""
    if len(values) < 2:
        return np.nan, np.nan
    rng = np.random.default_rng(20180501)
    drawn = [float(statistic(values[rng.integers(0, len(values), len(values))])) for _ in range(resamples)]
    return float(statistic(values)), float(np.std(drawn))
