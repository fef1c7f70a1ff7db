"""A clumsy user: input files with one thing wrong each, and what every refusal of the command line has in common."""

from __future__ import annotations

import dataclasses
import re
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading_events import Event, particles_of, write_events

from mltrack_plugin.cli.main import main

JOB = "encreg-redvid-10-50-linear"
#: Event numbers of the input files.
NUMBERS = (71, 72, 73)
N_TRACKS, N_LAYERS = 4, 6
JOURNAL_FILE = re.compile(r"job\.json|lock|chunk-\d+-\d+\.npz")


def straight_tracks(number: int) -> Event:
    """Columns of an event with four straight tracks of six hits from the origin, at radii of 1 to 6."""
    r = np.tile(np.arange(1.0, N_LAYERS + 1), N_TRACKS)
    theta = np.repeat([0.6, 1.0, 1.5, 2.2], N_LAYERS)
    phi = np.repeat([0.1, 1.4, 3.0, -2.0], N_LAYERS) + 0.2 * number
    xyz = {"x": r * np.cos(phi), "y": r * np.sin(phi), "z": r / np.tan(theta)}
    ids = {
        "hit_id": np.arange(1, len(r) + 1, dtype=np.uint64),
        "particle_id": np.repeat(np.arange(1, N_TRACKS + 1, dtype=np.uint64), N_LAYERS),
    }
    return {**ids, **{name: values.astype(np.float32) for name, values in xyz.items()}}


def replaced(event: Event, column: str, row: int, value: Any) -> Event:
    """The event with one value of one column replaced."""
    values = event[column].copy()
    values[row] = value
    return {**event, column: values}


def in_metres(event: Event) -> Event:
    """The event with coordinates in metres instead of mm."""
    return event | {name: (event[name] / 1000).astype(np.float32) for name in "xyz"}


def save_events(path: Path, *events: Event, particles: bool = True) -> Path:
    """A ROOT file; events have the numbers of NUMBERS."""
    numbers = NUMBERS[: len(events)]
    trees: dict[str, Sequence[Event]] = {"hits": events}
    if particles:
        trees["particles"] = [particles_of(n, range(1, N_TRACKS + 1)) for n in numbers]
    return Path(write_events(path, trees, numbers, batch=1))


def good_events() -> list[Event]:
    """Three events without fault."""
    return [straight_tracks(number) for number in NUMBERS]


def with_second(event: Event) -> list[Event]:
    """Three events of which the second is the given one."""
    first, _, last = good_events()
    return [first, event, last]


@dataclasses.dataclass
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs commands in this process; what they write goes to ``output``, which begins empty."""

    def __init__(self, folder: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.model = model
        self.output = folder / "out"
        self.output.mkdir()
        self.tracks = self.output / "tracks.root"
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Outcome:
        self._capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    def run(self, source: object, *options: object, output: object = None, model: object = None) -> Outcome:
        """``mltrack run`` with the job for straight tracks, and a model that finds them unless another is given."""
        return self("run", *self.run_arguments(source, *options, output=output, model=model))

    def run_arguments(
        self, source: object, *options: object, output: object = None, model: object = None
    ) -> list[str]:
        """Arguments of :meth:`run`."""
        job = () if "--config" in options else ("--config", JOB)
        paths = ("--input", source, "--output", output or self.tracks, "--model", model or self.model)
        return [str(part) for part in (*paths, "--device", "cpu", *job, *options)]

    def refused(self, outcome: Outcome, code: int, *parts: str, kept: Sequence[str] = ()) -> None:
        """The command failed with a code and one message that holds all parts, and wrote nothing.

        Args:
            kept: what the output folder holds all the same (journals of finished events are always allowed).
        """
        assert outcome.code == code, outcome.err
        last = [line for line in outcome.err.splitlines() if line.startswith(("mltrack: ", "Error: "))]
        assert len(last) == 1, outcome.err
        assert "Traceback" not in outcome.err
        assert "internal error" not in outcome.err
        assert "unexpected" not in outcome.err
        message = outcome.err[outcome.err.index(last[0]) :]
        for part in parts:
            assert part in message, message
        self.nothing_half_written(kept)

    def nothing_half_written(self, kept: Sequence[str] = ()) -> None:
        """The output folder holds complete files, and complete chunks of finished events."""
        there = sorted(path.name for path in self.output.iterdir())
        journals = [name for name in there if name.endswith(".journal")]
        assert [name for name in there if name not in journals] == sorted(kept)
        for journal in journals:
            names = [path.name for path in (self.output / journal).iterdir()]
            assert all(JOURNAL_FILE.fullmatch(name) for name in names), names
            assert any(name.startswith("chunk-") for name in names), names


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file can grow beyond ``size`` bytes: writing fails as on a full disk, whatever code it is that writes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
