"""Widths of residuals and pulls from histograms that take any value: memory stays flat, tails stay in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mltrack_plugin.evaluation.intervals import ONE_SIGMA
from mltrack_plugin.event_data.base import Array

#: Bins per decade of the absolute value: 4.7% wide, so that a width interpolated in them is good to 1%, unless the
#: bias is many times larger.
_PER_DECADE = 50
_SMALLEST, _DECADES = 1e-8, 13
_SIDE = _DECADES * _PER_DECADE
#: Number of bins: both signs, and one around 0.
N_BINS = 2 * _SIDE + 1
_POSITIVE = _SMALLEST * 10 ** (np.arange(_SIDE + 1) / _PER_DECADE)
#: (N_BINS + 1,) edges, in the unit of the values.
EDGES: Array = np.concatenate([-_POSITIVE[::-1], _POSITIVE])
#: Entries below which no width is stated.
MIN_ENTRIES = 10


class Width(NamedTuple):
    """Centre and half width of the central 68.27% of a distribution."""

    entries: int
    #: Median, and the ends of its 68% interval; ``None`` with fewer than MIN_ENTRIES entries.
    bias: float | None
    bias_low: float | None
    bias_high: float | None
    #: Half of the width of the central 68.27%: the standard deviation of a normal distribution.
    width: float | None
    width_low: float | None
    width_high: float | None


def bin_of(values: Array) -> Array:
    """(n,) int64: bin of each finite value in EDGES; larger ones go to the outermost bin.

    >>> counts = np.bincount(bin_of(np.linspace(-1, 1, 2001)), minlength=N_BINS)
    >>> round(quantile(counts, 0.75), 2)
    0.5
    """
    with np.errstate(divide="ignore"):
        step = np.floor(np.log10(np.abs(values) / _SMALLEST) * _PER_DECADE) + 1
    step = np.clip(step, 0, _SIDE)
    return np.asarray(_SIDE + np.sign(values) * step, dtype=np.int64)


def quantile(counts: Array, level: float) -> float:
    """Value below which a fraction ``level`` of the entries lies, interpolated linearly inside a bin."""
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    target = min(max(level, 0.0), 1.0) * cumulative[-1]
    k = int(np.clip(np.searchsorted(cumulative, target, side="left") - 1, 0, len(counts) - 1))
    inside = (target - cumulative[k]) / counts[k] if counts[k] else 0.0
    return float(EDGES[k] + inside * (EDGES[k + 1] - EDGES[k]))


def width(counts: Array) -> Width:
    """Median and half width of the central 68.27%, with 68% intervals from the binomial spread of the ranks.

    Args:
        counts: (N_BINS,) entries per bin of EDGES.

    The intervals take the entries as independent: residuals of different tracks are.
    """
    n = int(counts.sum())
    if n < MIN_ENTRIES:
        return Width(n, *(None,) * 6)
    shift = 0.5 / math.sqrt(n)
    spread = math.sqrt(ONE_SIGMA * (1 - ONE_SIGMA) / n)
    return Width(
        n,
        *(quantile(counts, 0.5 + s) for s in (0.0, -shift, shift)),
        *(_half_width(counts, ONE_SIGMA + s) for s in (0.0, -spread, spread)),
    )


def _half_width(counts: Array, central: float) -> float:
    central = min(central, 1.0)
    return 0.5 * (quantile(counts, 0.5 + 0.5 * central) - quantile(counts, 0.5 - 0.5 * central))


def difference(first: Mapping[str, Any], second: Mapping[str, Any], quantity: str) -> dict[str, Any]:
    """First minus second, ``value``, ``low`` and ``high``; ``None`` where one is not known.

    Args:
        first: a `Width` as a dictionary.
        second: another.
        quantity: "bias" or "width".

    The interval takes the two as independent. What both have in common, the same particles and hits, makes the
    true one narrower.
    """
    a, b = first[quantity], second[quantity]
    if a is None or b is None:
        return {"value": None, "low": None, "high": None}
    a_low, a_high, b_low, b_high = (
        entry[f"{quantity}_{end}"] for entry in (first, second) for end in ("low", "high")
    )
    return {
        "value": a - b,
        "low": a - b - math.hypot(a - a_low, b_high - b),
        "high": a - b + math.hypot(a_high - a, b - b_low),
    }
