"""track-quality: membership probability of each hit and quality of each track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.event_data import Tracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.helix.quality import hit_compatibility, track_quality
from mltrack_plugin.settings import Config as BaseConfig


class TrackQuality(Algorithm):
    """Gives each hit a membership probability and each track a quality in [0, 1].

    A hit's membership is that of the clustering times its compatibility with the fit
    (:func:`~mltrack_plugin.helix.quality.hit_compatibility`); a track's quality combines its hits'
    memberships with its chi2 (:func:`~mltrack_plugin.helix.quality.track_quality`). Without a fit
    the clustering alone decides.
    """

    class Config(BaseConfig):
        """Settings of track-quality."""

        hit_chi2_cut: float = Field(default=16.0, gt=0, allow_inf_nan=False)
        """Chi2 (two degrees of freedom) at which a hit is as likely not to belong to its track."""
        chi2_scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
        """Divides the chi2 of tracks; above 1 where that of true tracks has long tails."""
        min_quality: float = Field(default=0.0, ge=0, le=1)
        """Tracks of lower quality are dropped."""
        candidates: str = "fitted_tracks"
        """Input key; "candidate_tracks" where the sequence has no fit."""
        tracks: str = "tracks"
        """Event store key of the tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._candidates = self.read_handle(Tracks, self.config.candidates)
        self._tracks = self.write_handle(Tracks, self.config.tracks)

    def execute(self, event_store: EventStore) -> ProcessCode:
        tracks = self._candidates(event_store)
        n = len(tracks.hit_indices)
        membership = np.ones(n) if tracks.membership is None else tracks.membership.astype(np.float64)
        if tracks.hit_chi2 is not None:
            membership = membership * hit_compatibility(tracks.hit_chi2, self.config.hit_chi2_cut)
        quality = track_quality(
            tracks.offsets,
            membership,
            np.asarray(tracks.chi2),
            np.asarray(tracks.ndf),
            self.config.chi2_scale,
        )
        result = tracks.with_columns(membership=membership, quality=quality)
        if self.config.min_quality > 0:
            result = result.select(quality >= self.config.min_quality)
        self._tracks(event_store, result)
        return ProcessCode.SUCCESS
