"""What algorithms that follow tracks in a solenoid know of the detector: its own facts, or settings in their place."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.detectors import Detector, Resolution, available_detectors, load_detector
from mltrack_plugin.detectors.resolution import ResolutionTable
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.framework.algorithm import Algorithm
from mltrack_plugin.settings import Config


class SolenoidConfig(Config):
    """The detector, and settings that take the place of what is known of it."""

    detector: str | Detector | None = None
    """Name, YAML file or description of the detector; ``None`` = that of the job, or what the input states."""
    field_z: float | None = Field(default=None, allow_inf_nan=False)
    """Solenoid field along z, T; ``None`` = the detector's."""
    resolution: Resolution | None = None
    """Resolution of hits of volumes without one, mm; ``None`` = the detector's."""
    volumes: dict[int, Resolution] = Field(default_factory=dict)
    """Resolution by volume id, mm, instead of the detector's. Layers that measure z are barrels, those that measure r
    are discs.
    """
    thickness: float | None = Field(default=None, ge=0, lt=1)
    """Material of a detector layer at normal incidence, radiation lengths; ``None`` = the detector's."""

    @model_validator(mode="after")
    def _has_a_field(self) -> SolenoidConfig:
        if self.field_z == 0:
            raise ValueError(
                "field_z must not be 0; tracks are followed in a field, leave this algorithm out of the sequence"
            )
        return self


@dataclasses.dataclass(frozen=True)
class Solenoid:
    """What is known of the detector, with the settings that replace it.

    Attributes:
        detector: ``None`` if all that is needed comes from settings.
        field_z: solenoid field along z, T, not 0.
        thickness: material of a layer at normal incidence, radiation lengths.
        resolutions: of hits.
    """

    detector: Detector | None
    field_z: float
    thickness: float
    resolutions: ResolutionTable

    def located(self, hits: Hits) -> Hits:
        """The hits with their layers, if they have ids or the detector finds them by their positions.

        Raises:
            EventDataError: if they have no ids and do not lie on the detector's layers.
        """
        return hits if self.detector is None else self.detector.located(hits)

    def sigmas(self, hits: Hits) -> np.ndarray[Any, Any]:
        """(n, 3) standard deviations along r-phi, r and z, mm, of hits that are located.

        Raises:
            EventDataError: if resolutions are by volume and the hits have neither volume_id nor geometry_id.
        """
        from mltrack_plugin.kalman.inputs import volumes_of

        return self.resolutions.sigmas(volumes_of(hits) if self.resolutions.by_volume else None, hits.r)


class SolenoidAlgorithm(Algorithm):
    """Base: an algorithm in the field of a solenoid, whose config is a :class:`SolenoidConfig`."""

    def initialize(self) -> None:
        """Look up the detector now, so that it is missed before the first event.

        Raises:
            ConfigurationError: if the detector is not known, not given, or has no field.
        """
        _ = self.solenoid

    def describe(self) -> dict[str, str]:
        """Name and checksum of the detector, for the output's metadata and the fingerprint of the job."""
        detector = self.solenoid.detector
        return {} if detector is None else detector.identity

    @cached_property
    def solenoid(self) -> Solenoid:
        """The detector's facts, with the settings that replace them.

        Raises:
            ConfigurationError: saying how to give a detector, if none is given and a setting is missing.
        """
        config: SolenoidConfig = self.config
        if config.detector is None:
            return self._without_detector(config)
        detector = load_detector(config.detector)
        field_z = config.field_z
        if field_z is None:
            field_z = float(detector.field_at(np.zeros((1, 3)))[0, 2])
        if field_z == 0:
            raise ConfigurationError(
                f"{self.name}: the detector {detector.name} has no field along z, and tracks are followed in one; "
                "leave the algorithm out of the sequence, or give field_z"
            )
        return Solenoid(
            detector,
            field_z,
            detector.thickness if config.thickness is None else config.thickness,
            detector.resolutions_with(config.resolution, config.volumes),
        )

    def _without_detector(self, config: SolenoidConfig) -> Solenoid:
        if config.field_z is None or config.resolution is None or config.thickness is None:
            raise ConfigurationError(
                without_detector(self.name, ("field_z", "resolution", "thickness"), config)
            )
        table = ResolutionTable(config.resolution, config.volumes)
        return Solenoid(None, config.field_z, config.thickness, table)


def without_detector(algorithm: str, settings: Sequence[str], config: Config) -> str:
    """How to give an algorithm its detector, in words.

    Args:
        algorithm: its name.
        settings: names of those that could stand for the detector.
        config: what is given.
    """
    missing = [name for name in settings if getattr(config, name) is None]
    return (
        f"{algorithm} does not know the detector. Give one: detector='generic' (there are "
        f"{', '.join(available_detectors())}), or a YAML file that describes yours (docs/detectors.md); in a job file "
        f"as detector: NAME|FILE. Or give {', '.join(missing)}"
    )
