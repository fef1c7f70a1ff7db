"""refine-clusters: a network looks at each cluster of hits again, and at the hits around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.model_algorithm import ModelAlgorithm, ModelConfig
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks, TrackEstimates, Tracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig

if TYPE_CHECKING:
    from mltrack_plugin.models.refiner import RefinerConfig


class RefineClusters(ModelAlgorithm):
    """Refines groups of hits, from whatever clustering, by a network that knows what tracks look like.

    For each cluster the network sees its hits and those around it, and gives the probability of each to belong to the
    cluster's track, the probability that the cluster is a track, and the track's parameters with uncertainties. False
    hits are dropped, left-over ones attached; clusters that claim the same hits and agree in their parameters become
    one; what a cluster loses may be a track of its own. Each hit goes to the track that claims it most.

    ``membership`` of the tracks is the probability of each hit, ``quality`` that of the track.
    """

    kind = "clusters"
    architectures = ("refiner",)

    class Config(ModelConfig):
        """Settings of refine-clusters."""

        min_membership: float = Field(default=0.5, ge=0, le=1)
        """Smallest probability with which a hit is on a track."""
        min_hits: int = Field(default=4, ge=1)
        """Tracks with fewer hits are dropped."""
        min_quality: float = Field(default=0.0, ge=0, le=1)
        """Tracks of smaller probability are dropped."""
        overlap: float = Field(default=0.5, gt=0, le=1)
        """Clusters become one if both claim this share of the smaller one's hits ..."""
        max_pull: float = Field(default=5.0, gt=0)
        """... and no parameter differs by more standard deviations."""
        rounds: int = Field(default=3, ge=1)
        """Times that the network is asked, at most."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        selected_hits: str = "selected_hits"
        """Event store key of the selection of hits (input)."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (input)."""
        tracks: str = "candidate_tracks"
        """Event store key of the tracks, without perigee parameters (output)."""
        estimates: str = "track_estimates"
        """Event store key of the network's parameters of each track (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._selection = self.read_handle(HitSelection, self.config.selected_hits, optional=True)
        self._candidates = self.read_handle(ProtoTracks, self.config.proto_tracks)
        self._tracks = self.write_handle(Tracks, self.config.tracks)
        self._estimates = self.write_handle(TrackEstimates, self.config.estimates)
        self._settings: RefinerConfig | None = None

    def initialize(self) -> None:
        from mltrack_plugin.models.refiner import RefinerConfig

        super().initialize()
        self._settings = RefinerConfig.model_validate(self.model.card.hyperparameters)

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.refiner.rounds import refine

        hits = self._hits(event_store)
        candidates = self._candidates(event_store)
        seen = self.model.card.inside(hits)
        selection = self._selection.get(event_store)
        if selection is not None:
            chosen = np.zeros(len(hits), dtype=bool)
            chosen[selection.rows] = True
            seen &= chosen
        rows = np.flatnonzero(seen)
        config, settings = self.config, self._settings
        assert settings is not None
        refined = refine(
            self.model.card.hit_features(hits.take(rows)),
            candidates.labels(len(hits))[rows],
            lambda slots: self.model.apply(*slots),
            hypotheses=settings.hypotheses,
            length_scale=settings.length_scale,
            slots=settings.slots,
            min_hits=config.min_hits,
            min_membership=config.min_membership,
            min_probability=config.min_quality,
            overlap=config.overlap,
            max_pull=config.max_pull,
            rounds=config.rounds,
        )
        labels, membership = np.full(len(hits), -1, dtype=np.int64), np.zeros(len(hits), dtype=np.float32)
        labels[rows], membership[rows] = refined.labels, refined.membership
        tracks = ProtoTracks.from_labels(labels, membership)
        # From the numbers of the refinement to the canonical ones.
        order = labels[tracks.hit_indices[tracks.offsets[:-1]]]
        quality = refined.probability[order]
        self._tracks(event_store, Tracks.from_candidates(tracks).with_columns(quality=quality))
        names = np.asarray(self.model.card.outputs[2 : 2 + refined.parameters.shape[1]])
        self._estimates(event_store, TrackEstimates(refined.parameters[order], refined.sigmas[order], names))
        return ProcessCode.SUCCESS
