"""One run of a checked sequence: events from the loop or the workers, into writers and journal."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from mltrack_plugin.errors import ConfigurationError, EventError, InputError, MltrackError, OutputError
from mltrack_plugin.framework.algorithm import Algorithm, Reader, Writer
from mltrack_plugin.framework.chain import unique_names
from mltrack_plugin.framework.event_loop import Chunk, EventResult
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.executors import Executor
from mltrack_plugin.framework.journal import Journal, input_identity
from mltrack_plugin.framework.options import RunOptions
from mltrack_plugin.framework.packing import Packed, check_packable, unpack
from mltrack_plugin.framework.provenance import configuration, versions
from mltrack_plugin.framework.summary import StepTime, Summary
from mltrack_plugin.framework.workers import WorkPlan
from mltrack_plugin.registry import find


class JobRun:
    """One run of a sequencer whose chain is checked and whose reader is open."""

    def __init__(
        self,
        options: RunOptions,
        reader: Reader,
        algorithms: list[Algorithm],
        writers: list[Writer],
        start: int,
        stop: int,
    ) -> None:
        self.options = options
        self.reader = reader
        self.algorithms = algorithms
        self.writers = writers
        self.start, self.stop = start, stop
        self.needed = frozenset(handle.key for writer in writers for handle in writer.inputs)
        self.read_keys = self.needed & {handle.key for handle in reader.outputs}
        self.made_keys = self.needed - self.read_keys
        names = unique_names([reader, *algorithms, *writers])
        self.writer_names = names[1 + len(algorithms) :]
        self.summary = Summary(
            steps=[StepTime(name) for name in names], workers=options.workers, threads=options.threads
        )
        self.identity = input_identity(reader.source)
        self.paths = [path for writer in writers if (path := getattr(writer.config, "path", None))]
        self.done = 0

    def run(self, cleanup: ExitStack) -> Summary:
        began = time.perf_counter()
        options = self.options
        journal = self._journal()
        if journal is not None or options.executor_name != "serial":
            check_packable(self.writers)
        opened: list[Writer] = []
        completed = False
        try:
            for writer in self.writers:
                opened.append(writer)
                writer.initialize()
            if journal is not None:
                cleanup.callback(journal.close, completed=False)
                journal.acquire(self.paths)
            plan = WorkPlan(self.start, self.stop)
            kind: type[Executor] = find("executor", options.executor_name)
            executor = kind(
                self.reader, self.algorithms, self.needed, self.read_keys, options, self._count_event
            )
            cleanup.callback(executor.stop)
            facts = executor.start()
            self._open_journal(journal, plan, facts)
            self.summary.initialize_s = time.perf_counter() - began
            for chunk in self._chunks(executor, plan, journal):
                self._take(chunk)
            self._refuse_total_loss()
            self._refuse_changed_input()
            self._finish(facts)
            completed = True
        finally:
            if not completed:
                for writer in opened:
                    writer.abort()
                self._report_journal(journal)
            elif journal is not None:
                journal.close(completed=True)
        return self.summary

    # ---- where results come from ------------------------------------------------------------

    def _chunks(self, executor: Executor, plan: WorkPlan, journal: Journal | None) -> Iterator[Chunk]:
        def keep(start: int, stop: int, made: Callable[[], Packed]) -> None:
            if journal is not None:
                journal.store(start, stop, made())

        computed = executor.run(plan.unfinished(), keep)
        for start, stop, finished in plan.segments():
            if finished and journal is not None:
                yield self._replay(journal, start, stop)
                continue
            while start < stop:
                chunk = next(computed)
                start = chunk.stop
                yield chunk
        executor.finish()

    def _replay(self, journal: Journal, start: int, stop: int) -> Chunk:
        """A finished chunk of the interrupted run; what the reader made is read again."""
        events = unpack(journal.load(start, stop))
        if self.read_keys:
            for result, event in zip(events, self.reader.events(start, stop), strict=True):
                if result.complete:
                    kept = self.read_keys & event.collections.keys()
                    result.collections.update((key, event.collections[key]) for key in kept)
        self.summary.resumed += len(events)
        self._count_event(len(events))
        return Chunk(start, stop, events)

    def _count_event(self, n: int = 1) -> None:
        self.done += n
        if self.options.progress is not None:
            self.options.progress(self.done, self.stop - self.start)

    # ---- where results go -------------------------------------------------------------------

    def _take(self, chunk: Chunk) -> None:
        self.summary.add_times(chunk.times)
        for event in chunk.events:
            if event.skipped is not None:
                self.summary.skipped.append(event.skipped)
            elif event.filtered:
                self.summary.filtered += 1
            else:
                self.summary.events += 1
                self.summary.hits += event.hits
                self.summary.tracks += event.tracks
                self._write(event)

    def _write(self, event: EventResult) -> None:
        store = EventStore(event.event_number, self.reader.source)
        for key, value in event.collections.items():
            store.add(key, value)
        for name, writer in zip(self.writer_names, self.writers, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                writer.write(store)
            except Exception as error:
                where = f"{self.reader.source}: event {event.event_number}: {name}"
                raise _as_job_error(error, where) from error
            self.summary.step(name).add(time.process_time() - cpu, time.perf_counter() - wall)

    def _refuse_total_loss(self) -> None:
        skipped = self.summary.skipped
        if skipped and len(skipped) == self.stop - self.start:
            first = skipped[0]
            raise EventError(
                f"{self.reader.source}: none of the {len(skipped)} events could be processed. "
                f"The first, event {first.event_number}: {first.step}: {first.reason}"
            )

    def _refuse_changed_input(self) -> None:
        if input_identity(self.reader.source) != self.identity:
            raise InputError(
                f"{self.reader.source} was changed while it was read, so the tracks may be of neither state; "
                "run again when nothing writes it any more"
            )

    def _finish(self, facts: list[dict[str, str]]) -> None:
        info = self._job_info(facts)
        for name, writer in zip(self.writer_names, self.writers, strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                writer.set_job_info(info)
                writer.finalize()
            except Exception as error:
                raise _as_job_error(error, name) from error
            self.summary.step(name).add(time.process_time() - cpu, time.perf_counter() - wall, 0)

    def _job_info(self, facts: list[dict[str, str]]) -> dict[str, str]:
        """Metadata of the output: equal for equal jobs, so neither dates nor the number of workers."""
        skipped = [
            {"event_number": s.event_number, "index": s.index, "step": s.step, "reason": s.reason}
            for s in self.summary.skipped
        ]
        return {
            **self.options.info,
            "input": self.reader.source,
            "reader": configuration(self.reader, {}),
            "sequence": self._sequence(facts),
            "versions": json.dumps(versions()),
            "events": str(self.summary.events),
            "skipped_events": json.dumps(skipped),
        }

    def _sequence(self, facts: list[dict[str, str]]) -> str:
        steps = [configuration(a, fact) for a, fact in zip(self.algorithms, facts, strict=True)]
        return f"[{', '.join(steps)}]"

    # ---- the journal ------------------------------------------------------------------------

    def _journal(self) -> Journal | None:
        if self.paths:
            return Journal(self.paths[0])
        if self.options.resume:
            raise ConfigurationError("nothing to resume: the sequence writes no file")
        return None

    def _open_journal(self, journal: Journal | None, plan: WorkPlan, facts: list[dict[str, str]]) -> None:
        if journal is None:
            return
        discarded = journal.open(
            {
                "input": self.identity,
                "reader configuration": configuration(self.reader, {}),
                "sequence": self._sequence(facts),
                "set of collections for the writers": ", ".join(sorted(self.made_keys)),
                "number of threads": str(self.options.threads),
                "set of package versions": json.dumps(versions()),
            },
            self.options.resume,
        )
        if discarded:
            self.options.log(
                f"an interrupted job left {discarded} finished events, which are computed again (--resume keeps them)"
            )
        if not self.options.resume:
            return
        for start, stop, events in journal.readable():
            # With on_error="fail" an event that was skipped must fail again.
            passed = self.options.on_error == "skip" or all(event.skipped is None for event in events)
            if passed and self.start <= start and stop <= self.stop:
                plan.mark_finished(start, stop)
        self.options.log(
            f"resuming: {plan.finished_events} of {self.stop - self.start} events are done already"
        )

    def _report_journal(self, journal: Journal | None) -> None:
        kept = sum(stop - start for start, stop in journal.finished()) if journal is not None else 0
        if kept:
            self.options.log(f"finished events, kept for the same job with --resume: {kept}")


def _as_job_error(error: Exception, where: str) -> MltrackError:
    if isinstance(error, MltrackError):
        return type(error)(f"{where}: {error}")
    if isinstance(error, OSError):
        path = f" {Path(error.filename).name!r}" if isinstance(error.filename, str) else ""
        return OutputError(f"{where}: cannot write{path}: {error.strerror or error}")
    return MltrackError(f"{where}: unexpected {type(error).__name__}: {error}")
