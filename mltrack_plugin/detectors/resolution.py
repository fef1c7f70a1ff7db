"""Resolution of hits along r-phi, r and z."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]


class Resolution(Config):
    """Standard deviations of hit positions, in the unit of length of the detector."""

    rphi: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Along r-phi, in the unit of length."""
    phi: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """In azimuth instead, radian, where the resolution is the same angle at any radius."""
    r: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Along r, in the unit of length; 0 in a barrel, where the module gives r."""
    z: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Along z, in the unit of length; 0 in an endcap, where the module gives z."""

    def scaled(self, factor: float) -> Resolution:
        """The same in another unit of length."""
        return Resolution(rphi=factor * self.rphi, phi=self.phi, r=factor * self.r, z=factor * self.z)

    @model_validator(mode="after")
    def _measures(self) -> Self:
        if (self.rphi > 0) == (self.phi > 0):
            raise ValueError("rphi (or phi, not both) must be larger than 0")
        if self.r == 0 and self.z == 0:
            raise ValueError("r or z must be larger than 0")
        return self


class ResolutionTable:
    """Resolutions by volume number.

    Args:
        default: of hits of other volumes, mm.
        volumes: by volume number, mm.
    """

    def __init__(self, default: Resolution, volumes: Mapping[int, Resolution]) -> None:
        #: (n, 4): r-phi, r and z, mm, and azimuth, radian, by volume number; the default is last.
        self._rows = np.empty((max(256, max(volumes, default=0) + 2), 4))
        self._rows[:] = _row(default)
        for number, resolution in volumes.items():
            self._rows[number] = _row(resolution)
        self._angular = bool(self._rows[:, 3].any())
        #: Whether volumes differ at all.
        self.by_volume = bool(volumes)

    def sigmas(self, volume: Array | None, r: Array) -> Array:
        """Standard deviations of hits.

        Args:
            volume: (n,) volume numbers; ``None`` = not known, all hits get the default.
            r: (n,) distance from the beam axis, mm.

        Returns:
            (n, 3) float64 along r-phi, r and z, mm.
        """
        last = len(self._rows) - 1
        if volume is None:
            rows = np.repeat(self._rows[-1:], len(r), axis=0)
        else:
            if len(volume) and not 0 <= volume.min() <= volume.max() <= last:
                volume = np.where((volume >= 0) & (volume <= last), volume, last)
            rows = self._rows[volume]
        sigmas = np.ascontiguousarray(rows[:, :3])
        if self._angular:
            angular = rows[:, 3] > 0
            sigmas[angular, 0] = rows[angular, 3] * r[angular]
        return sigmas


def _row(resolution: Resolution) -> tuple[float, float, float, float]:
    return (resolution.rphi, resolution.r, resolution.z, resolution.phi)
