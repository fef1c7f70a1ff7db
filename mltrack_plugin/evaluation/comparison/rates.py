"""Rates of all events with their uncertainties, and differences of rates of the same events."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from mltrack_plugin.evaluation.intervals import (
    ONE_SIGMA,
    central_interval,
    clopper_pearson,
    resampled_sums,
)
from mltrack_plugin.evaluation.scores import Fraction
from mltrack_plugin.event_data.base import Array

Key = tuple[str, ...]


class RateTable:
    """Numerators and denominators of rates, event by event."""

    def __init__(self) -> None:
        self._keys: list[Key] = []
        self._rows: list[Array] = []

    def add(self, rates: dict[Key, Fraction]) -> None:
        """Add one event; every event has the same rates."""
        self._keys = self._keys or list(rates)
        self._rows.append(np.array([rates[key] for key in self._keys], dtype=np.float64).reshape(-1))

    def result(self) -> dict[Key, dict[str, Any]]:
        """Each rate: ``value``, ``low``, ``high``, ``numerator``, ``denominator``, ``binomial``, ``bootstrap``.

        ``binomial`` (Clopper-Pearson) takes the entries as independent, ``bootstrap`` draws whole events and
        so takes correlations within events into account, but sees no spread in few events or in a rate of 0. Each
        is a pair of ends or ``None``; ``low`` and ``high`` are the outermost ends of the two.
        """
        return {key: self._rate(i) for i, key in enumerate(self._keys)}

    def difference(self, first: Key, second: Key) -> dict[str, Any]:
        """First rate minus second, ``low`` and ``high`` from resampling the events of both together.

        Much of the spread from event to event is common to both and drops out. ``None`` where there is no
        such difference, or with fewer than two events no interval.
        """
        i, j = self._keys.index(first), self._keys.index(second)
        a, b = (self._value(k) for k in (i, j))
        if a is None or b is None:
            return {"value": None, "low": None, "high": None}
        low, high = None, None
        if self._samples is not None:
            top, bottom = self._samples[:, ::2], self._samples[:, 1::2]
            good = (bottom[:, i] > 0) & (bottom[:, j] > 0)
            values = top[good, i] / bottom[good, i] - top[good, j] / bottom[good, j]
            tail = (1 - ONE_SIGMA) / 2
            low, high = (float(x) for x in np.quantile(values, [tail, 1 - tail]))
        return {"value": a - b, "low": low, "high": high}

    @functools.cached_property
    def _samples(self) -> Array | None:
        return resampled_sums(np.stack(self._rows)) if len(self._rows) > 1 and self._keys else None

    @functools.cached_property
    def _sums(self) -> Array:
        return np.asarray(np.stack(self._rows).sum(axis=0).reshape(-1, 2))

    def _value(self, i: int) -> float | None:
        top, bottom = self._sums[i]
        return float(top / bottom) if bottom else None

    def _rate(self, i: int) -> dict[str, Any]:
        top, bottom = (int(x) for x in self._sums[i])
        binomial, bootstrap = None, None
        # A rate like "duplicates per particle" can exceed 1 and is not binomial.
        if bottom > 0 and top <= bottom:
            binomial = [float(end[0]) for end in clopper_pearson([top], [bottom])]
        if self._samples is not None and bottom:
            one = slice(2 * i, 2 * i + 1)
            low, high = central_interval(self._samples[:, one], self._samples[:, 2 * i + 1 : 2 * i + 2])
            bootstrap = None if math.isnan(low[0]) else [float(low[0]), float(high[0])]
        ends = [interval for interval in (binomial, bootstrap) if interval is not None]
        return {
            "value": self._value(i),
            "low": min(e[0] for e in ends) if ends else None,
            "high": max(e[1] for e in ends) if ends else None,
            "numerator": top,
            "denominator": bottom,
            "binomial": binomial,
            "bootstrap": bootstrap,
        }
