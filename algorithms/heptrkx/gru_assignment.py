"""gru-assignment: a recurrent network assigns each hit of an event to a track slot."""

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
from mltrack_plugin.published.heptrkx.sequences.barrel import barrel_layer, cylindrical
from mltrack_plugin.published.heptrkx.sequences.slots import order_by_azimuth
from mltrack_plugin.settings import Config as BaseConfig

_log = logging.getLogger(__name__)


class GruAssignment(ModelAlgorithm):
    """Hits of low-multiplicity events to tracks: each hit goes to its most probable slot, each slot is a candidate.

    The network has a fixed number of slots. In an event with more tracks the first ones in azimuth take the slots and
    the hits of the others stay on no track; how many events filled all their slots is logged at the end. An event with
    more hits than any training event had is an error. Hits outside the barrel are on no track; an event without
    barrel hits has no tracks.
    """

    kind = "sequence"
    architectures = ("gru-assignment",)

    class Config(ModelConfig):
        """Settings of gru-assignment."""

        min_probability: float = Field(default=0.0, ge=0, le=1)
        """Hits whose most probable slot is less probable than this are on no track."""
        min_hits: int = Field(default=3, ge=1)
        """Candidates with fewer hits are dropped."""
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
        self._full = self._without_barrel = 0

    def initialize(self) -> None:
        super().initialize()
        self._full = self._without_barrel = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        seen = barrel_layer(hits) >= 0
        selection = self._selection.get(event_store)
        if selection is not None:
            chosen = np.zeros(len(hits), dtype=bool)
            chosen[selection.rows] = True
            seen &= chosen
        rows = np.flatnonzero(seen)
        labels = np.full(len(hits), -1, dtype=np.int64)
        membership = np.zeros(len(hits), dtype=np.float32)
        if len(rows):
            labels[rows], membership[rows] = self._assign(hits.take(rows))
        else:
            self._without_barrel += 1
        self._proto_tracks(
            event_store, ProtoTracks.from_labels(labels, membership, min_hits=self.config.min_hits)
        )
        return ProcessCode.SUCCESS

    def finalize(self) -> None:
        if self._full:
            _log.warning(
                "%d events filled all %d track slots of model %r: tracks beyond them are missing there",
                self._full,
                len(self.model.card.outputs) - 1,
                self.model.card.name,
            )
        if self._without_barrel:
            _log.warning(
                "%d events have no hits on the barrel layers, where gru-assignment looks for tracks: no tracks",
                self._without_barrel,
            )

    def _assign(self, hits: Hits) -> tuple[Any, Any]:
        """Slot (n,) of each hit from 0, -1 = none, and its probability (n,)."""
        self.model.card.check_hits(hits)
        order, ordered = order_by_azimuth(cylindrical(hits))
        probability = self.model.apply(ordered[None], np.ones((1, len(ordered)), dtype=np.bool_))[0]
        best = probability.argmax(axis=1)
        value = probability[np.arange(len(best)), best]
        filled = np.bincount(best, minlength=probability.shape[1])[1:] >= self.config.min_hits
        self._full += bool(filled.all())
        slot = np.where((best > 0) & (value >= self.config.min_probability), best - 1, -1)
        labels, membership = np.empty(len(order), dtype=np.int64), np.empty(len(order), dtype=np.float32)
        labels[order], membership[order] = slot, value
        return labels, membership
