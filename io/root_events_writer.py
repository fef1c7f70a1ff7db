"""Simulated or converted events in this package's own ROOT layout (see docs/formats.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np

from mltrack_plugin.errors import EventDataError, OutputError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_output import Column
from mltrack_plugin.io.root_writer import Chunk, RootWriter, RootWriterConfig, joined

_HITS = {
    "hit_id": "u8",
    "x": "f4",
    "y": "f4",
    "z": "f4",
    "time": "f4",
    "volume_id": "i4",
    "layer_id": "i4",
    "module_id": "i4",
    "geometry_id": "u8",
    "particle_id": "u8",
    "weight": "f4",
}
_PARTICLES = {
    "particle_id": "u8",
    **dict.fromkeys(("vx", "vy", "vz", "px", "py", "pz", "q"), "f4"),
    "nhits": "i4",
    "pdg_id": "i4",
}
_ALWAYS = {"hits": ("hit_id", "x", "y", "z")}


class _Event(NamedTuple):
    event_number: int
    hits: dict[str, Any]
    particles: dict[str, Any] | None


class RootEventsWriter(RootWriter):
    """Writes hits, and truth where the event store has it, as trees ``hits`` and ``particles``.

    The first event decides which optional columns the file has; later events must have the same.
    """

    format_name: ClassVar[str] = "root-events"
    content_name = "mltrack-events"

    class Config(RootWriterConfig):
        """Settings."""

        detector: str | None = None
        """Detector that the hits come from, as models and job configurations name it."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        truth_links: str = "truth_links"
        """Event store key of the truth links (input)."""
        particles: str = "particles"
        """Event store key of the particles (input)."""

    def __init__(self, config: RootWriterConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._truth_links = self.read_handle(TruthLinks, self.config.truth_links, optional=True)
        self._particles = self.read_handle(Particles, self.config.particles, optional=True)
        self._present: dict[str, tuple[str, ...]] | None = None

    def _collect(self, event_store: EventStore) -> tuple[_Event, int]:
        hits = self._hits(event_store)
        rows = hits.arrays()
        if (links := self._truth_links.get(event_store)) is not None:
            try:
                links.check_against(hits)
            except EventDataError as error:
                raise OutputError(f"event {event_store.event_number}: {error}") from error
            rows |= links.arrays()
        particles = self._particles.get(event_store)
        event = _Event(event_store.event_number, rows, None if particles is None else particles.arrays())
        present = _present(event)
        if self._present is None:
            self._present = present
        elif present != self._present:
            raise OutputError(
                f"event {event.event_number} has the columns {present}, the events before it have "
                f"{self._present}; all events in {self.config.path!r} must have the same columns"
            )
        return event, sum(a.nbytes for table in (rows, event.particles or {}) for a in table.values())

    def _schema(self, events: Sequence[_Event]) -> dict[str, dict[str, Column]]:
        present = _present(events[0]) if events else _ALWAYS
        types = {"hits": _HITS, "particles": _PARTICLES}
        return {
            table: {
                "event_number": Column("u8"),
                **{n: Column(types[table][n], f"n_{table}") for n in names},
            }
            for table, names in present.items()
        }

    def _chunk(self, events: Sequence[_Event]) -> dict[str, Chunk]:
        numbers = np.array([e.event_number for e in events], dtype=np.uint64)
        chunks = {}
        for table, names in _present(events[0]).items():
            types = _HITS if table == "hits" else _PARTICLES
            rows = [getattr(e, table) for e in events]
            values = {n: joined([r[n] for r in rows], types[n]) for n in names}
            counts = np.array([len(r[names[0]]) for r in rows])
            chunks[table] = Chunk({"event_number": numbers, **values}, {f"n_{table}": counts})
        return chunks

    def _meta(self) -> dict[str, str]:
        return {"detector": self.config.detector or self._info.get("detector", "")}


def _present(event: _Event) -> dict[str, tuple[str, ...]]:
    """Columns of each table, in the order of the layout."""
    present = {"hits": tuple(n for n in _HITS if n in event.hits)}
    if event.particles is not None:
        present["particles"] = tuple(n for n in _PARTICLES if n in event.particles)
    return present
