"""Executors: where the events of a job are computed; results come back in order, whoever made them.

An executor is registered under ``mltrack_plugin.executors``: "serial" (in this process) and "processes" (worker
processes) are shipped.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

from mltrack_plugin.framework.algorithm import Algorithm, Reader
from mltrack_plugin.framework.event_loop import Chunk, EventLoop, freeze_garbage_collector, set_torch_threads
from mltrack_plugin.framework.options import RunOptions
from mltrack_plugin.framework.packing import Packed, pack

#: Called with each computed chunk, in any order: its range of event indices, and what packs what the algorithms made.
OnArrival = Callable[[int, int, Callable[[], Packed]], None]


class Executor(ABC):
    """Computes ranges of the events of one job.

    Args:
        reader: of the job, open in this process.
        algorithms: of the job, not initialized.
        needed: keys of the collections that come back.
        read_keys: those of them that the reader makes.
        options: how the sequence runs.
        count: called with the number of events that were computed since the last call.
    """

    def __init__(
        self,
        reader: Reader,
        algorithms: Sequence[Algorithm],
        needed: frozenset[str],
        read_keys: frozenset[str],
        options: RunOptions,
        count: Callable[[int], None],
    ) -> None:
        self.reader = reader
        self.algorithms = algorithms
        self.needed = needed
        self.read_keys = read_keys
        self.options = options
        self.count = count

    @abstractmethod
    def start(self) -> list[dict[str, str]]:
        """Make ready to compute; returns ``describe()`` of each algorithm."""

    @abstractmethod
    def run(self, ranges: Sequence[tuple[int, int]], on_arrival: OnArrival) -> Iterator[Chunk]:
        """Compute ranges of events.

        Args:
            ranges: ascending ``(start, stop)``.
            on_arrival: see `OnArrival`.

        Yields:
            The chunks in the order of their events.

        Raises:
            MltrackError: the error of an event or of the whole job.
        """

    @abstractmethod
    def finish(self) -> None:
        """Finalize what :meth:`start` initialized, after the last event."""

    @abstractmethod
    def stop(self) -> None:
        """End everything at once; called last, also after an error."""


class SerialExecutor(Executor):
    """One event after the other, in this process."""

    _cleanup: ExitStack | None = None

    def start(self) -> list[dict[str, str]]:
        """Initialize the algorithms."""
        self._cleanup = ExitStack()
        for algorithm in self.algorithms:
            self._cleanup.callback(algorithm.finalize)
            algorithm.initialize()
        self._cleanup.callback(set_torch_threads, set_torch_threads(self.options.threads))
        self._cleanup.callback(freeze_garbage_collector())
        return [algorithm.describe() for algorithm in self.algorithms]

    def run(self, ranges: Sequence[tuple[int, int]], on_arrival: OnArrival) -> Iterator[Chunk]:
        """See :meth:`Executor.run`."""
        options = self.options
        loop = EventLoop(
            self.reader,
            self.algorithms,
            self.needed,
            options.on_error,
            options.chunk_size,
            options.checkpoint_s,
            lambda: self.count(1),
        )
        made = self.needed - self.read_keys
        for start, stop in ranges:
            for chunk in loop.chunks(start, stop):
                on_arrival(chunk.start, chunk.stop, lambda: pack(chunk.events, made))  # noqa: B023 - called at once
                yield chunk

    def finish(self) -> None:
        """Nothing: :meth:`stop` finalizes the algorithms, also after an error."""

    def stop(self) -> None:
        """Finalize the algorithms; torch and the garbage collector are as before."""
        if self._cleanup is not None:
            self._cleanup.close()
            self._cleanup = None
