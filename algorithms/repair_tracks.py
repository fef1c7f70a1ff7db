"""repair-tracks: groups of hits become better ones by the physics of tracks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mltrack_plugin.algorithms.solenoid import SolenoidAlgorithm, SolenoidConfig
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.repair.settings import RepairSettings
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

    class Config(RepairSettings, SolenoidConfig):
        """Settings of repair-tracks."""

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
        repaired = repair_groups(
            hits,
            self._candidates(event_store),
            self.solenoid.sigmas(hits),
            self.solenoid.field_z,
            self.solenoid.thickness,
            self.config,
            found=self._followed.get(event_store),
        )
        self._repaired(event_store, repaired)
        return ProcessCode.SUCCESS
