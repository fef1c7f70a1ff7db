"""How the time per event grows with the number of hits."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

#: Below this ratio of the largest to the smallest number of hits there is no growth to see.
MIN_SPREAD = 1.5
#: Events that a fit needs.
MIN_EVENTS = 3


class PowerLaw(NamedTuple):
    """time = time_at_1000 * (hits / 1000) ** exponent, with standard errors."""

    #: ms at 1000 hits.
    time_at_1000: float
    time_at_1000_error: float
    exponent: float
    exponent_error: float


def fit_power_law(n_hits: npt.ArrayLike, time: npt.ArrayLike) -> PowerLaw | None:
    """Straight line through log(time) against log(hits), every event with the same weight.

    Args:
        n_hits: (n_events,) hits.
        time: (n_events,) in ms.

    Returns:
        The fit with the standard errors of least squares (from the scatter of the events about the line), or
        ``None`` if fewer than MIN_EVENTS events have hits and a time, or their numbers of hits differ
        by less than a factor MIN_SPREAD.

    >>> law = fit_power_law([100, 1000, 10000], [1.0, 10.0, 100.0])
    >>> round(law.exponent, 6), round(law.time_at_1000, 6)
    (1.0, 10.0)
    """
    hits, ms = np.asarray(n_hits, dtype=np.float64), np.asarray(time, dtype=np.float64)
    good = (hits > 0) & (ms > 0)
    if good.sum() < MIN_EVENTS or hits[good].max() < MIN_SPREAD * hits[good].min():
        return None
    x, y = np.log(hits[good] / 1000), np.log(ms[good])
    n = len(x)
    centre = x.mean()
    spread = float(((x - centre) ** 2).sum())
    slope = float(((x - centre) * y).sum()) / spread
    at_1000 = float(y.mean()) - slope * centre
    residual = y - at_1000 - slope * x
    variance = float((residual**2).sum()) / (n - 2)
    error = math.sqrt(variance * (1 / n + centre**2 / spread))
    scale = math.exp(at_1000)
    return PowerLaw(scale, scale * error, slope, math.sqrt(variance / spread))
