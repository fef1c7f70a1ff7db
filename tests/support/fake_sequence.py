"""A reader, algorithms and a writer without files or networks, importable in worker processes."""

from __future__ import annotations

import json
import logging
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.errors import EventDataError, EventError, ModelError
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode, Reader, ReadEvent, Writer
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config


class GeneratedEvents(Reader):
    """Deterministic events; event number = 100 + index."""

    class Config(Config):
        n_events: int = 10
        n_hits: int = 12
        broken: tuple[int, ...] = ()
        """Indices of events that break the data contract."""
        ends_after: int | None = None
        """The stream ends after this many events although more were announced."""

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self.write_handle(Hits, "hits")

    @property
    def source(self) -> str:
        return "generated"

    def num_events(self) -> int:
        return int(self.config.n_events)

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[ReadEvent]:
        for index in range(start, self.num_events() if stop is None else stop):
            if self.config.ends_after is not None and index >= self.config.ends_after:
                return
            if index in self.config.broken:
                error = EventDataError("3 of 12 hits have a non-finite x")
                yield ReadEvent(index, 100 + index, error=error)
                continue
            xyz = np.random.default_rng(index).normal(size=(3, self.config.n_hits)).astype(np.float32)
            hits = Hits(np.arange(1, self.config.n_hits + 1), *xyz)
            yield ReadEvent(index, 100 + index, {"hits": hits})


class Halves(Algorithm):
    """Groups hits by the sign of x; can fail, wait, or kill its process at chosen events."""

    class Config(Config):
        hits: str = "hits"
        output: str = "tracks"
        fail_at: tuple[int, ...] = ()
        crash_at: tuple[int, ...] = ()
        abort_at: tuple[int, ...] = ()
        filter_at: tuple[int, ...] = ()
        kill_at: int | None = None
        """Event number at which the process kills itself with SIGKILL."""
        damaged_model: bool = False
        """``initialize`` fails."""
        wait_s: float = 0.0
        """s, per event."""

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self.hits = self.read_handle(Hits, self.config.hits)
        self.tracks = self.write_handle(Tracks, self.config.output)

    def initialize(self) -> None:
        if self.config.damaged_model:
            raise ModelError("the archive is damaged")

    def finalize(self) -> None:
        logging.getLogger("mltrack_plugin.fake").info("halves finalized")

    def execute(self, event_store: EventStore) -> ProcessCode:
        number, config = event_store.event_number, self.config
        if config.wait_s:
            time.sleep(config.wait_s)
        if number == config.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if number in config.fail_at:
            raise EventError("no hit is usable")
        if number in config.crash_at:
            raise ZeroDivisionError("division by zero")
        if number in config.abort_at:
            return ProcessCode.ABORT
        if number in config.filter_at:
            return ProcessCode.SKIP
        hits = self.hits(event_store)
        proto = ProtoTracks.from_labels((hits.x > 0).astype(int))
        self.tracks(event_store, Tracks(proto.offsets, proto.hit_indices, d0=hits.x[: len(proto)]))
        return ProcessCode.SUCCESS

    def describe(self) -> dict[str, str]:
        return {"model_sha256": "0" * 64}


class JsonLines(Writer):
    """Tracks as text, one line per event, then the job's facts; complete or absent."""

    class Config(Config):
        path: str
        overwrite: bool = False
        tracks: str = "tracks"
        with_hits: bool = False

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self.tracks = self.read_handle(Tracks, self.config.tracks)
        self.hits = self.read_handle(Hits, "hits") if self.config.with_hits else None
        self.info: dict[str, str] = {}

    def initialize(self) -> None:
        path = Path(self.config.path)
        self.part = path.with_name(f".{path.name}.{os.getpid()}-0.part")
        self.file = self.part.open("w")

    def write(self, event_store: EventStore) -> None:
        tracks = self.tracks(event_store)
        line: dict[str, Any] = {"event": event_store.event_number, "keys": sorted(event_store)}
        line["tracks"] = [tracks.hits_of(i).tolist() for i in range(len(tracks))]
        line["d0"] = tracks.d0.tolist()
        if self.hits is not None:
            line["x"] = self.hits(event_store).x.tolist()
        self.file.write(json.dumps(line) + "\n")

    def set_job_info(self, info: Mapping[str, str]) -> None:
        self.info = dict(info)

    def finalize(self) -> None:
        self.file.write(json.dumps(self.info))
        self.file.close()
        self.part.replace(self.config.path)

    def abort(self) -> None:
        self.file.close()
        self.part.unlink(missing_ok=True)
