"""require-radial-span: drops tracks whose hits lie in a narrow range of radius."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin import Algorithm, Config, EventStore, Hits, ProcessCode, Tracks


class RequireRadialSpan(Algorithm):
    """Keeps the tracks whose outermost hit lies at least ``min_span`` further out than the innermost one."""

    class Config(Config):
        """Settings of require-radial-span."""

        min_span: float = Field(default=300.0, ge=0)
        """Smallest distance between the radii of the innermost and the outermost hit, mm."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        candidates: str = "candidate_tracks"
        """Event store key of the track candidates (input)."""
        tracks: str = "tracks"
        """Event store key of the tracks (output)."""

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._candidates = self.read_handle(Tracks, self.config.candidates)
        self._tracks = self.write_handle(Tracks, self.config.tracks)

    def execute(self, event_store: EventStore) -> ProcessCode:
        tracks = self._candidates(event_store)
        r = self._hits(event_store).r[tracks.hit_indices]
        starts = tracks.offsets[:-1]
        span = np.maximum.reduceat(r, starts) - np.minimum.reduceat(r, starts) if len(tracks) else np.zeros(0)
        self._tracks(event_store, tracks.select(span >= self.config.min_span))
        return ProcessCode.SUCCESS
