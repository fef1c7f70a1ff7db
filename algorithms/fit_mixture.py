"""fit-mixture: groups of hits become better ones by fitting the event as a mixture of tracks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.solenoid import without_detector
from mltrack_plugin.detectors import Detector, load_detector
from mltrack_plugin.detectors.surfaces import SurfacesConfig
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.mixture.mixture import fit_mixture
from mltrack_plugin.mixture.planes import Smearing, in_planes
from mltrack_plugin.settings import Config as BaseConfig


class FitMixture(Algorithm):
    """Refits groups of hits, from whatever clustering, as tracks from the origin that compete for hits.

    For detectors like REDVID's: known surfaces, one hit of a track on each that it crosses, known resolution, and
    tracks that are straight or expanding helices which leave the origin at azimuth 0. Each track has at most one hit
    on a surface. Fragments become one track, groups of several tracks are split, hits left over are attached or make
    tracks of their own. Memory and time grow with hits times tracks.

    ``membership`` of the output is the share of the hit that the mixture gives to its track.
    """

    class Config(BaseConfig):
        """Settings of fit-mixture."""

        shape: Literal["straight", "expanding-helix"]
        """Shape of the tracks."""
        detector: str | Detector | None = None
        """Name, YAML file or description of the detector; ``None`` = that of the job, or what the input states."""
        surfaces: SurfacesConfig | None = None
        """Surfaces of the detector; hits on none of them are on no track. ``None`` = the detector's."""
        smearing: Smearing | None = None
        """Resolution of hits; ``None`` = the detector's."""
        pitch: float = Field(default=2.6, gt=0)
        """Expanding helices: the largest distance in z per turning angle that they have, per rad."""
        least_turn: float = Field(default=0.4, ge=0)
        """Expanding helices: hits have turned by at least this angle, rad."""
        min_hits: int = Field(default=4, ge=3)
        """Tracks with fewer hits are dropped."""
        seed_chi2: float = Field(default=12.0, gt=0, allow_inf_nan=False)
        """Chi2 (two degrees of freedom) up to which hits without a track make one together."""
        background: float = Field(default=1e-3, gt=0, allow_inf_nan=False)
        """Likelihood of a hit to be of no track, where that of a hit at a track's centre is 1."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        selected_hits: str = "selected_hits"
        """Event store key of the selection of hits (input)."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (input)."""
        refitted_tracks: str = "refitted_tracks"
        """Event store key of the refitted tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._selection = self.read_handle(HitSelection, self.config.selected_hits, optional=True)
        self._candidates = self.read_handle(ProtoTracks, self.config.proto_tracks)
        self._refitted = self.write_handle(ProtoTracks, self.config.refitted_tracks)

    def initialize(self) -> None:
        """Look up the detector now, so that it is missed before the first event.

        Raises:
            ConfigurationError: if the detector is not known, not given, or does not fit.
        """
        _ = self._known

    @cached_property
    def _known(self) -> tuple[Detector | None, SurfacesConfig, Smearing]:
        """The detector, its surfaces and resolution, with the settings that replace them."""
        config = self.config
        if config.detector is None:
            if config.surfaces is None or config.smearing is None:
                raise ConfigurationError(without_detector(self.name, ("surfaces", "smearing"), config))
            return None, config.surfaces, config.smearing
        detector = load_detector(config.detector)
        surfaces, resolution = (
            config.surfaces or detector.surfaces(),
            detector.resolution.scaled(detector.scale),
        )
        if config.smearing is not None:
            return detector, surfaces, config.smearing
        if not (resolution.r and resolution.phi and resolution.z):
            raise ConfigurationError(
                f"{self.name}: the detector {detector.name} does not smear hits in r, phi and z; give smearing"
            )
        return detector, surfaces, Smearing(r=resolution.r, phi=resolution.phi, z=resolution.z)

    def describe(self) -> dict[str, str]:
        """Name and checksum of the detector, for the output's metadata and the fingerprint of the job."""
        detector = self._known[0]
        return {} if detector is None else detector.identity

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        selection = self._selection.get(event_store)
        rows = np.arange(len(hits)) if selection is None else selection.rows
        config, (_, surfaces, smearing) = self.config, self._known
        found, shares = fit_mixture(
            in_planes(
                hits.positions[rows],
                surfaces,
                smearing,
                config.shape == "expanding-helix",
                config.pitch,
                config.least_turn,
            ),
            self._candidates(event_store).labels(len(hits))[rows],
            min_hits=config.min_hits,
            seed_chi2=config.seed_chi2,
            background=config.background,
        )
        labels, membership = np.full(len(hits), -1, dtype=np.int64), np.zeros(len(hits), dtype=np.float32)
        labels[rows], membership[rows] = found, shares
        self._refitted(event_store, ProtoTracks.from_labels(labels, membership))
        return ProcessCode.SUCCESS
