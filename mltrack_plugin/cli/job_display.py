"""What a job shows: its log, a progress bar on a terminal, and the final summary."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from mltrack_plugin.framework.summary import Summary

#: s between progress lines where there is no terminal.
_PROGRESS_INTERVAL_S = 10.0
#: Skipped events that the summary names one by one.
_SKIPPED_SHOWN = 5
#: Scores of the summary, by key of ``ScoreAccumulator.result``.
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


class _ConsoleHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self.console.print(prefix + record.getMessage(), markup=False, highlight=False, soft_wrap=True)


@contextlib.contextmanager
def job_log() -> Iterator[Console]:
    """A console on standard error that shows the log of the package."""
    from rich.console import Console

    console = Console(stderr=True)
    logger = logging.getLogger("mltrack_plugin")
    handler, level = _ConsoleHandler(console), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield console
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextlib.contextmanager
def progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A callback (events done, events in total): a bar on a terminal, now and then a line elsewhere."""
    if not console.is_terminal:
        yield _progress_lines(console)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("events"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("events", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _progress_lines(console: Console) -> Callable[[int, int], None]:
    shown = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal shown
        if time.monotonic() - shown >= _PROGRESS_INTERVAL_S:
            shown = time.monotonic()
            console.print(f"{done} of {total} events", highlight=False, soft_wrap=True)

    return show


def show_summary(summary: Summary, scores: Mapping[str, Any] | None, outputs: list[str]) -> None:
    """Print what a job did to standard output."""
    from rich.console import Console

    console = Console()
    rate = summary.events / summary.wall_s if summary.wall_s else 0.0
    totals = f"{summary.events} events, {summary.hits} hits, {summary.tracks} tracks"
    if n := summary.events:
        totals += f" ({summary.hits / n:.1f} hits and {summary.tracks / n:.1f} tracks per event)"
    processes = f"{summary.workers} worker(s) with {summary.threads} thread(s)"
    lines = [totals, f"{summary.wall_s:.1f} s, {rate:.1f} events/s, {processes}"]
    if summary.filtered:
        lines.append(f"events filtered out: {summary.filtered}")
    if summary.resumed:
        lines.append(f"events from the interrupted job: {summary.resumed}")
    if summary.skipped:
        lines.append(f"events skipped: {len(summary.skipped)}")
        for skipped in summary.skipped[:_SKIPPED_SHOWN]:
            lines.append(f"  event {skipped.event_number}: {skipped.step}: {skipped.reason}")
        if len(summary.skipped) > _SKIPPED_SHOWN:
            lines.append("  ... (all of them are in the output and in --json)")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print()
    console.print(summary.table())
    if scores is not None:
        console.print()
        console.print(_score_table(scores))
    console.print()
    for output in outputs:
        console.print(f"wrote {output}", markup=False, highlight=False, soft_wrap=True)


def _score_table(scores: Mapping[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="Scores against the truth", title_justify="left", box=None, pad_edge=False)
    table.add_column("score")
    table.add_column("value", justify="right")
    table.add_column("68% interval", justify="right")
    for key, label in _SCORES.items():
        value, low, high = (scores.get(name) for name in (key, f"{key}_low", f"{key}_high"))
        interval = "" if low is None or high is None else f"{low:.4f} - {high:.4f}"
        table.add_row(label, "-" if value is None else f"{value:.4f}", interval)
    return table
