"""gnn-segments: a graph network scores the segments of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from mltrack_plugin.algorithm import Algorithm, ProcessCode
from mltrack_plugin.algorithm import Config as BaseConfig
from mltrack_plugin.errors import ModelError
from mltrack_plugin.event_data import HitGraph, Hits
from mltrack_plugin.event_store import EventStore

if TYPE_CHECKING:
    from mltrack_plugin.models.archive import TrackModel


class GnnSegments(Algorithm):
    """Applies a segment classifier to the graph of an event: each edge gets a score. A graph without edges stays so."""

    class Config(BaseConfig):
        """Settings of gnn-segments."""

        #: Shipped model (see ``mltrack models``) or path of a model archive.
        model: str = "gnn-segments"
        #: Where the network runs; auto = GPU if there is one.
        device: Literal["auto", "cpu", "cuda"] = "auto"
        #: Detector of the input, checked against the model's; ``None`` = what the input states, if it does.
        detector: str | None = None
        #: Input keys.
        hits: str = "hits"
        graph: str = "hit_graph"
        #: Output key.
        scored_graph: str = "scored_graph"

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._graph = self.read_handle(HitGraph, self.config.graph)
        self._scored = self.write_handle(HitGraph, self.config.scored_graph)
        self._loaded: TrackModel | None = None

    def initialize(self) -> None:
        """Load the model.

        Raises:
            ModelError: if it is missing, damaged, no segment classifier, or made for another detector.
        """
        from mltrack_plugin.models.archive import load_model

        model = load_model(self.config.model, device=self.config.device)
        model.card.check_kind("graph", "gnn-segments")
        model.card.check_architecture(("gnn-segments",), "gnn-segments")
        model.card.check_detector(self.config.detector, "the input")
        self._loaded = model

    @property
    def model(self) -> TrackModel:
        """The loaded model (raises ``ModelError`` before ``initialize``)."""
        if self._loaded is None:
            raise ModelError(f"model {self.config.model!r} is not loaded: call initialize() first")
        return self._loaded

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.graphs.samples import node_features

        graph = self._graph(event_store)
        nodes = node_features(self._hits(event_store))[graph.rows]
        # Row i holds the weights of iteration i, the last one the scores. torch takes no read-only arrays.
        score = self.model.apply(nodes, graph.edges.copy())[-1]
        self._scored(event_store, graph.with_scores(score))
        return ProcessCode.SUCCESS

    def describe(self) -> dict[str, str]:
        card = self.model.card
        return {
            "model": card.name,
            "model_version": card.version,
            "model_sha256": self.model.sha256,
            "model_device": self.model.device,
        }
