"""encdec: a network rebuilds tracks from their seeds, hit by hit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.model_algorithm import ModelAlgorithm, ModelConfig
from mltrack_plugin.clustering.pointers import distinct_tracks, hits_of_tracks, resolve_claims
from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class EncDec(ModelAlgorithm):
    """Grows a track from each seed; hits that several tracks claim go to the one that claims them most.

    An algorithm that writes ``seeds`` may run before it (``truth-seeds``, or one of yours). Without one, the network
    starts from the hits that it takes for the first hits of tracks, and a track that starts in the middle of a more
    probable one is left out. A hit's ``membership`` is the probability that
    the seed is one and all steps up to this hit are right. Events without seeds have no tracks.
    """

    kind = "sequence"
    architectures = ("encdec",)

    class Config(ModelConfig):
        """Settings of encdec."""

        min_first: float = Field(default=0.2, gt=0, le=1)
        """Without given seeds: smallest probability of being the first hit of a track that makes a hit a seed."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        selected_hits: str = "selected_hits"
        """Event store key of the selection of hits (input)."""
        seeds: str = "seeds"
        """Event store key of the seeds (input)."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._selection = self.read_handle(HitSelection, self.config.selected_hits, optional=True)
        self._seeds = self.read_handle(ProtoTracks, self.config.seeds, optional=True)
        self._proto_tracks = self.write_handle(ProtoTracks, self.config.proto_tracks)

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        selection = self._selection.get(event_store)
        rows = np.arange(len(hits)) if selection is None else selection.rows
        seeds = self._seeds.get(event_store)
        labels = np.full(len(hits), -1, dtype=np.int64)
        membership = np.zeros(len(hits), dtype=np.float32)
        if len(rows):
            given = None if seeds is None else _seed_table(seeds, rows, len(hits))
            labels[rows], membership[rows] = self._find(hits.take(rows), given)
        self._proto_tracks(event_store, ProtoTracks.from_labels(labels, membership))
        return ProcessCode.SUCCESS

    def _find(self, hits: Hits, seeds: Array | None) -> tuple[Array, Array]:
        """Track of each hit (n,), -1 = none, and its membership (n,); seeds (S, k) rows, -1 = none, or own ones."""
        card = self.model.card
        card.check_hits(hits)
        if seeds is not None and not len(seeds):
            return np.full(len(hits), -1, dtype=np.int64), np.zeros(len(hits), dtype=np.float32)
        given = np.zeros((0, 0), dtype=np.int64) if seeds is None else seeds
        tracks = self.model.apply(
            card.hit_features(hits)[None],
            np.ones((1, len(hits)), dtype=np.bool_),
            given[None],
            np.array(self.config.min_first, dtype=np.float32),
        )[0]
        if seeds is None:
            tracks = tracks[distinct_tracks(tracks)]
        return resolve_claims(*hits_of_tracks(tracks), len(hits))


def _seed_table(seeds: ProtoTracks, rows: Array, n_hits: int) -> Array:
    """(S, k) int64: hits of each seed as positions in ``rows``, -1 = none; seeds without selected hits drop out."""
    if seeds.hit_indices.max(initial=-1) >= n_hits:
        raise EventError(f"a seed holds hit {seeds.hit_indices.max()}, but the event has {n_hits} hits")
    position = np.full(n_hits, -1, dtype=np.int64)
    position[rows] = np.arange(len(rows))
    table = np.full((len(seeds), int(seeds.n_hits.max(initial=0))), -1, dtype=np.int64)
    entry = np.arange(len(seeds.hit_indices)) - np.repeat(seeds.offsets[:-1], seeds.n_hits)
    table[seeds.track_of_entry(), entry] = position[seeds.hit_indices]
    return table[(table >= 0).any(axis=1)]
