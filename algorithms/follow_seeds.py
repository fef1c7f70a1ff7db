"""follow-seeds: pairs of hits that point to the beam axis become tracks, clear ones first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.solenoid import SolenoidAlgorithm, SolenoidConfig
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig

if TYPE_CHECKING:
    from mltrack_plugin.following.passes import SeedPass


class SeedPassConfig(BaseConfig):
    """One pass over the free hits: how seeds are chosen and which tracks are accepted."""

    significance: float = Field(default=3.0, allow_inf_nan=False)
    """-log of the number of tracks that may come about by chance in an event. Larger = clearer tracks only. The number
    of hits that this takes depends on how dense the event is where the track passes.
    """
    min_hits: int = Field(default=5, ge=3)
    """Tracks with fewer hits are not accepted."""
    max_holes: int = Field(default=3, ge=0)
    """Layers without a hit after which a seed is not followed any further."""
    max_chi2: float = Field(default=3.0, gt=0, allow_inf_nan=False)
    """Largest chi2 per degree of freedom."""
    direction: float = Field(default=0.15, gt=0, le=1)
    """Largest angle between a pair of hits and the direction from the beam axis, radian; 0.15 x field (T) x radius (m)
    of the pair's second hit / smallest transverse momentum (GeV).
    """
    vertex: float = Field(default=225.0, gt=0, allow_inf_nan=False)
    """Largest distance of the vertex from the centre along the beam axis, mm."""
    radius: float = Field(default=200.0, gt=0, allow_inf_nan=False)
    """Distance from the beam axis up to which a seed may begin, mm."""
    max_partners: int = Field(default=1000, ge=1)
    """Hits that have more possible partners start no track: where the event is too dense for such wide windows."""
    enough_partners: int = Field(default=1000, ge=1)
    """A hit that has as many possible partners on the next layer with hits is not paired with hits of the one after
    it.
    """
    thickness: float | None = Field(default=None, ge=0, lt=1)
    """Material of a detector layer, radiation lengths; ``None`` = the algorithm's."""

    def as_pass(self) -> SeedPass:
        """For the kernels."""
        from mltrack_plugin.following.passes import SeedPass

        return SeedPass(**self.model_dump())


class FollowSeeds(SolenoidAlgorithm):
    """Finds the tracks that need no network: those of particles from near the beam axis with enough hits.

    Each pass goes through the hits near the beam axis, from the inside out. Pairs of hits that point to the axis are
    seeds; a Kalman filter follows each through the layers, takes the best hit of each and completes the track at both
    ends. The most significant track of a hit is accepted if as many hits would not come together by chance in this
    event.
    Hits of accepted tracks are not used again; ``remaining_hits`` are those that are left for other algorithms.

    For detectors in a homogeneous solenoid field along z.
    """

    class Config(SolenoidConfig):
        """Settings of follow-seeds."""

        passes: tuple[SeedPassConfig, ...] = Field(
            default=(
                SeedPassConfig(significance=10.0, max_holes=1, direction=0.05),
                SeedPassConfig(significance=0.0, max_holes=1),
            ),
            min_length=1,
        )
        """The passes. By default clear tracks of more than 0.4 GeV (in 2 T) first, then all others."""
        attach_chi2: float = Field(default=20.0, gt=0, allow_inf_nan=False)
        """Chi2 (two degrees of freedom) up to which a hit is attached to a track."""
        drop_chi2: float = Field(default=80.0, gt=0, allow_inf_nan=False)
        """Chi2 above which a hit is taken off its track."""
        odds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
        """Odds that a track has a hit on a layer that it crosses; larger = hits are attached more freely."""
        max_holes: int = Field(default=3, ge=0)
        """Layers without a hit after which an accepted track is not followed any further."""
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
        from mltrack_plugin.repair.groups import warm_up

        warm_up()

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.following.passes import follow_seeds

        hits = self.solenoid.located(self._hits(event_store))
        selection = self._selection.get(event_store)
        config = self.config
        tracks = follow_seeds(
            hits,
            self.solenoid.sigmas(hits),
            self.solenoid.field_z,
            [one.as_pass() for one in config.passes],
            selection=selection,
            thickness=self.solenoid.thickness,
            attach_chi2=config.attach_chi2,
            drop_chi2=config.drop_chi2,
            odds=config.odds,
            max_holes=config.max_holes,
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
