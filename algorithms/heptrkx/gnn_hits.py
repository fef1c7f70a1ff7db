"""gnn-hits: a graph network picks the hits of each seed's track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.model_algorithm import ModelAlgorithm, ModelConfig
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.published.heptrkx.graphs.layers import BARREL_RADII, hit_layers
from mltrack_plugin.published.heptrkx.graphs.seeded import (
    HITS_PER_LAYER,
    N_LAYERS,
    SEED_LAYERS,
    best_candidates,
    expected_points,
    find_seeds,
    joined_graphs,
    nearest_hits,
    seeded_nodes,
)
from mltrack_plugin.settings import Config as BaseConfig


class GnnHits(ModelAlgorithm):
    """Seeds on the three inner barrel layers, a graph of the nearest hits around each, a classifier that scores them.

    Of each seed's graph the best hit on each layer is taken if its score suffices; candidates that share hits are
    resolved, best first. An event without seeds (or without barrel hits) has no candidates.
    """

    kind = "graph"
    architectures = ("gnn-hits",)

    class Config(ModelConfig):
        """Settings of gnn-hits."""

        model: str = "gnn-hits"
        """Shipped model (see ``mltrack models``) or path of a model archive."""
        max_dphi: float = Field(default=0.05, gt=0, le=np.pi)
        """Seeds: largest difference in azimuth of neighbouring hits, radian."""
        max_slope_change: float = Field(default=1e-4, gt=0)
        """Seeds: largest change of dphi/dr between the segments, radian/mm."""
        max_kink: float = Field(default=2.0, gt=0)
        """Seeds: largest distance in z of the third hit from the line through the others, mm."""
        min_score: float = Field(default=0.5, ge=0, le=1)
        """Hits with a smaller score are not taken."""
        min_hits: int = Field(default=3, ge=1)
        """Candidates with fewer hits are dropped."""
        batch: int = Field(default=256, ge=1)
        """Seeds that the network sees at once."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._proto_tracks = self.write_handle(ProtoTracks, self.config.proto_tracks)

    def execute(self, event_store: EventStore) -> ProcessCode:
        config, hits = self.config, self._hits(event_store)
        layer = hit_layers(hits)
        r, phi, z = (column.astype(np.float64) for column in (hits.r, hits.phi, hits.z))
        windows = {name: getattr(config, name) for name in ("max_dphi", "max_slope_change", "max_kink")}
        seeds = find_seeds(layer, r, phi, z, **windows)
        eta = np.arcsinh(z / np.maximum(r, 1e-6))
        at_eta, at_phi = expected_points(seeds, r, phi, z, np.array(BARREL_RADII))
        # On the seed's layers the points are its hits.
        at_eta[:, :SEED_LAYERS], at_phi[:, :SEED_LAYERS] = eta[seeds], phi[seeds]
        rows, there = nearest_hits(layer, eta, phi, at_eta, at_phi)
        own = np.repeat(seeds, HITS_PER_LAYER, axis=1)
        seed = np.zeros(rows.shape, dtype=bool)
        seed[:, : own.shape[1]] = there[:, : own.shape[1]] & (rows[:, : own.shape[1]] == own)
        nodes = seeded_nodes(rows, seed, phi[seeds[:, 0]], r, phi, z)
        score = self._scores(nodes, there)
        labels, membership = best_candidates(rows, score, config.min_score, config.min_hits, len(hits))
        self._proto_tracks(event_store, ProtoTracks.from_labels(labels, membership))
        return ProcessCode.SUCCESS

    def _scores(self, nodes: Array, there: Array) -> Array:
        """(k, N) scores of the hits around each seed, 0 for absent ones."""
        score = np.zeros(there.shape, dtype=np.float32)
        for start in range(0, len(nodes), self.config.batch):
            part = slice(start, start + self.config.batch)
            present, edges = joined_graphs(there[part])
            flat = score[part].reshape(-1)
            flat[present] = self.model.apply(nodes[part].reshape(-1, nodes.shape[-1])[present], edges)
            score[part] = flat.reshape(-1, N_LAYERS * HITS_PER_LAYER)
        return score
