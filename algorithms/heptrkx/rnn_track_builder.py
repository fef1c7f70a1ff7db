"""rnn-track-builder: seeds grow through the barrel, steered by a recurrent network that predicts the next hit."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.model_algorithm import ModelAlgorithm, ModelConfig
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.helix.quality import hit_compatibility
from mltrack_plugin.published.heptrkx.sequences.ambiguity import overlap_hits, ranking, resolve_shared
from mltrack_plugin.published.heptrkx.sequences.barrel import N_LAYERS, barrel_layer, cylindrical
from mltrack_plugin.published.heptrkx.sequences.builder import (
    HIT_SPREAD,
    BuilderConfig,
    Predictor,
    build_candidates,
    with_spread,
)
from mltrack_plugin.settings import Config as BaseConfig

_log = logging.getLogger(__name__)


class RnnTrackBuilder(ModelAlgorithm):
    """Finds tracks in the barrel with a hit predictor: Gaussian, or without covariances of its own.

    Pairs of hits on the two innermost layers are extended by the hits within the gate of the predicted covariance, with
    branches; of the candidates that share hits the best are kept. A hit's ``membership`` falls with its distance
    from the prediction. Hits outside the barrel are on no track; an event without barrel hits has no tracks.
    """

    kind = "sequence"
    architectures = ("gaussian-hit-predictor", "hit-predictor")

    class Config(ModelConfig, BuilderConfig):
        """Settings of rnn-track-builder."""

        spread: tuple[tuple[float, float], ...] = Field(HIT_SPREAD, min_length=N_LAYERS - 1)
        """For a hit-predictor, which states no covariance: spread of the hits around its predictions in r phi and z on
        the second, third, ... layer, mm; the defaults are the residuals of the shipped one.
        """
        min_hits: int = Field(default=4, ge=3)
        """Tracks with hits on fewer layers are dropped."""
        max_shared: int = Field(default=2, ge=0)
        """Hits that a candidate may lose to better ones before it is dropped."""
        overlaps: bool = True
        """Add a track's further hits where modules overlap."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        selected_hits: str = "selected_hits"
        """Event store key of the selection of hits (input)."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._selection = self.read_handle(HitSelection, self.config.selected_hits, optional=True)
        self._proto_tracks = self.write_handle(ProtoTracks, self.config.proto_tracks)
        self._without_barrel = 0

    def initialize(self) -> None:
        super().initialize()
        self._without_barrel = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        layer = barrel_layer(hits)
        selection = self._selection.get(event_store)
        if selection is not None:
            left_out = np.ones(len(hits), dtype=bool)
            left_out[selection.rows] = False
            layer[left_out] = -1
        barrel = np.flatnonzero(layer >= 0)
        self._without_barrel += not len(barrel)
        self._proto_tracks(event_store, self._find(hits.take(barrel), layer[barrel], barrel, len(hits)))
        return ProcessCode.SUCCESS

    def finalize(self) -> None:
        if self._without_barrel:
            _log.warning(
                "%d events have no hits on the barrel layers, where rnn-track-builder looks for tracks: no tracks",
                self._without_barrel,
            )

    def _find(self, hits: Hits, layer: Any, rows: Any, n_hits: int) -> ProtoTracks:
        """Tracks of barrel hits, as rows of all ``n_hits`` hits of the event."""
        config, card = self.config, self.model.card
        card.check_hits(hits)
        values = cylindrical(hits)
        radii: Any = card.hyperparameters["radii"]
        predict: Predictor = self.model.apply
        if card.architecture == "hit-predictor":
            predict = with_spread(predict, radii, config.spread)
        candidates = build_candidates(values, layer, predict, radii, config)
        chosen, track_rows = resolve_shared(
            candidates.rows, ranking(candidates), max_shared=config.max_shared, min_hits=config.min_hits
        )
        tracks = candidates.take(chosen)
        tracks.rows[:] = track_rows
        labels = np.full(n_hits, -1, dtype=np.int64)
        membership = np.zeros(n_hits, dtype=np.float32)
        track, place = np.nonzero(track_rows >= 0)
        found = track_rows[track, place]
        labels[rows[found]] = track
        membership[rows[found]] = hit_compatibility(tracks.distance[track, place], config.gate)
        if config.overlaps and len(tracks):
            used = np.zeros(len(hits), dtype=bool)
            used[found] = True
            owner, second = overlap_hits(values, layer, hits.module_id, tracks, used)
            labels[rows[second]], membership[rows[second]] = owner, 1.0
        return ProtoTracks.from_labels(labels, membership)
