"""build-tracks: track candidates that pass the requirements become tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.event_data import ProtoTracks, Tracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class BuildTracks(Algorithm):
    """Cleans track candidates: drops doubtful hits, then candidates with too few or too many hits.

    The tracks have canonical ids and no parameters yet (NaN).
    """

    class Config(BaseConfig):
        """Settings of build-tracks."""

        min_membership: float = Field(default=0.0, ge=0, le=1)
        """Hits with a smaller membership are taken off their candidate."""
        min_hits: int = Field(default=3, ge=1)
        """Candidates with fewer hits are dropped."""
        max_hits: int | None = Field(default=None, ge=1)
        """Candidates with more hits are dropped; ``None`` = no limit."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (input)."""
        tracks: str = "candidate_tracks"
        """Event store key of the tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._proto_tracks = self.read_handle(ProtoTracks, self.config.proto_tracks)
        self._tracks = self.write_handle(Tracks, self.config.tracks)

    def execute(self, event_store: EventStore) -> ProcessCode:
        candidates = self._cleaned(self._proto_tracks(event_store))
        self._tracks(event_store, Tracks.from_candidates(candidates))
        return ProcessCode.SUCCESS

    def _cleaned(self, candidates: ProtoTracks) -> ProtoTracks:
        config = self.config
        membership = candidates.membership
        n_hits = candidates.n_hits
        highest = len(candidates.hit_indices) if config.max_hits is None else config.max_hits
        # Most events are clean: their candidates go on as they are.
        if (
            (membership is None or membership.min(initial=1.0) >= config.min_membership)
            and n_hits.min(initial=config.min_hits) >= config.min_hits
            and n_hits.max(initial=0) <= highest
        ):
            return candidates
        if membership is None:
            membership = np.ones(len(candidates.hit_indices), dtype=np.float32)
        track = candidates.track_of_entry()
        keep = membership >= config.min_membership
        counts = np.bincount(track[keep], minlength=len(candidates))
        keep &= ((counts >= config.min_hits) & (counts <= highest))[track]
        # A candidate that loses its first hit may have to move to keep the canonical order.
        n_rows = int(candidates.hit_indices.max(initial=-1)) + 1
        labels = np.full(n_rows, -1, dtype=np.int64)
        labels[candidates.hit_indices[keep]] = track[keep]
        by_row = np.zeros(n_rows, dtype=np.float32)
        by_row[candidates.hit_indices] = membership
        return ProtoTracks.from_labels(labels, by_row)
