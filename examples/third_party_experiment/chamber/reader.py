"""The experiment's own format: a text file with one line per particle and hit.

# chamber events 1
event 0
particle ID DX DY DZ                direction
hit ID LAYER X Y Z PARTICLE         mm; particle 0 = noise
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from mltrack_plugin import Config, Hits, InputError, Particles, Reader, TruthLinks
from mltrack_plugin.framework.algorithm import ReadEvent
from mltrack_plugin.io.source import Source

FIRST_LINE = "# chamber events 1"


class ChamberReader(Reader):
    """Reads events of the drift chamber."""

    format_name: ClassVar[str] = "chamber-events"
    #: Detector that the hits come from.
    detector = "chamber"

    class Config(Config):
        """Settings of chamber-events."""

        path: str
        """Text file."""

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        for kind, key in ((Hits, "hits"), (TruthLinks, "truth_links"), (Particles, "particles")):
            self.write_handle(kind, key)
        self._events: list[tuple[int, list[list[str]]]] = []

    @classmethod
    def recognises(cls, source: Source) -> float:
        """By its first line."""
        return 1.0 if source.head.startswith(FIRST_LINE.encode()) else 0.0

    @property
    def source(self) -> str:
        return str(self.config.path)

    def initialize(self) -> None:
        """Read the file (raises ``InputError``)."""
        self._events = []
        try:
            with open(self.source, encoding="ascii") as file:
                for line in map(str.split, file):
                    if line[:1] == ["event"]:
                        self._events.append((int(line[1]), []))
                    elif line and self._events:
                        self._events[-1][1].append(line)
        except (OSError, ValueError, IndexError) as error:
            raise InputError(f"{self.source} cannot be read as events of the chamber: {error}") from error

    def num_events(self) -> int:
        return len(self._events)

    def events(self, start: int = 0, stop: int | None = None) -> Iterator[ReadEvent]:
        for index, (number, lines) in list(enumerate(self._events))[start:stop]:
            try:
                yield ReadEvent(index, number, _collections(lines))
            except Exception as error:  # a damaged event; the others are read all the same
                yield ReadEvent(index, number, error=error)


def _collections(lines: list[list[str]]) -> dict[str, Any]:
    hits = np.array([line[1:] for line in lines if line[0] == "hit"], dtype=float).reshape(-1, 6).T
    particles = np.array([line[1:] for line in lines if line[0] == "particle"], dtype=float).reshape(-1, 4).T
    zero = np.zeros(particles.shape[1])
    hit_id, layer, x, y, z, particle = hits
    layer, volume = layer.astype(np.int32), np.ones(len(layer), dtype=np.int32)
    return {
        "hits": Hits(hit_id.astype(np.uint64), x, y, z, volume_id=volume, layer_id=layer),
        "truth_links": TruthLinks(particle.astype(np.uint64)),
        "particles": Particles(particles[0].astype(np.uint64), zero, zero, zero, *particles[1:], zero),
    }
