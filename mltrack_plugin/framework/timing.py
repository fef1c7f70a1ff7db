"""CPU time per event and step, kept in a file of its own beside the tracks.

Times differ from run to run, and the bytes of an output must not, so they are not in the tracks file but in
``<tracks file>.timing.json``: ``mltrack run --timing`` and ``mltrack reference`` write it, ``mltrack compare``
reads it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from mltrack_plugin.atomic import AtomicFile, output_errors
from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.event_data.base import Array, Collection, column
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig

#: Key under which the event loop hands on the CPU time of the algorithms, for writers that ask for it.
STEP_TIMES = "step_times"

_FORMAT, _VERSION = "mltrack-timing", 1


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class StepTimes(Collection):
    """CPU time that the steps of a reconstruction spent on one event."""

    #: (k,) names.
    names: Array
    #: (k,) float64, s, of all threads of the process.
    cpu_s: Array
    #: (k,) bool: whether the step is part of the reconstruction (else it reads, converts or prepares); default all.
    counted: Array | None = None

    def __post_init__(self) -> None:
        self._set("names", np.asarray(self.names, dtype=np.str_))
        k = len(self.names)
        self._set("cpu_s", column("cpu_s", self.cpu_s, np.float64, (k,)))
        counted = np.ones(k, dtype=bool) if self.counted is None else self.counted
        self._set("counted", column("counted", counted, np.bool_, (k,)))


@dataclasses.dataclass(frozen=True)
class TimingRecord:
    """Content of a timing file, one row per event.

    Attributes:
        event_number: (n,) int64.
        n_hits: (n,) int64, hits of the event, on tracks or not.
        n_tracks: (n,) int64; with the tracks file itself they tell whether the two belong together.
        cpu_s: (n,) float64, s: the counted steps.
        steps: step -> (n,) float64, s; NaN in events in which it did not run.
        counted: steps that make up ``cpu_s``.
        machine: processor, system, Python.
        job: name of the job configuration.
        workers: processes that shared the events.
        threads: threads of each.
    """

    event_number: Array
    n_hits: Array
    n_tracks: Array
    cpu_s: Array
    steps: dict[str, Array]
    counted: tuple[str, ...]
    machine: dict[str, str]
    job: str
    workers: int
    threads: int

    def __len__(self) -> int:
        return len(self.event_number)


def timing_path(tracks: str | os.PathLike[str]) -> Path:
    """Where the times of a tracks file are: ``<tracks>.timing.json``."""
    path = Path(tracks)
    return path.with_name(f"{path.name}.timing.json")


class TimingWriter(Writer):
    """Writes the CPU time per event and step as JSON, complete or not at all."""

    format_name = "timing"

    class Config(BaseConfig):
        """Settings of the timing file."""

        path: str
        """File to write."""
        overwrite: bool = False
        """Replace an existing file."""
        times: str = STEP_TIMES
        """Event store key of the times (input); the default are those of the algorithms."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        tracks: str = "tracks"
        """Event store key of the tracks (input)."""
        job: str = ""
        """Name of the job configuration, for the record."""
        workers: int = 1
        """Number of processes, for the record."""
        threads: int = 1
        """Number of threads of each process, for the record."""

    def __init__(self, config: BaseModel | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        # No algorithm writes the default key: the event loop does, when a writer asks for it.
        self._times = self.read_handle(StepTimes, self.config.times, optional=self.config.times == STEP_TIMES)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._tracks = self.read_handle(ProtoTracks, self.config.tracks)
        self._file: Any = None

    def initialize(self) -> None:
        """Open the file under a temporary name.

        Raises:
            OutputError: if it exists, or cannot be written.
        """
        self._file = AtomicFile(self.config.path, overwrite=self.config.overwrite)
        self._events: list[dict[str, Any]] = []
        self._counted: dict[str, bool] = {}

    def write(self, event_store: EventStore) -> None:
        """Take the times of one event.

        Raises:
            ConfigurationError: if nothing has taken them.
        """
        times = self._times.get(event_store)
        if times is None:
            raise ConfigurationError(f"event {event_store.event_number} has no {self.config.times!r}")
        names = times.names.tolist()
        self._counted |= zip(names, np.asarray(times.counted).tolist(), strict=True)
        self._events.append(
            {
                "event_number": event_store.event_number,
                "n_hits": len(self._hits(event_store)),
                "n_tracks": len(self._tracks(event_store)),
                "cpu_s": dict(zip(names, times.cpu_s.tolist(), strict=True)),
            }
        )

    def finalize(self) -> None:
        """Complete the file and give it its name."""
        content = {
            "format": _FORMAT,
            "format_version": _VERSION,
            "job": self.config.job,
            "machine": machine(),
            "workers": self.config.workers,
            "threads": self.config.threads,
            "counted_steps": [name for name, counted in self._counted.items() if counted],
            "events": self._events,
        }
        with output_errors(self.config.path):
            self._file.file.write(json.dumps(content, indent=1).encode() + b"\n")
        self._file.commit()

    def abort(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            self._file.abort()


def machine() -> dict[str, str]:
    """What times depend on: processor, number of its cores, system, Python."""
    processor = platform.processor()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "processor": processor or platform.machine(),
        "cores": str(os.cpu_count() or 0),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def read_timing(path: str | os.PathLike[str]) -> TimingRecord:
    """The content of a timing file.

    Raises:
        InputError: if it is missing, damaged or no timing file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the timing file cannot be read ({error})") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise InputError(f"{path} is no timing file (written by: mltrack run --timing, mltrack reference)")
    if content.get("format_version") != _VERSION:
        raise InputError(
            f"{path}: timing format version {content.get('format_version')}, known is {_VERSION}; "
            "write it again with this version of the package"
        )
    try:
        return _record(content)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: the timing file is damaged ({type(error).__name__}: {error})") from error


def _record(content: Mapping[str, Any]) -> TimingRecord:
    events = content["events"]
    names = list(dict.fromkeys(name for event in events for name in event["cpu_s"]))
    steps = {
        name: np.array([event["cpu_s"].get(name, np.nan) for event in events], dtype=np.float64)
        for name in names
    }
    counted = tuple(content["counted_steps"])
    total = np.zeros(len(events))
    for name in counted:
        total += np.nan_to_num(steps[name])
    integers = {
        name: np.array([event[name] for event in events], dtype=np.int64)
        for name in ("event_number", "n_hits", "n_tracks")
    }
    return TimingRecord(
        **integers,
        cpu_s=total,
        steps=steps,
        counted=counted,
        machine={str(k): str(v) for k, v in content["machine"].items()},
        job=str(content["job"]),
        workers=int(content["workers"]),
        threads=int(content["threads"]),
    )
