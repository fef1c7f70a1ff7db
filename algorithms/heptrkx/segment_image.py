"""segment-image: a network marks, for each seed, the pixels of its track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.heptrkx.image_model import PlaneImageAlgorithm, PlaneImageConfig
from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.published.heptrkx.images.paths import best_pixels, claim_pixels
from mltrack_plugin.published.heptrkx.images.seeds import seeded_images, straight_seeds
from mltrack_plugin.settings import Config as BaseConfig


class SegmentImage(PlaneImageAlgorithm):
    """Gives each pixel of a stack of detector planes its track.

    Seeds are straight paths of hits through the first planes. The network sees the event once for each seed, with
    this seed alone in the first planes, and gives a distribution over the pixels of every plane. Each seed takes the
    most probable hit of each plane; where seeds compete for pixels, the one that is surer of its track as a whole
    keeps them, and a seed that loses more than half of its pixels is dropped.
    """

    architectures = ("image-segmentation",)

    class Config(PlaneImageConfig):
        """Settings of segment-image."""

        seed_tolerance: int = Field(default=0, ge=0)
        """Pixels by which the hits of a seed may lie beside a straight line: more than 0 where pixels are finer than
        the resolution or planes are not equidistant.
        """
        min_probability: float = Field(default=0.2, ge=0, le=1)
        """A hit with a smaller probability is not on the seed's track."""
        min_planes: float = Field(default=0.5, ge=0, le=1)
        """Share of the planes in which a track must have a hit."""
        max_seeds: int = Field(default=2000, ge=1)
        """An event with more seeds is an error: it is too dense for this method."""
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._proto_tracks = self.write_handle(ProtoTracks, self.config.proto_tracks)

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        labels = np.full(len(hits), -1, dtype=np.int64)
        membership = np.zeros(len(hits), dtype=np.float32)
        if len(hits):
            found = self.rasterise(hits)
            seeds = straight_seeds(
                found.image,
                int(self.sizes["seed_planes"]),
                tolerance=self.config.seed_tolerance,
                around=self.raster.period is not None,
            )
            if len(seeds) > self.config.max_seeds:
                raise EventError(
                    f"the first planes hold {len(seeds)} seeds, more than max_seeds = {self.config.max_seeds}; the "
                    "event is too dense for image segmentation"
                )
            if len(seeds):
                probability = self.model.apply(seeded_images(found.image, seeds))
                pixel, score = best_pixels(probability, found.image)
                owner = claim_pixels(
                    pixel,
                    score,
                    width=found.image.shape[1],
                    min_score=self.config.min_probability,
                    min_pixels=max(1, round(self.config.min_planes * len(found.image))),
                )
                label = owner[found.plane, found.pixel]
                labels[found.rows] = label
                membership[found.rows] = np.where(label < 0, 0.0, score[label, found.plane])
        self._proto_tracks(event_store, ProtoTracks.from_labels(labels, membership))
        return ProcessCode.SUCCESS
