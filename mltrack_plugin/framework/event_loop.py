"""EventLoop: reads events, runs the algorithms on each, applies the error policy, times every step.

The same loop runs in the serial job and inside every worker process, so both give the same results.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mltrack_plugin.errors import (
    ConfigurationError,
    EventError,
    InputError,
    MissingExtraError,
    MltrackError,
    ModelError,
    OutputError,
)
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode, Reader, ReadEvent
from mltrack_plugin.framework.chain import unique_names
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.summary import SkippedEvent, StepTime
from mltrack_plugin.framework.timing import STEP_TIMES, StepTimes

OnError = Literal["fail", "skip"]

#: Errors that concern the job and not one event: the error policy does not apply to them.
JOB_ERRORS = (ConfigurationError, InputError, MissingExtraError, ModelError, OutputError)


@dataclass(slots=True)
class EventResult:
    """One event after the algorithms: what the writers need of it, or why there is nothing."""

    #: Position in the input, counted from 0.
    index: int
    event_number: int
    #: Collections by key; empty if the event was skipped or filtered.
    collections: dict[str, Any] = field(default_factory=dict)
    hits: int = 0
    tracks: int = 0
    filtered: bool = False
    skipped: SkippedEvent | None = None

    @property
    def complete(self) -> bool:
        """Passed all algorithms, so the writers get it."""
        return not self.filtered and self.skipped is None


@dataclass(slots=True)
class Chunk:
    """Results of the events ``start <= index < stop``."""

    start: int
    stop: int
    events: list[EventResult] = field(default_factory=list)
    #: Time per step, spent on these events.
    times: list[StepTime] = field(default_factory=list)


class EventLoop:
    """Runs algorithms over events.

    Args:
        reader: initialized.
        algorithms: initialized.
        keep: keys of the collections that the results carry; with the key ``step_times`` among them, they carry the
            CPU time of each algorithm.
        on_error: ``"fail"`` raises at the first event that fails, ``"skip"`` records it and goes on.
        chunk_size: events in a chunk of results, at most.
        checkpoint_s: s, after which a chunk is handed out even if it has fewer events.
        on_event: called after each event.
    """

    def __init__(
        self,
        reader: Reader,
        algorithms: Sequence[Algorithm],
        keep: Collection[str],
        on_error: OnError,
        chunk_size: int,
        checkpoint_s: float,
        on_event: Callable[[], None] | None = None,
    ) -> None:
        self.reader = reader
        self.algorithms = list(algorithms)
        self.keep = sorted(keep)
        self.on_error = on_error
        self.chunk_size = chunk_size
        self.checkpoint_s = checkpoint_s
        self.on_event = on_event
        self.names = unique_names([reader, *algorithms])
        self.hits_key = count_key([reader], Hits)
        self.tracks_key = count_key([reader, *algorithms], ProtoTracks)

    def chunks(self, start: int, stop: int) -> Iterator[Chunk]:
        """Process the events ``start <= index < stop`` in order.

        Raises:
            EventError: naming event, source and algorithm, for the first failing event if ``on_error`` is
                ``"fail"``; the events before it are handed out first.
            MltrackError: for errors that concern the whole job.
        """
        stream = self.reader.events(start, stop)
        chunk = self._new_chunk(start)
        opened = time.perf_counter()
        failure: Exception | None = None
        while True:
            try:
                event = self._read(stream, chunk.times[0], chunk.stop, stop)
                if event is None:
                    break
                chunk.events.append(self.process(event, chunk.times))
            except Exception as error:
                failure = error
                break
            chunk.stop = event.index + 1
            if self.on_event is not None:
                self.on_event()
            if len(chunk.events) >= self.chunk_size or time.perf_counter() - opened > self.checkpoint_s:
                yield chunk
                chunk = self._new_chunk(chunk.stop)
                opened = time.perf_counter()
        if chunk.events:
            yield chunk
        if failure is not None:
            raise failure

    def _new_chunk(self, start: int) -> Chunk:
        return Chunk(start, start, times=[StepTime(name) for name in self.names])

    def _read(
        self, stream: Iterator[ReadEvent], clock: StepTime, expected: int, stop: int
    ) -> ReadEvent | None:
        cpu, wall = time.process_time(), time.perf_counter()
        event = next(stream, None)
        clock.add(time.process_time() - cpu, time.perf_counter() - wall, 0 if event is None else 1)
        if event is None and expected < stop:
            raise InputError(
                f"{self.reader.source}: the input ended after event index {expected - 1}, "
                f"but it announced events up to index {stop - 1}"
            )
        if event is not None and event.index != expected:
            raise ConfigurationError(
                f"{self.reader.name} delivered event index {event.index} where {expected} was due"
            )
        return event

    def process(self, event: ReadEvent, times: list[StepTime]) -> EventResult:
        """Run the algorithms on one event.

        Args:
            event: as a reader delivers it.
            times: of the reader and of each algorithm; the algorithms' get their shares added.

        Raises:
            EventError: naming event, source and algorithm, if the event fails and ``on_error`` is ``"fail"``.
            MltrackError: for errors that concern the whole job.
        """
        if event.error is not None:
            return self._failed(event, self.reader.name, event.error)
        store = EventStore(event.event_number, self.reader.source)
        for key, value in event.collections.items():
            store.add(key, value)
        spent: list[float] = []
        for algorithm, clock in zip(self.algorithms, times[1:], strict=True):
            cpu, wall = time.process_time(), time.perf_counter()
            try:
                code = algorithm.execute(store)
            except Exception as error:
                return self._failed(event, algorithm.name, error)
            finally:
                spent.append(time.process_time() - cpu)
                clock.add(spent[-1], time.perf_counter() - wall)
            if code is ProcessCode.SKIP:
                return EventResult(event.index, event.event_number, filtered=True)
            if code is ProcessCode.ABORT:
                return self._failed(
                    event, algorithm.name, EventError("gave up on this event (ProcessCode.ABORT)")
                )
            self._check_outcome(algorithm, code, store)
        collections = {key: store.get(key, object) for key in self.keep if key in store}
        if STEP_TIMES in self.keep:
            collections[STEP_TIMES] = StepTimes(np.array(self.names[1:]), np.array(spent))
        return EventResult(
            event.index,
            event.event_number,
            collections,
            hits=_length(store, self.hits_key),
            tracks=_length(store, self.tracks_key),
        )

    def _check_outcome(self, algorithm: Algorithm, code: object, store: EventStore) -> None:
        if code is not ProcessCode.SUCCESS:
            raise ConfigurationError(f"{algorithm.name}.execute returned {code!r} instead of a ProcessCode")
        for handle in algorithm.outputs:
            if handle.key not in store:
                raise ConfigurationError(
                    f"{algorithm.name} declares the output {handle.key!r}, but did not write it "
                    f"for event {store.event_number}"
                )

    def _failed(self, event: ReadEvent, step: str, error: Exception) -> EventResult:
        reason = explain(error)
        concerns_job = step != self.reader.name and isinstance(error, JOB_ERRORS)
        if self.on_error == "fail" or concerns_job:
            kind = type(error) if isinstance(error, JOB_ERRORS) else EventError
            text = f"{self.reader.source}: event {event.event_number}: {step}: {reason}"
            if step == self.reader.name and f"event {event.event_number}:" in reason:
                # The reader names file, tree and event itself.
                text = reason
            advice = "" if concerns_job else ". To leave out events that cannot be processed: --on-error skip"
            raise kind(text + advice) from error
        return EventResult(
            event.index,
            event.event_number,
            skipped=SkippedEvent(event.index, event.event_number, step, reason),
        )


def explain(error: Exception) -> str:
    """What an error says; for one that nobody raised on purpose, also its type."""
    return str(error) if isinstance(error, MltrackError) else f"unexpected {type(error).__name__}: {error}"


def count_key(elements: Sequence[Reader | Algorithm], kind: type) -> str | None:
    """Key of the last written collection of a kind: what the summary counts."""
    keys = [h.key for element in elements for h in element.outputs if issubclass(h.kind, kind)]
    return keys[-1] if keys else None


def _length(store: EventStore, key: str | None) -> int:
    if key is None or key not in store:
        return 0
    collection: Any = store.get(key, object)
    return len(collection)


def freeze_garbage_collector() -> Callable[[], None]:
    """Take everything that exists now out of Python's garbage collections.

    With torch and its peers in memory a full collection takes as long as ten events, and one would fall
    into the first events of every job.

    Returns:
        What undoes it.
    """
    if gc.get_freeze_count():
        # The surrounding program has its own plan.
        return lambda: None
    gc.freeze()
    return gc.unfreeze


def set_torch_threads(threads: int) -> int:
    """Set the number of threads of torch if it is in use; returns the number before."""
    torch = sys.modules.get("torch")
    if torch is None:
        return threads
    before: int = torch.get_num_threads()
    torch.set_num_threads(threads)
    return before
