"""Sequencer: runs a sequence (reader, algorithms, writers) over the events of an input.

Peer: the Sequencer of the ACTS examples framework.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Self

from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.framework.algorithm import Algorithm, Reader, SequenceElement, Writer
from mltrack_plugin.framework.chain import check_chain, data_flow, dropped_outputs, for_detector
from mltrack_plugin.framework.event_loop import OnError
from mltrack_plugin.framework.job_run import JobRun
from mltrack_plugin.framework.main_script import leave_if_imported
from mltrack_plugin.framework.options import RunOptions
from mltrack_plugin.framework.summary import Summary
from mltrack_plugin.reprs import counted, html_table

_logger = logging.getLogger("mltrack_plugin")


class Sequencer:
    """A reader, algorithms and writers, run event by event.

    The whole chain is checked before the first event. The output does not depend on ``workers``.

    Args:
        events: number of events to process, at most (all if ``None``).
        skip: number of events at the start of the input to leave out.
        workers: processes that share the events. With more than one, a script must guard its entry with
            ``if __name__ == "__main__":``, as for everything built on :mod:`multiprocessing`.
        threads: threads of torch in each process.
        on_error: ``"fail"`` stops the job at the first event that cannot be processed; ``"skip"`` records
            the event with its reason in the summary and the output, and goes on.
        chunk_size: events that are handed on together, at most.
        checkpoint_s: s, after which finished events are handed on and journaled even if they are fewer.
        progress: called with (events done, events in total).
        resume: continue an interrupted job from the journal beside the output.
        log: receives the lines of the job log; by default the logger ``mltrack_plugin`` at level INFO.
        info: more facts for the metadata of the output, name -> text.
        executor: where events are computed, by registered name; by default "serial" for one worker, "processes" for
            several. The output does not depend on it.

    Raises:
        ConfigurationError: if an argument is out of range.
    """

    def __init__(
        self,
        events: int | None = None,
        skip: int = 0,
        workers: int = 1,
        threads: int = 1,
        on_error: OnError = "fail",
        chunk_size: int = 64,
        checkpoint_s: float = 1.0,
        progress: Callable[[int, int], None] | None = None,
        resume: bool = False,
        log: Callable[[str], None] | None = None,
        info: Mapping[str, str] | None = None,
        executor: str | None = None,
    ) -> None:
        self.options = RunOptions(
            events=events, skip=skip, workers=workers, threads=threads, on_error=on_error,
            chunk_size=chunk_size, checkpoint_s=checkpoint_s, progress=progress, resume=resume,
            log=log or _logger.info, info=dict(info or {}), executor=executor,
        )  # fmt: skip
        self._reader: Reader | None = None
        self._algorithms: list[Algorithm] = []
        self._writers: list[Writer] = []

    def add_reader(self, reader: Reader) -> Self:
        """Set where events come from (exactly one reader per sequence)."""
        if self._reader is not None:
            raise ConfigurationError(f"the sequence has a reader already: {self._reader.name}")
        self._reader = reader
        return self

    def add_algorithm(self, algorithm: Algorithm) -> Self:
        """Append an algorithm; algorithms run in the order in which they are added."""
        self._algorithms.append(algorithm)
        return self

    def add_writer(self, writer: Writer) -> Self:
        """Append a writer; writers run after all algorithms."""
        self._writers.append(writer)
        return self

    @property
    def _elements(self) -> list[SequenceElement]:
        reader = [self._reader] if self._reader is not None else []
        return [*reader, *self._algorithms, *self._writers]

    def __repr__(self) -> str:
        head = f"Sequencer: {counted(len(self._elements), 'element')}, {self.options.workers} worker(s)"
        return "\n  ".join([head, *data_flow(self._elements)])

    def _repr_html_(self) -> str:
        rows = [(element.name, repr(element)) for element in self._elements]
        return html_table(f"Sequencer, {self.options.workers} worker(s)", rows)

    def run(self) -> Summary:
        """Process the events.

        Returns:
            What was done, what was skipped, and the time of each step.

        Raises:
            ConfigurationError: before the first event, if the sequence or an argument is wrong.
            EventError: if an event fails and ``on_error`` is ``"fail"``, or if every event fails.
            MltrackError: if reading, an algorithm or writing fails for the whole job. Outputs are then
                removed; finished events stay in the journal.
        """
        leave_if_imported()
        began = time.perf_counter()
        reader = self._reader
        if reader is None:
            raise ConfigurationError("the sequence has no reader; call add_reader")
        with ExitStack() as cleanup:
            cleanup.callback(reader.finalize)
            reader.initialize()
            algorithms = [for_detector(a, getattr(reader, "detector", None)) for a in self._algorithms]
            elements: list[SequenceElement] = [reader, *algorithms, *self._writers]
            check_chain(elements)
            for line in data_flow(elements):
                self.options.log(line)
            if notice := dropped_outputs(algorithms, self._writers):
                _logger.warning("%s", notice)
            start, stop = self._range(reader)
            job = JobRun(self.options, reader, algorithms, self._writers, start, stop)
            summary = job.run(cleanup)
        summary.wall_s = time.perf_counter() - began
        return summary

    def _range(self, reader: Reader) -> tuple[int, int]:
        total = reader.num_events()
        if total == 0:
            raise InputError(f"{reader.source} contains no events")
        skip, events = self.options.skip, self.options.events
        if skip >= total:
            raise ConfigurationError(f"cannot skip {skip} events: {reader.source} contains {total}")
        return skip, total if events is None else min(total, skip + events)
