"""gnn-segments: a graph network scores the segments of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mltrack_plugin.algorithms.model_algorithm import ModelAlgorithm, ModelConfig
from mltrack_plugin.event_data import HitGraph, Hits
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class GnnSegments(ModelAlgorithm):
    """Applies a segment classifier to the graph of an event: each edge gets a score. A graph without edges stays so."""

    kind = "graph"
    architectures = ("gnn-segments",)

    class Config(ModelConfig):
        """Settings of gnn-segments."""

        model: str = "gnn-segments"
        """Shipped model (see ``mltrack models``) or path of a model archive."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        graph: str = "hit_graph"
        """Event store key of the hit graph (input)."""
        scored_graph: str = "scored_graph"
        """Event store key of the hit graph with scores (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._graph = self.read_handle(HitGraph, self.config.graph)
        self._scored = self.write_handle(HitGraph, self.config.scored_graph)

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.published.heptrkx.graphs.samples import node_features

        graph = self._graph(event_store)
        nodes = node_features(self._hits(event_store))[graph.rows]
        # Row i holds the weights of iteration i, the last one the scores. torch takes no read-only arrays.
        score = self.model.apply(nodes, graph.edges.copy())[-1]
        self._scored(event_store, graph.with_scores(score))
        return ProcessCode.SUCCESS
