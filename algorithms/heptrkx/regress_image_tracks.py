"""regress-image-tracks: a network reads the parameters of straight tracks off a detector image."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.heptrkx.image_model import PlaneImageAlgorithm, PlaneImageConfig
from mltrack_plugin.event_data import ProtoTracks, Tracks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.published.heptrkx.images.lines import (
    azimuth_at_origin,
    azimuth_covariances,
    perigee_covariances,
    perigee_of_lines,
)
from mltrack_plugin.published.heptrkx.images.paths import line_owners
from mltrack_plugin.settings import Config as BaseConfig

_log = logging.getLogger(__name__)


class RegressImageTracks(PlaneImageAlgorithm):
    """Straight tracks with parameters and covariances from an image of detector planes.

    The model gives one line, or a sequence of lines that ends where the model says that there is no further one. A
    line's hits are those nearest to it in each plane, within a window; a line without enough hits is dropped. An
    event that fills all places of the sequence may hold more tracks than the model can give; such events are counted.
    """

    architectures = ("track-regression-cnn", "track-sequence-cnn")

    class Config(PlaneImageConfig):
        """Settings of regress-image-tracks."""

        window: float = Field(default=2.0, gt=0, allow_inf_nan=False)
        """Largest distance of a hit from its line, in pixels."""
        min_hits: int = Field(default=3, ge=1)
        """Lines with fewer hits are dropped."""
        min_probability: float = Field(default=0.5, ge=0, le=1)
        """The sequence ends before the first line that exists with a smaller probability."""
        tracks: str = "candidate_tracks"
        """Event store key of the tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._tracks = self.write_handle(Tracks, self.config.tracks)
        self._full = 0

    def initialize(self) -> None:
        super().initialize()
        self._full = 0

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        if not len(hits):
            self._tracks(event_store, Tracks.from_candidates(ProtoTracks.from_labels(np.zeros(0, np.int64))))
            return ProcessCode.SUCCESS
        found = self.rasterise(hits)
        lines = self.model.apply(found.image[None])[0].astype(np.float64)
        if "exists" in self.model.card.outputs:
            exists = lines[:, self.model.card.outputs.index("exists")] >= self.config.min_probability
            n = int(np.argmin(np.append(exists, False)))
            self._full += n == len(lines)
            lines = lines[:n]
        raster = self.raster
        x, y = found.plane * raster.spacing, raster.place(hits)[found.rows]
        window = self.config.window * raster.pitch
        owner, _ = line_owners(
            lines[:, 0], lines[:, 1], x, y, found.plane, window=window, period=raster.period
        )
        labels = np.full(len(hits), -1, dtype=np.int64)
        labels[found.rows] = owner
        candidates = ProtoTracks.from_labels(labels, min_hits=self.config.min_hits)
        # The canonical order of tracks is not that of the lines.
        chosen = lines[labels[candidates.hit_indices[candidates.offsets[:-1]]]]
        columns: dict[str, Array]
        if raster.coordinate == "phi":
            azimuth, sigma = azimuth_at_origin(chosen, raster.start)
            columns = {"phi": azimuth}
            if sigma is not None:
                columns["covariance"] = azimuth_covariances(sigma)
        else:
            columns = dict(zip(("d0", "z0", "phi", "theta", "qop"), perigee_of_lines(chosen).T, strict=True))
            if chosen.shape[1] >= 5:
                columns["covariance"] = perigee_covariances(chosen)
        self._tracks(event_store, Tracks.from_candidates(candidates).with_columns(**columns))
        return ProcessCode.SUCCESS

    def finalize(self) -> None:
        super().finalize()
        if self._full:
            _log.warning(
                "%d events fill all %d places of model %r: they may hold more tracks than it can give",
                self._full,
                int(self.sizes["slots"]),
                self.model.card.name,
            )
