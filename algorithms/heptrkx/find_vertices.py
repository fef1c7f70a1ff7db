"""find-vertices: a network finds vertices in the unrolled inner barrel layers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.heptrkx.image_model import ImageAlgorithm, ImageModelConfig
from mltrack_plugin.event_data import Vertices
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.published.heptrkx.graphs.layers import hit_layers
from mltrack_plugin.published.heptrkx.images.peaks import vertices_from_bins
from mltrack_plugin.published.heptrkx.images.raster import unrolled_images
from mltrack_plugin.settings import Config as BaseConfig

_log = logging.getLogger(__name__)


class FindVertices(ImageAlgorithm):
    """Vertices along the beam line, without any track: the primary one first, then the peaks among all bins.

    Only hits on the model's layers are used (three inner barrel layers). An event without a hit on them has no
    vertices; such events are counted.
    """

    architectures = ("vertex-cnn",)

    class Config(ImageModelConfig):
        """Settings of find-vertices."""

        min_probability: float = Field(default=0.5, ge=0, le=1)
        """Smallest probability of a vertex beside the primary one."""
        vertices: str = "vertices"
        """Event store key of the vertices (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._vertices = self.write_handle(Vertices, self.config.vertices)
        self._events = self._without = 0

    def initialize(self) -> None:
        super().initialize()
        from mltrack_plugin.models.vertex_cnn import VertexCNNConfig

        self._sizes = VertexCNNConfig.model_validate(self.model.card.hyperparameters)
        self._events = self._without = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        sizes = self._sizes
        self._events += 1
        channel = hit_layers(hits, sizes.layers).astype(np.int64) if len(hits) else np.zeros(0, np.int64)
        seen = np.flatnonzero(channel >= 0)
        if not len(seen):
            self._without += 1
            none = np.zeros(0, dtype=np.float32)
            self._vertices(event_store, Vertices(none, none, none))
            return ProcessCode.SUCCESS
        images, _ = unrolled_images(
            np.zeros(len(seen), dtype=np.int64),
            channel[seen],
            hits.phi[seen],
            hits.z[seen],
            shape=(1, len(sizes.layers), sizes.n_phi, sizes.columns),
            z_max=sizes.z_max,
        )
        primary, vertex = self.model.apply(images)[0].astype(np.float64)
        self._vertices(
            event_store, vertices_from_bins(primary, vertex, sizes.bin_width, self.config.min_probability)
        )
        return ProcessCode.SUCCESS

    def finalize(self) -> None:
        if self._without:
            layers = ", ".join(f"volume {volume} layer {layer}" for volume, layer in self._sizes.layers)
            _log.warning(
                "%d of %d events have no hit on %s and therefore no vertices",
                self._without,
                self._events,
                layers,
            )
