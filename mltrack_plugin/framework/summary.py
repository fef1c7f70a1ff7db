"""Summary: what a job did, what it skipped and where its time went."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mltrack_plugin.reprs import counted, html_table, text_table

#: Skipped events that are named one by one.
_SKIPPED_SHOWN = 5
_HEAD = ("step", "events", "CPU ms/event", "wall ms/event", "CPU share")


@dataclass(slots=True)
class StepTime:
    """Time spent in one step, summed over events (and over worker processes)."""

    name: str
    #: s, of all threads of the process.
    cpu_s: float = 0.0
    #: s.
    wall_s: float = 0.0
    #: Number of events that the step saw.
    calls: int = 0

    def add(self, cpu_s: float, wall_s: float, calls: int = 1) -> None:
        """Add the time of ``calls`` events."""
        self.cpu_s += cpu_s
        self.wall_s += wall_s
        self.calls += calls

    @property
    def cpu_ms_per_event(self) -> float:
        """ms; 0 if the step never ran."""
        return 1e3 * self.cpu_s / self.calls if self.calls else 0.0

    @property
    def wall_ms_per_event(self) -> float:
        """ms; 0 if the step never ran."""
        return 1e3 * self.wall_s / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class SkippedEvent:
    """An event that could not be processed (``on_error="skip"``)."""

    #: Position in the input, counted from 0.
    index: int
    #: Number of the event in the input file.
    event_number: int
    #: Reader or algorithm that failed.
    step: str
    reason: str


@dataclass(slots=True, repr=False)
class Summary:
    """Result of ``Sequencer.run``."""

    #: Events that reached the writers.
    events: int = 0
    skipped: list[SkippedEvent] = field(default_factory=list)
    #: Events that an algorithm filtered out (``ProcessCode.SKIP``).
    filtered: int = 0
    #: Events taken over from an interrupted run instead of being computed.
    resumed: int = 0
    hits: int = 0
    tracks: int = 0
    #: Reader, algorithms and writers in order.
    steps: list[StepTime] = field(default_factory=list)
    #: s, opening files and loading models (in the slowest process).
    initialize_s: float = 0.0
    #: s, the whole job.
    wall_s: float = 0.0
    workers: int = 1
    threads: int = 1

    def step(self, name: str) -> StepTime:
        """The time of one step, created on first use."""
        for step in self.steps:
            if step.name == name:
                return step
        self.steps.append(StepTime(name))
        return self.steps[-1]

    def add_times(self, times: Iterable[StepTime]) -> None:
        """Add the times of a chunk of events."""
        for time in times:
            self.step(time.name).add(time.cpu_s, time.wall_s, time.calls)

    @property
    def cpu_s(self) -> float:
        """s, CPU time of all steps."""
        return sum(step.cpu_s for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain types for JSON; times per event in ms."""
        steps = [
            {
                "name": step.name,
                "events": step.calls,
                "cpu_s": step.cpu_s,
                "wall_s": step.wall_s,
                "cpu_ms_per_event": step.cpu_ms_per_event,
                "wall_ms_per_event": step.wall_ms_per_event,
            }
            for step in self.steps
        ]
        return {
            "events": self.events,
            "skipped_events": [dataclasses.asdict(skipped) for skipped in self.skipped],
            "filtered_events": self.filtered,
            "resumed_events": self.resumed,
            "hits": self.hits,
            "tracks": self.tracks,
            "workers": self.workers,
            "threads": self.threads,
            "initialize_s": self.initialize_s,
            "wall_s": self.wall_s,
            "cpu_s": self.cpu_s,
            "steps": steps,
        }

    def __str__(self) -> str:
        return "\n".join(
            [*self._lines(), "", "Time per step", text_table([_HEAD, *self._rows()], (1, 2, 3, 4))]
        )

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_table("\n".join(self._lines()), self._rows(), _HEAD)

    def _lines(self) -> list[str]:
        """What was done, in words."""
        totals = f"{counted(self.events, 'event')}, {self.hits} hits, {self.tracks} tracks"
        if n := self.events:
            totals += f" ({self.hits / n:.1f} hits and {self.tracks / n:.1f} tracks per event)"
        rate = self.events / self.wall_s if self.wall_s else 0.0
        processes = f"{self.workers} worker(s) with {self.threads} thread(s)"
        lines = [totals, f"{self.wall_s:.1f} s, {rate:.1f} events/s, {processes}"]
        if self.filtered:
            lines.append(f"events filtered out: {self.filtered}")
        if self.resumed:
            lines.append(f"events from the interrupted job: {self.resumed}")
        if self.skipped:
            lines.append(f"events skipped: {len(self.skipped)}")
            for skipped in self.skipped[:_SKIPPED_SHOWN]:
                lines.append(f"  event {skipped.event_number}: {skipped.step}: {skipped.reason}")
            if len(self.skipped) > _SKIPPED_SHOWN:
                lines.append("  ... (all of them are in the output and in --json)")
        return lines

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        """The time of each step."""
        total = self.cpu_s or 1.0
        return [
            (
                step.name,
                str(step.calls),
                f"{step.cpu_ms_per_event:.3f}",
                f"{step.wall_ms_per_event:.3f}",
                f"{100 * step.cpu_s / total:.1f}%",
            )
            for step in self.steps
        ]
