"""follow-seeds: pairs of hits that point to the beam axis become tracks, clear ones first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mltrack_plugin.algorithms.solenoid import SolenoidAlgorithm, SolenoidConfig
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.following.settings import FollowSettings
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class FollowSeeds(SolenoidAlgorithm):
    """Finds the tracks that need no network: those of particles from near the beam axis with enough hits.

    Each pass goes through the hits near the beam axis, from the inside out. Pairs of hits that point to the axis are
    seeds; a Kalman filter follows each through the layers, takes the best hit of each and completes the track at both
    ends. The most significant track of a hit is accepted if as many hits would not come together by chance in this
    event.
    Hits of accepted tracks are not used again; ``remaining_hits`` are those that are left for other algorithms.

    For detectors in a homogeneous solenoid field along z.
    """

    class Config(FollowSettings, SolenoidConfig):
        """Settings of follow-seeds."""

        hits: str = "hits"
        """Event store key of the hits (input)."""
        selected_hits: str = "selected_hits"
        """Event store key of the selection of hits (input)."""
        followed_tracks: str = "followed_tracks"
        """Event store key of the followed tracks (output)."""
        remaining_hits: str = "remaining_hits"
        """Event store key of the selection of the hits that are left (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._selection = self.read_handle(HitSelection, self.config.selected_hits, optional=True)
        self._tracks = self.write_handle(ProtoTracks, self.config.followed_tracks)
        self._remaining = self.write_handle(HitSelection, self.config.remaining_hits)

    def initialize(self) -> None:
        """Compile the kernels (or load them) now, so that the first event is not slower than the others.

        Raises:
            ConfigurationError: if the detector is not known, not given, or has no field.
        """
        super().initialize()
        from mltrack_plugin.following.passes import warm_up

        warm_up()

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.following.passes import follow_seeds

        hits = self.solenoid.located(self._hits(event_store))
        selection = self._selection.get(event_store)
        tracks = follow_seeds(
            hits,
            self.solenoid.sigmas(hits),
            self.solenoid.field_z,
            self.solenoid.thickness,
            self.config,
            selection=selection,
        )
        self._tracks(event_store, tracks)
        free = np.ones(len(hits), dtype=bool)
        if selection is not None:
            free[:] = False
            free[selection.rows] = True
        free[tracks.hit_indices] = False
        self._remaining(
            event_store,
            HitSelection(np.flatnonzero(free), np.array(["on a track"]), np.array([len(tracks.hit_indices)])),
        )
        return ProcessCode.SUCCESS
