"""Scores during a job: takes events like a writer, but writes no file."""

from __future__ import annotations

from typing import Any

from mltrack_plugin.algorithm import Config as BaseConfig
from mltrack_plugin.algorithm import Writer
from mltrack_plugin.event_data import Hits, Particles, Tracks, TruthLinks
from mltrack_plugin.event_store import EventStore
from mltrack_plugin.performance.summary import ScoreAccumulator


class ScoreWriter(Writer):
    """Adds up the scores of the events of a job whose input carries truth."""

    class Config(BaseConfig):
        """Event store keys."""

        hits: str = "hits"
        truth_links: str = "truth_links"
        particles: str = "particles"
        tracks: str = "tracks"

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._truth_links = self.read_handle(TruthLinks, self.config.truth_links)
        self._particles = self.read_handle(Particles, self.config.particles, optional=True)
        self._tracks = self.read_handle(Tracks, self.config.tracks)
        self._scores = ScoreAccumulator()

    def write(self, event_store: EventStore) -> None:
        """Add one event."""
        self._scores.add(
            self._hits(event_store),
            self._truth_links(event_store),
            self._tracks(event_store),
            self._particles.get(event_store),
        )

    def abort(self) -> None:
        """Nothing was written."""

    def result(self) -> dict[str, Any]:
        """All scores; see :class:`~mltrack_plugin.performance.summary.ScoreAccumulator`."""
        return self._scores.result()
