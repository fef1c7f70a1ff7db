"""The pixels of a stack of detector planes, as networks on images of planes know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
from pydantic import Field

from mltrack_plugin.event_data import Hits
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.settings import Config


class PlaneRaster(Config):
    """How hits become the pixels of a stack of detector planes: planes are rows, places along a plane columns."""

    planes: int = Field(50, ge=3)
    """Detector planes: rows of the image."""
    pixels: int = Field(50, ge=3)
    """Pixels of a plane: columns of the image."""
    pitch: float = Field(1.0, gt=0)
    """Width of a pixel: mm, or radian if pixels count azimuths."""
    spacing: float = Field(1.0, gt=0)
    """Distance of neighbouring planes, mm; planes that are not equidistant have no straight lines."""
    coordinate: Literal["y", "phi"] = "y"
    """What a pixel covers: y from 0, or the azimuth from -pi."""
    layers: tuple[tuple[int, int], ...] = ()
    """(volume, layer) of each plane, in the order that tracks cross them; none: ``layer_id`` is the plane."""
    start: float = 0.0
    """Distance of the first plane from the origin, mm."""

    @classmethod
    def of(cls, sizes: Mapping[str, Any]) -> Self:
        """The raster among the hyperparameters of a model."""
        return cls.model_validate({name: sizes[name] for name in cls.model_fields if name in sizes})

    @property
    def period(self) -> float | None:
        """Width after which places repeat; ``None`` if they do not."""
        return 2.0 * np.pi if self.coordinate == "phi" else None

    def place(self, hits: Hits) -> Array:
        """(n,) float64: place of each hit along its plane, mm or radian, from the lower edge of pixel 0."""
        if self.coordinate == "y":
            return hits.y.astype(np.float64)
        return np.mod(hits.phi.astype(np.float64) + np.pi, 2.0 * np.pi)
