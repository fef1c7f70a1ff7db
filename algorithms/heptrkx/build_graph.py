"""build-graph: segments between hits on adjacent layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits, HitSelection
from mltrack_plugin.event_data.graph import HitGraph
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.published.heptrkx.graphs.construct import GraphSettings, build_graph
from mltrack_plugin.settings import Config as BaseConfig


class BuildGraph(Algorithm):
    """Connects hits on adjacent layers of the GenericDetector (or the TrackML detector) within windows.

    Hits on other layers (without ``endcaps``: all outside the barrel) take no part. An event without any such hit gives
    a graph without nodes, and hits too far apart one without edges: no track comes of either. If ``preprocess-hits``
    runs before, only the selected hits are used.
    """

    class Config(GraphSettings):
        """Settings of build-graph."""

        max_edges: int = Field(default=2_000_000, ge=1)
        """Events with more segments are refused: memory and time grow with their number."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        selected_hits: str = "selected_hits"
        """Event store key of the selection of hits (input)."""
        graph: str = "hit_graph"
        """Event store key of the hit graph (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._selection = self.read_handle(HitSelection, self.config.selected_hits, optional=True)
        self._graph = self.write_handle(HitGraph, self.config.graph)

    def execute(self, event_store: EventStore) -> ProcessCode:
        config, selection = self.config, self._selection.get(event_store)
        graph = build_graph(
            self._hits(event_store),
            rows=None if selection is None else selection.rows,
            endcaps=config.endcaps,
            max_dphi=config.max_dphi,
            max_dz=config.max_dz,
            max_z0=config.max_z0,
        )
        if graph.n_edges > config.max_edges:
            raise EventError(
                f"{len(graph)} hits give {graph.n_edges} segments, more than max_edges = {config.max_edges}. Use a "
                "smaller max_dphi, or raise max_edges"
            )
        self._graph(event_store, graph)
        return ProcessCode.SUCCESS
