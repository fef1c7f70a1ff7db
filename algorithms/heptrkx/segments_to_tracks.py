"""segments-to-tracks: scored segments become track candidates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import HitGraph, Hits, ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.published.heptrkx.graphs.tracks import connected_components, hit_membership, walk_through
from mltrack_plugin.settings import Config as BaseConfig


class SegmentsToTracks(Algorithm):
    """Joins the segments above a threshold to track candidates.

    "components": hits that segments join are one candidate; two tracks that one wrong segment joins are one, too.
    "walk": paths from inside out, best first, so that every hit is on one path. A path takes a second hit on a layer,
    too, if it lies beside the first (modules overlap). ``membership`` of a hit is the largest score of a segment that
    joins it to its candidate.
    """

    class Config(BaseConfig):
        """Settings of segments-to-tracks."""

        method: Literal["components", "walk"] = "walk"
        """See above."""
        min_score: float = Field(default=0.5, ge=0, le=1)
        """Segments with a smaller score are left out."""
        min_hits: int = Field(default=3, ge=1)
        """Candidates with fewer hits are dropped."""
        max_double_distance: float = Field(default=30.0, ge=0)
        """"walk": two hits of a candidate on one layer are at most this far apart, mm; 0 = never two."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        graph: str = "scored_graph"
        """Event store key of the hit graph (input)."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._graph = self.read_handle(HitGraph, self.config.graph)
        self._proto_tracks = self.write_handle(ProtoTracks, self.config.proto_tracks)

    def execute(self, event_store: EventStore) -> ProcessCode:
        config, graph, hits = self.config, self._graph(event_store), self._hits(event_store)
        if graph.edge_score is None:
            raise EventError(
                f"the segments of {config.graph!r} have no scores; run gnn-segments before this algorithm"
            )
        kept = graph.edge_score >= config.min_score
        edges, score = graph.edges[:, kept], graph.edge_score[kept]
        if config.method == "components":
            label = connected_components(len(graph), edges)
        else:
            position = hits.positions[graph.rows]
            label = walk_through(len(graph), edges, score, graph.layer, position, config.max_double_distance)
        labels, membership = np.full(len(hits), -1, dtype=np.int64), np.zeros(len(hits), dtype=np.float32)
        labels[graph.rows] = label
        membership[graph.rows] = hit_membership(label, edges, score)
        self._proto_tracks(event_store, ProtoTracks.from_labels(labels, membership, min_hits=config.min_hits))
        return ProcessCode.SUCCESS
