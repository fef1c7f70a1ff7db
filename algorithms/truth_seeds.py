"""truth-seeds: the first hits of each true particle, for the evaluation of track finding from perfect seeds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from mltrack_plugin.clustering.pointers import true_seeds
from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits, ProtoTracks, TruthLinks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class TruthSeeds(Algorithm):
    """Perfect seeds from simulated events: a particle's hits that are nearest to the origin."""

    class Config(BaseConfig):
        """Settings of truth-seeds."""

        seed_hits: int = Field(default=1, ge=1)
        """Hits of a seed; particles with fewer hits have none."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        truth_links: str = "truth_links"
        """Event store key of the truth links (input)."""
        seeds: str = "seeds"
        """Event store key of the seeds (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._truth = self.read_handle(TruthLinks, self.config.truth_links)
        self._seeds = self.write_handle(ProtoTracks, self.config.seeds)

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits, truth = self._hits(event_store), self._truth(event_store)
        if len(truth) != len(hits):
            raise EventError(f"{len(hits)} hits but truth for {len(truth)}: one link per hit is needed")
        labels = true_seeds(hits.positions, truth.particle_id, self.config.seed_hits)
        self._seeds(event_store, ProtoTracks.from_labels(labels))
        return ProcessCode.SUCCESS
