"""What algorithms that follow tracks in a solenoid know of the detector."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.event_data import Hits
from mltrack_plugin.settings import Config


class Resolution(Config):
    """Standard deviations of hit positions, mm."""

    rphi: float = Field(gt=0, allow_inf_nan=False)
    """Along r-phi."""
    r: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Along r; 0 in a barrel, where the module gives r."""
    z: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Along z; 0 in an endcap, where the module gives z."""

    @model_validator(mode="after")
    def _one_is_measured(self) -> Resolution:
        if self.r == 0 and self.z == 0:
            raise ValueError("r or z must be larger than 0")
        return self


class SolenoidConfig(Config):
    """Field and resolutions of a detector in a homogeneous solenoid field along z."""

    field_z: float = Field(default=2.0, allow_inf_nan=False)
    """Solenoid field along z, T."""
    resolution: Resolution = Resolution(rphi=0.05, r=0.05, z=0.05)
    """Resolution of hits, where ``volumes`` does not say otherwise."""
    volumes: dict[int, Resolution] = Field(default_factory=dict)
    """Resolution by volume id. Layers that measure z are barrels, those that measure r are discs."""

    @model_validator(mode="after")
    def _has_a_field(self) -> SolenoidConfig:
        if self.field_z == 0:
            raise ValueError(
                "field_z must not be 0; tracks are followed in a field, leave this algorithm out of the sequence"
            )
        return self

    def sigmas(self, hits: Hits) -> np.ndarray[Any, Any]:
        """(n, 3) standard deviations along r-phi, r and z, mm.

        Raises:
            EventDataError: if ``volumes`` is set and the hits have neither volume_id nor geometry_id.
        """
        from mltrack_plugin.kalman.inputs import volumes_of

        by_number = self._by_number
        if not self.volumes:
            return np.repeat(by_number[-1:], len(hits), axis=0)
        volume = volumes_of(hits)
        if len(volume) and not 0 <= volume.min() <= volume.max() < len(by_number):
            volume = np.where((volume >= 0) & (volume < len(by_number)), volume, len(by_number) - 1)
        return np.asarray(by_number[volume])

    @cached_property
    def _by_number(self) -> np.ndarray[Any, Any]:
        """Standard deviations by volume number, those of other volumes last."""
        table = np.empty((max(256, max(self.volumes, default=0) + 2), 3))
        table[:] = (self.resolution.rphi, self.resolution.r, self.resolution.z)
        for number, resolution in self.volumes.items():
            table[number] = (resolution.rphi, resolution.r, resolution.z)
        return table
