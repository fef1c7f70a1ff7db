"""Worker processes: ranges of events are dealt to processes, results come back in order.

Each worker rebuilds reader and algorithms from their classes and configs and runs the same event loop
as a serial job. Collections travel as flat bytes (:mod:`mltrack_plugin.framework.packing`).
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from mltrack_plugin import errors
from mltrack_plugin.errors import ConfigurationError, MltrackError
from mltrack_plugin.framework.algorithm import Algorithm, Reader, SequenceElement
from mltrack_plugin.framework.event_loop import (
    Chunk,
    EventLoop,
    OnError,
    explain,
    freeze_garbage_collector,
    set_torch_threads,
)
from mltrack_plugin.framework.executors import Executor, OnArrival
from mltrack_plugin.framework.main_script import NO_GUARD, WORKER_NAME, check_importable, no_guard_error
from mltrack_plugin.framework.options import RunOptions
from mltrack_plugin.framework.packing import Packed, pack, unpack
from mltrack_plugin.framework.summary import StepTime

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

_logger = logging.getLogger("mltrack_plugin")

#: Ranges a worker has at hand, so that it never waits for the next one.
_DEALT_AHEAD = 2
#: Ranges that may be under way per worker; bounds the memory of results that wait for an earlier one.
_UNDER_WAY = 4


class WorkPlan:
    """Which of the events ``start <= index < stop`` are still to be computed."""

    def __init__(self, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self._finished: list[tuple[int, int]] = []

    def mark_finished(self, start: int, stop: int) -> None:
        """Note a range that needs no computing (ranges come in ascending order)."""
        self._finished.append((start, stop))

    @property
    def finished_events(self) -> int:
        """Number of events that need no computing."""
        return sum(stop - start for start, stop in self._finished)

    def segments(self) -> Iterator[tuple[int, int, bool]]:
        """``(start, stop, finished)`` in order, covering everything."""
        position = self.start
        for start, stop in self._finished:
            if position < start:
                yield position, start, False
            yield start, stop, True
            position = stop
        if position < self.stop:
            yield position, self.stop, False

    def unfinished(self) -> list[tuple[int, int]]:
        """Ranges to compute."""
        return [(start, stop) for start, stop, finished in self.segments() if not finished]


@dataclass(slots=True)
class PackedChunk:
    """A chunk of results on its way between processes."""

    start: int
    stop: int
    times: list[StepTime]
    #: What the algorithms made.
    made: Packed
    #: What the reader made.
    read: Packed

    def unpack(self) -> Chunk:
        """The chunk with its collections."""
        events = unpack(self.made)
        for event, also in zip(events, unpack(self.read), strict=True):
            event.collections.update(also.collections)
        return Chunk(self.start, self.stop, events, self.times)


@dataclass(frozen=True, slots=True)
class _Assignment:
    """What a worker needs to rebuild the sequence."""

    reader: tuple[type[Reader], Any]
    algorithms: list[tuple[type[Algorithm], Any]]
    needed: frozenset[str]
    read_keys: frozenset[str]
    on_error: OnError
    chunk_size: int
    checkpoint_s: float
    threads: int


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    connection: Connection
    dealt: deque[tuple[int, int]]


class WorkerPool(Executor):
    """Processes that run the event loop on ranges of events; each rebuilds reader and algorithms from their configs."""

    def __init__(
        self,
        reader: Reader,
        algorithms: Sequence[Algorithm],
        needed: frozenset[str],
        read_keys: frozenset[str],
        options: RunOptions,
        count: Callable[[int], None],
    ) -> None:
        super().__init__(reader, algorithms, needed, read_keys, options, count)
        self.chunk_size = options.chunk_size
        self._assignment = _Assignment(
            _recipe(reader),
            [_recipe(algorithm) for algorithm in algorithms],
            needed,
            read_keys,
            options.on_error,
            options.chunk_size,
            options.checkpoint_s,
            options.threads,
        )
        self._count = options.workers
        self._workers: list[_Worker] = []

    def start(self) -> list[dict[str, str]]:
        """Start the processes and wait until one is ready.

        Returns:
            ``describe()`` of each algorithm.

        Raises:
            ConfigurationError: if classes of the sequence, or the main script, cannot be imported elsewhere.
            MltrackError: if a worker cannot initialize its sequence.
        """
        recipes = (self._assignment.reader, *self._assignment.algorithms)
        check_importable([kind for kind, _ in recipes])
        context = multiprocessing.get_context("spawn")
        # The first process to start would start this one, too, and that unblocks the signal again.
        resource_tracker.ensure_running()
        # Ctrl-C reaches all processes of the terminal; only this one may act on it. The mask is inherited,
        # so a worker that is still starting does not see the signal either.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            for number in range(self._count):
                mine, theirs = context.Pipe()
                name = f"{WORKER_NAME}-{number}"
                process = context.Process(
                    target=_work, name=name, args=(theirs, self._assignment), daemon=True
                )
                self._workers.append(_Worker(process, mine, deque()))
                try:
                    process.start()
                except (pickle.PicklingError, AttributeError, TypeError) as error:
                    raise ConfigurationError(
                        f"the sequence cannot be sent to worker processes ({error}): define readers and "
                        "algorithms at the top level of a module, or use one worker"
                    ) from error
                finally:
                    theirs.close()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return self._await(self._workers[0], "ready")  # type: ignore[no-any-return]

    def run(self, ranges: Sequence[tuple[int, int]], on_arrival: OnArrival) -> Iterator[Chunk]:
        """See :meth:`Executor.run`; that a worker died is an error, too."""
        tasks = deque(self._split(ranges))
        due: deque[tuple[int, int]] = deque(tasks)
        arrived: dict[int, PackedChunk] = {}
        position = due[0][0] if due else 0
        while due:
            self._deal(tasks, len(due) - len(tasks))
            for worker in self._ready_workers():
                kind, content = self._receive(worker)
                if kind == "chunk":
                    on_arrival(content.start, content.stop, lambda: content.made)  # noqa: B023 - called at once
                    self.count(content.stop - content.start)
                    arrived[content.start] = content
                elif kind == "done":
                    worker.dealt.popleft()
            while position in arrived:
                chunk = arrived.pop(position)
                position = chunk.stop
                yield chunk.unpack()
                if position == due[0][1]:
                    due.popleft()
                    position = due[0][0] if due else position

    def finish(self) -> None:
        """Let the workers finalize their readers and algorithms.

        Raises:
            MltrackError: if one fails.
        """
        for worker in self._workers:
            # A worker that died is reported when its connection is read.
            with contextlib.suppress(OSError):
                worker.connection.send(None)
        for worker in self._workers:
            self._await(worker, "finalized")

    def stop(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.connection.close()
            if worker.process.pid is not None:
                worker.process.terminate()
        for worker in self._workers:
            if worker.process.pid is None:
                continue
            worker.process.join(timeout=2)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.process.close()
        self._workers.clear()

    def _split(self, ranges: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
        total = sum(stop - start for start, stop in ranges)
        # At least four ranges per worker, so that none idles long while the last one finishes.
        size = max(1, min(self.chunk_size, -(-total // (4 * self._count))))
        return [(a, min(a + size, stop)) for start, stop in ranges for a in range(start, stop, size)]

    def _deal(self, tasks: deque[tuple[int, int]], under_way: int) -> None:
        for _ in range(_DEALT_AHEAD):
            for worker in self._workers:
                if tasks and len(worker.dealt) < _DEALT_AHEAD and under_way < _UNDER_WAY * self._count:
                    task = tasks.popleft()
                    worker.dealt.append(task)
                    under_way += 1
                    # A worker that died is reported when its connection is read.
                    with contextlib.suppress(OSError):
                        worker.connection.send(task)

    def _ready_workers(self) -> list[_Worker]:
        ready = wait([worker.connection for worker in self._workers])
        return [worker for worker in self._workers if worker.connection in ready]

    def _receive(self, worker: _Worker) -> tuple[str, Any]:
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            raise _death_notice(worker) from None
        if kind == "error":
            name, message, trace = content
            error_type = getattr(errors, name, MltrackError)
            error: MltrackError = error_type(message)
            error.add_note(f"Traceback in the worker process:\n{trace}")
            raise error
        if kind == "log":
            level, message = content
            _logger.log(level, "%s", message)
        return kind, content

    def _await(self, worker: _Worker, wanted: str) -> Any:
        while True:
            kind, content = self._receive(worker)
            if kind == wanted:
                return content


def _recipe(element: SequenceElement) -> tuple[Any, Any]:
    return type(element), element.config


def _death_notice(worker: _Worker) -> MltrackError:
    worker.process.join(timeout=5)
    code = worker.process.exitcode
    if code == NO_GUARD:
        return no_guard_error()
    cause = f"exit code {code}"
    if code is not None and code < 0:
        cause = f"killed by signal {-code}"
        with contextlib.suppress(ValueError):
            cause = f"killed by {signal.Signals(-code).name}"
    where = (
        f" while it processed events {worker.dealt[0][0]} to {worker.dealt[0][1] - 1}" if worker.dealt else ""
    )
    hint = "; the machine may be out of memory, use fewer --workers" if code == -signal.SIGKILL else ""
    return MltrackError(f"worker process {worker.process.pid} died{where} ({cause}){hint}")


class _PipeHandler(logging.Handler):
    """Sends the log of a worker to the parent process, which shows it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(logging.INFO)
        self.connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        self.connection.send(("log", (record.levelno, record.getMessage())))


def _work(connection: Connection, assignment: _Assignment) -> None:
    """Main function of a worker process."""
    _logger.addHandler(_PipeHandler(connection))
    _logger.setLevel(logging.INFO)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    # When the parent is gone there is nobody to report to.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            _serve(connection, assignment)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            name = type(error).__name__ if isinstance(error, MltrackError) else "MltrackError"
            connection.send(("error", (name, explain(error), traceback.format_exc())))
    connection.close()


def _serve(connection: Connection, assignment: _Assignment) -> None:
    reader_kind, reader_config = assignment.reader
    reader = reader_kind(reader_config)
    reader.initialize()
    algorithms = [kind(config) for kind, config in assignment.algorithms]
    for algorithm in algorithms:
        algorithm.initialize()
    set_torch_threads(assignment.threads)
    freeze_garbage_collector()
    loop = EventLoop(
        reader,
        algorithms,
        assignment.needed,
        assignment.on_error,
        assignment.chunk_size,
        assignment.checkpoint_s,
    )
    made_keys = assignment.needed - assignment.read_keys
    connection.send(("ready", [algorithm.describe() for algorithm in algorithms]))
    while (task := connection.recv()) is not None:
        for chunk in loop.chunks(*task):
            made, read = pack(chunk.events, made_keys), pack(chunk.events, assignment.read_keys)
            connection.send(("chunk", PackedChunk(chunk.start, chunk.stop, chunk.times, made, read)))
        connection.send(("done", task))
    for element in [*algorithms, reader]:
        element.finalize()
    connection.send(("finalized", None))
