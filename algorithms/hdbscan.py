"""hdbscan: group hits whose regressed track parameters agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.clustering.hdbscan import (
    Backend,
    ClusteringSettings,
    SelectionMethod,
    cluster_hdbscan,
    load_package,
)
from mltrack_plugin.event_data import HitParameters, ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class HDBSCAN(Algorithm):
    """Clusters hits by HDBSCAN in the space of scaled parameters; a cluster is a track candidate.

    ``membership`` of the candidates is HDBSCAN's: 1 in the densest part of a cluster.
    """

    class Config(ClusteringSettings):
        """Settings of hdbscan."""

        cluster_selection_method: SelectionMethod = "eom"
        """"eom" (excess of mass) or "leaf" (more, smaller clusters)."""
        allow_single_cluster: bool = False
        """Let all hits of an event be one candidate: for events that may hold a single particle."""
        backend: Backend = "package"
        """"package": the hdbscan package, exact. "knn": from the nearest neighbours, several times faster; the choice
        for well separated clusters. Does not have "leaf".
        """
        neighbours: int = Field(default=16, ge=2)
        """With "knn": neighbours of each hit, more than a track usually has hits."""
        max_distance: float | None = Field(default=None, gt=0, allow_inf_nan=False)
        """With "knn": hits further apart (in units of the parameters' scales) are no neighbours. Most of the time goes
        into the search for neighbours, so that a short distance saves much of it in events with many hits;
        ``None`` = any distance.
        """
        hit_parameters: str = "hit_parameters"
        """Event store key of the track parameters that each hit got (input)."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (output)."""

        @model_validator(mode="after")
        def _backend_can(self) -> Self:
            if self.backend == "knn" and self.cluster_selection_method != "eom":
                raise ValueError('backend "knn" does not have cluster_selection_method "leaf"')
            return self

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._parameters = self.read_handle(HitParameters, self.config.hit_parameters)
        self._proto_tracks = self.write_handle(ProtoTracks, self.config.proto_tracks)

    def initialize(self) -> None:
        """Import or compile now, so that the first event is not slower than the others."""
        if self.config.backend == "package":
            load_package()
        else:
            cluster_hdbscan(np.eye(8), min_cluster_size=2, min_samples=1, backend="knn")

    def execute(self, event_store: EventStore) -> ProcessCode:
        parameters = self._parameters(event_store)
        labels, membership = cluster_hdbscan(
            parameters.scaled,
            min_cluster_size=self.config.min_cluster_size,
            min_samples=self.config.min_samples,
            epsilon=self.config.epsilon,
            cluster_selection_method=self.config.cluster_selection_method,
            allow_single_cluster=self.config.allow_single_cluster,
            backend=self.config.backend,
            neighbours=self.config.neighbours,
            max_distance=math.inf if self.config.max_distance is None else self.config.max_distance,
        )
        tracks = ProtoTracks.from_labels(labels, membership)
        # Rows ascend, so the canonical order survives the change from rows of parameters to rows of hits.
        rows = parameters.hit_rows
        self._proto_tracks(
            event_store,
            ProtoTracks(tracks.offsets, np.asarray(rows[tracks.hit_indices]), tracks.membership),
        )
        return ProcessCode.SUCCESS
