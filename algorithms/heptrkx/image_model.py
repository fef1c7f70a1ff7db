"""What the algorithms on detector images share: loading their model, and hits as pixels of the detector's planes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.model_algorithm import ModelAlgorithm, ModelConfig
from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.models.plane_raster import PlaneRaster
from mltrack_plugin.published.heptrkx.images.raster import plane_image, plane_pixels
from mltrack_plugin.settings import Config as BaseConfig

_log = logging.getLogger(__name__)


class ImageModelConfig(ModelConfig):
    """Settings of every algorithm that applies a network to images."""

    hits: str = "hits"
    """Event store key of the hits (input)."""


class ImageAlgorithm(ModelAlgorithm):
    """Base: reads hits and applies a model of the kind "image" and of one of ``architectures``."""

    Config: ClassVar[type[BaseConfig]] = ImageModelConfig
    kind = "image"

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)


class PlanePixels(NamedTuple):
    """The hits of an event that lie on the planes of a model's image.

    Attributes:
        rows: (m,) int64, rows of Hits.
        plane: (m,) int64.
        pixel: (m,) int64.
        image: (P, W) float32.
    """

    rows: Array
    plane: Array
    pixel: Array
    image: Array


class PlaneImageConfig(ImageModelConfig):
    """Settings of every algorithm on images of detector planes."""

    min_valid_fraction: float = Field(default=0.9, ge=0, le=1)
    """Share of an event's hits that must lie on the planes; the others are on no track."""


class PlaneImageAlgorithm(ImageAlgorithm):
    """Base of the algorithms on images of detector planes; which hits are which pixels, the model's card says."""

    Config: ClassVar[type[BaseConfig]] = PlaneImageConfig

    def initialize(self) -> None:
        super().initialize()
        self._outside = 0
        self.raster = PlaneRaster.of(self.sizes)

    @property
    def sizes(self) -> Mapping[str, Any]:
        """The model's hyperparameters: planes, pixels, pitch, spacing, ..."""
        return self.model.card.hyperparameters

    def rasterise(self, hits: Hits) -> PlanePixels:
        """Hits as pixels.

        Raises:
            EventError: if the hits have no ``layer_id``, or too many lie beside the image.
        """
        raster = self.raster
        plane, pixel, inside = plane_pixels(hits, raster)
        n_outside = int(np.count_nonzero(~inside))
        if n_outside > (1.0 - self.config.min_valid_fraction) * len(hits):
            row = int(np.argmin(inside))
            planes = f"layer_id 0 to {raster.planes - 1}"
            if raster.layers:
                planes = "(volume, layer) one of " + ", ".join(map(str, raster.layers))
            width = f", y from 0 to {raster.pixels * raster.pitch:g} mm" if raster.period is None else ""
            volume = "" if hits.volume_id is None else f"volume_id {hits.volume_id[row]}, "
            layers = hits.layer_id if hits.layer_id is not None else plane
            raise EventError(
                f"{n_outside} of {len(hits)} hits lie outside the image of model {self.model.card.name!r}: "
                f"{planes}{width} (first at row {row}: {volume}layer_id {layers[row]}, y = {hits.y[row]:g} mm). "
                "Choose a model for this detector (see: mltrack models)"
            )
        self._outside += n_outside
        rows = np.flatnonzero(inside)
        plane, pixel = plane[rows], pixel[rows]
        return PlanePixels(rows, plane, pixel, plane_image(plane, pixel, raster.planes, raster.pixels))

    def finalize(self) -> None:
        if self._loaded is not None and self._outside:
            _log.warning(
                "%d hits lie outside the image of model %r and are on no track",
                self._outside,
                self.model.card.name,
            )
