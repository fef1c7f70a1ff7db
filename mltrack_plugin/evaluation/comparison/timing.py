"""Time per event of a collection, from what the job that made it recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.errors import InputError
from mltrack_plugin.evaluation.comparison.growth import fit_power_law
from mltrack_plugin.evaluation.intervals import central_interval, resampled_sums
from mltrack_plugin.framework.timing import TimingRecord, read_timing, timing_path


def times_beside(tracks: Path | str) -> TimingRecord | None:
    """The record beside a file or folder of tracks, ``None`` if there is none.

    Raises:
        InputError: if there is one that cannot be read.
    """
    path = timing_path(tracks)
    return read_timing(path) if path.exists() else None


def check_times(record: TimingRecord, number: int, n_tracks: int) -> None:
    """Refuse times of other tracks.

    Args:
        record: the record beside the tracks.
        number: number of an event.
        n_tracks: its tracks in the file.

    Raises:
        InputError: if the event has another number of tracks in the record.
    """
    recorded = record.n_tracks[record.event_number == number]
    if len(recorded) and int(recorded[0]) != n_tracks:
        raise InputError(
            f"the times beside a tracks file are those of other tracks: event {number} has {n_tracks} tracks, "
            f"its time was taken with {recorded[0]}; remove the .timing.json file, or make the tracks again"
        )


def times_of(record: TimingRecord | None, numbers: Sequence[int]) -> dict[str, Any] | None:
    """Mean CPU time per event and its growth with the number of hits.

    Args:
        record: what the job recorded, if it did.
        numbers: numbers of the events that are compared.

    Returns:
        ``events`` with a time, ``mean_ms`` with ``low`` and ``high`` (bootstrap over events), the ``power_law``
        (see `growth`), the ``points`` (hits, ms), and where it was measured: ``job``, ``machine``,
        ``workers``, ``threads``, ``steps``. ``None`` if no compared event has a time.
    """
    if record is None:
        return None
    compared = np.isin(record.event_number, np.asarray(numbers, dtype=np.int64))
    if not compared.any():
        return None
    hits, ms = record.n_hits[compared], 1e3 * record.cpu_s[compared]
    low, high = None, None
    if len(ms) > 1:
        sums = resampled_sums(np.stack([ms, np.ones_like(ms)], axis=1))
        low, high = (float(end[0]) for end in central_interval(sums[:, :1], sums[:, 1:]))
    law = fit_power_law(hits, ms)
    return {
        "events": len(ms),
        "mean_ms": float(ms.mean()),
        "low": low,
        "high": high,
        "power_law": None if law is None else law._asdict(),
        "points": [[n, time] for n, time in zip(hits.tolist(), ms.tolist(), strict=True)],
        "job": record.job,
        "machine": record.machine,
        "workers": record.workers,
        "threads": record.threads,
        "steps": list(record.counted),
    }
