"""Time per event of a collection, from what the job that made it recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mltrack_plugin.comparison.growth import fit_power_law
from mltrack_plugin.performance.intervals import central_interval, resampled_sums


def times_of(
    times: Mapping[int, float] | None, numbers: Sequence[int], n_hits: Sequence[int]
) -> dict[str, Any] | None:
    """Mean time per event and its growth with the number of hits.

    Args:
        times: ms per event by event number; ``None`` if nothing was recorded.
        numbers: numbers of the events that are compared.
        n_hits: their hits.

    Returns:
        ``events`` with a time, ``mean_ms`` with ``low`` and ``high`` (bootstrap over events), the ``power_law``
        (see `growth`) and the ``points`` (hits, ms); ``None`` if no compared event has a time.
    """
    points = [
        (n, times[number]) for number, n in zip(numbers, n_hits, strict=True) if times and number in times
    ]
    if not points:
        return None
    ms = np.array([time for _, time in points])
    low, high = None, None
    if len(ms) > 1:
        sums = resampled_sums(np.stack([ms, np.ones_like(ms)], axis=1))
        low, high = (float(end[0]) for end in central_interval(sums[:, :1], sums[:, 1:]))
    law = fit_power_law([n for n, _ in points], ms)
    return {
        "events": len(points),
        "mean_ms": float(ms.mean()),
        "low": low,
        "high": high,
        "power_law": None if law is None else law._asdict(),
        "points": [[n, float(time)] for n, time in points],
    }
