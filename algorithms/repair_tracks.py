"""repair-tracks: groups of hits become better ones by the physics of tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from mltrack_plugin.algorithms.follow_seeds import SeedPassConfig
from mltrack_plugin.algorithms.solenoid import SolenoidAlgorithm, SolenoidConfig
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class RepairTracks(SolenoidAlgorithm):
    """Repairs groups of hits, from whatever clustering, that are nearly tracks.

    A Kalman filter fits the largest part of each group that lies on one helix, with scattering and energy loss; what is
    left of a group may be further tracks. Every track is then followed through the layers of the detector, within its
    hits and beyond both ends, and takes up the hits that lie on it, whoever they belong to. Tracks compete for hits;
    fragments and groups that are no track disappear, and their hits are free again.

    For detectors in a homogeneous solenoid field along z. ``membership`` of the output is the compatibility of a hit
    with its track's other hits. Tracks of ``follow-seeds``, if it runs before, stay as they are and are part of the
    output.
    """

    class Config(SolenoidConfig):
        """Settings of repair-tracks."""

        min_hits: int = Field(default=4, ge=3)
        """Tracks with fewer hits are dropped."""
        attach_chi2: float = Field(default=20.0, gt=0, allow_inf_nan=False)
        """Chi2 (two degrees of freedom) up to which a hit is attached to a track."""
        drop_chi2: float = Field(default=80.0, gt=0, allow_inf_nan=False)
        """Chi2 above which a hit is taken off its track."""
        max_chi2: float = Field(default=5.0, gt=0, allow_inf_nan=False)
        """Chi2 per degree of freedom above which a track is dropped."""
        significance: float | None = Field(default=None, allow_inf_nan=False)
        """-log of the number of tracks that may come from groups by chance in an event, as in follow-seeds;
        ``None`` = no such requirement.
        """
        odds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
        """Odds that a track has a hit on a layer that it crosses; larger = hits are attached more freely."""
        max_holes: int = Field(default=3, ge=0)
        """Layers without a hit after which a track is not followed any further."""
        loyalty: float = Field(default=4.0, ge=0, allow_inf_nan=False)
        """Chi2 by which a hit of the track's own group is preferred."""
        seeds: SeedPassConfig | None = SeedPassConfig()
        """How tracks from the beam axis are built from hits left over; ``None`` = they are not."""
        loose: float = Field(default=3.0, ge=1, le=10)
        """A group that no helix describes stays as it is if it is one track with so many times the scattering;
        1 = it is dropped.
        """
        hits: str = "hits"
        """Event store key of the hits (input)."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (input)."""
        followed_tracks: str = "followed_tracks"
        """Event store key of the followed tracks (input)."""
        repaired_tracks: str = "repaired_tracks"
        """Event store key of the repaired tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._candidates = self.read_handle(ProtoTracks, self.config.proto_tracks)
        self._followed = self.read_handle(ProtoTracks, self.config.followed_tracks, optional=True)
        self._repaired = self.write_handle(ProtoTracks, self.config.repaired_tracks)

    def initialize(self) -> None:
        """Compile the kernels (or load them) now, so that the first event is not slower than the others.

        Raises:
            ConfigurationError: if the detector is not known, not given, or has no field.
        """
        super().initialize()
        from mltrack_plugin.repair.groups import warm_up

        warm_up()

    def execute(self, event_store: EventStore) -> ProcessCode:
        from mltrack_plugin.repair.groups import repair_groups

        hits = self.solenoid.located(self._hits(event_store))
        config = self.config
        repaired = repair_groups(
            hits,
            self._candidates(event_store),
            sigmas=self.solenoid.sigmas(hits),
            field_z=self.solenoid.field_z,
            found=self._followed.get(event_store),
            seeds=None if config.seeds is None else config.seeds.as_pass(),
            thickness=self.solenoid.thickness,
            min_hits=config.min_hits,
            attach_chi2=config.attach_chi2,
            drop_chi2=config.drop_chi2,
            max_chi2=config.max_chi2,
            significance=config.significance,
            odds=config.odds,
            max_holes=config.max_holes,
            loyalty=config.loyalty,
            loose=config.loose,
        )
        self._repaired(event_store, repaired)
        return ProcessCode.SUCCESS
