"""Summary: what a job did, what it skipped and where its time went."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table


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


@dataclass(slots=True)
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

    def table(self) -> Table:
        """The time table as a `rich` renderable."""
        from rich.table import Table

        table = Table(title="Time per step", title_justify="left", box=None, pad_edge=False)
        table.add_column("step")
        for name in ("events", "CPU ms/event", "wall ms/event", "CPU share"):
            table.add_column(name, justify="right")
        total = self.cpu_s or 1.0
        for step in self.steps:
            table.add_row(
                step.name,
                str(step.calls),
                f"{step.cpu_ms_per_event:.3f}",
                f"{step.wall_ms_per_event:.3f}",
                f"{100 * step.cpu_s / total:.1f}%",
            )
        return table
