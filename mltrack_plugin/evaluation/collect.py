"""ScoreCollector: the end of a sequence that scores its tracks instead of writing them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from mltrack_plugin.evaluation.scores import DEFAULT_MIN_HITS
from mltrack_plugin.evaluation.summary import ScoreAccumulator
from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, TruthLinks
from mltrack_plugin.framework.algorithm import Reader, Writer
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config


class ScoreCollectorConfig(Config):
    """Settings of :class:`ScoreCollector`."""

    hits: str = "hits"
    """Key of the hits."""
    truth_links: str = "truth_links"
    """Key of the truth links."""
    particles: str = "particles"
    """Key of the true particles (optional in the event)."""
    tracks: str = "tracks"
    """Key of the tracks or track candidates."""
    min_hits: int = Field(default=DEFAULT_MIN_HITS, ge=1)
    """Fewest hits that a particle must have left to count, and that a track must have to be matched."""
    detector: str | None = None
    """Name of the detector, if it is known (see :class:`ScoreAccumulator`)."""


class ScoreCollector(Writer):
    """Adds the scores of every event to ``accumulator`` and writes no file.

    It runs in the main process, after the events are back in input order.
    """

    Config = ScoreCollectorConfig

    def __init__(
        self, config: ScoreCollectorConfig | Mapping[str, Any] | None = None, **settings: Any
    ) -> None:
        super().__init__(config, **settings)
        self.accumulator = ScoreAccumulator(min_hits=self.config.min_hits, detector=self.config.detector)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._truth_links = self.read_handle(TruthLinks, self.config.truth_links)
        self._particles = self.read_handle(Particles, self.config.particles, optional=True)
        self._tracks = self.read_handle(ProtoTracks, self.config.tracks)

    def write(self, event_store: EventStore) -> None:
        """Score one event."""
        self.accumulator.add(
            self._hits(event_store),
            self._truth_links(event_store),
            self._tracks(event_store),
            self._particles.get(event_store),
        )

    def abort(self) -> None:
        """Nothing is written, so nothing is left behind."""


def truth_keys(reader: Reader) -> dict[str, str]:
    """Argument of ``ScoreAccumulator.add`` -> event store key, for what an initialized reader delivers."""
    kinds = {Hits: "hits", TruthLinks: "truth_links", Particles: "particles"}
    return {kinds[handle.kind]: handle.key for handle in reader.outputs if handle.kind in kinds}
