"""What a job gave: its tracks, what was done, and how good they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mltrack_plugin.event_data import EventTracks
from mltrack_plugin.framework.summary import Summary
from mltrack_plugin.framework.timing import read_timing, timing_path
from mltrack_plugin.jobs.config import JobConfig
from mltrack_plugin.reprs import html_table, text_table

#: Scores that are shown, by key of ``ScoreAccumulator.result``.
_SCORES = {
    "trackml_score": "TrackML score",
    "fit_accuracy": "FitAccuracy",
    "perfect_match_efficiency": "perfect match efficiency",
    "lhc_match_efficiency": "LHC match efficiency",
    "double_majority_efficiency": "double majority efficiency",
    "efficiency": "efficiency",
    "fake_rate": "fake rate",
    "duplicate_rate": "duplicate rate",
}
_SCORE_HEAD = ("score", "value", "68% interval")


class ChosenJob(NamedTuple):
    """Which job ran, and why this one."""

    name: str
    #: What of the input it fits, or that it was given.
    reason: str
    config: JobConfig

    def __repr__(self) -> str:
        return f"job {self.name} ({self.reason})"


@dataclasses.dataclass(frozen=True, repr=False)
class RunResult:
    """Result of :func:`mltrack_plugin.run`."""

    #: What was read.
    input: str
    job: ChosenJob
    #: Iterating gives ``(event number, Tracks)``; ``to_awkward()`` and ``to_pandas()`` those of all events.
    tracks: EventTracks
    #: Events, hits, tracks, skipped events, and the time of each step.
    summary: Summary
    #: ``ScoreAccumulator.result``; ``None`` where the input has no truth or the job makes no tracks.
    scores: dict[str, Any] | None
    #: Files and folders that were written.
    outputs: tuple[str, ...]

    @property
    def times(self) -> dict[str, float] | None:
        """Mean CPU time per event of each step, ms, and of the counted ones together ("reconstruction"); ``None``
        where they were not written (``timing=True``)."""
        found = [path for path in self.outputs if path == str(timing_path(self.outputs[0]))]
        if not found:
            return None
        record = read_timing(found[0])
        if not len(record):
            return {}
        means = {name: 1e3 * float(np.nanmean(values)) for name, values in record.steps.items()}
        return {**means, "reconstruction": 1e3 * float(record.cpu_s.mean())}

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON."""
        facts = {"input": self.input, "outputs": list(self.outputs), "job": self.job.name}
        times = {} if (times := self.times) is None else {"times": times}
        return {**facts, **self.summary.to_dict(), "scores": self.scores, **times}

    def __repr__(self) -> str:
        parts = [f"{self.job!r} on {self.input}\n{self.summary}"]
        if self.scores is not None:
            table = text_table([_SCORE_HEAD, *_score_rows(self.scores)], right=(1, 2))
            parts.append(f"Scores against the truth\n{table}")
        if self.outputs:
            parts.append("\n".join(f"wrote {path}" for path in self.outputs))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        head = html_table(f"{self.job!r} on {self.input}", [[f"wrote {path}"] for path in self.outputs])
        scores = ""
        if self.scores is not None:
            scores = html_table("Scores against the truth", _score_rows(self.scores), _SCORE_HEAD)
        return head + self.summary._repr_html_() + scores


def _score_rows(scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    rows = []
    for key, label in _SCORES.items():
        value, low, high = (scores.get(name) for name in (key, f"{key}_low", f"{key}_high"))
        interval = "" if low is None or high is None else f"{low:.4f} - {high:.4f}"
        rows.append((label, "-" if value is None else f"{value:.4f}", interval))
    return rows
