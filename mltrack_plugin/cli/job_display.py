"""What a job shows: its log and a progress bar while it runs, and its result."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

#: s between progress lines where there is no terminal.
_PROGRESS_INTERVAL_S = 10.0


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


def show_result(text: object) -> None:
    """Print what a job did; the job is complete, so a full standard output is a notice and no failure."""
    try:
        click.echo(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is still buffered would fail again when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        click.echo(f"the outputs are complete, but the summary cannot be printed: {error}", err=True)
