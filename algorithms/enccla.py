"""enccla: a network classifies each hit; hits of the same class are a track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.hit_model import HitModelAlgorithm, HitModelConfig
from mltrack_plugin.clustering.class_groups import class_groups
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class EncCla(HitModelAlgorithm):
    """Applies a classifier to the hits of an event; the hits of a class are a track candidate.

    Two particles of one class become one candidate; nothing here parts them. A class that fewer than ``min_hits`` hits
    chose is no candidate: with ``vote`` its hits go to their second class where that has a candidate, otherwise they
    are on no track. With ``rounds``, hits at the border of a bin agree on one side before. A hit's membership is the
    probability of the class that it was given. There is no noise class: noise is told by its small probability
    (``min_probability``).
    """

    architectures: ClassVar[tuple[str, ...]] = ("enccla", "enccla-local")

    class Config(HitModelConfig):
        """Settings of a classifier of hits."""

        min_hits: int = Field(default=4, ge=1)
        """Classes with fewer hits are no track candidates."""
        min_probability: float = Field(default=0.0, ge=0, le=1)
        """A hit follows a class only if it is as probable as this."""
        vote: bool = True
        """Hits of classes without a candidate go to their second most probable class."""
        rounds: int = Field(default=0, ge=0)
        """Rounds in which hits agree on the classes that most of their like choose; 0 = each for itself, as
        published.
        """
        proto_tracks: str = "proto_tracks"
        """Event store key of the proto tracks (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._proto_tracks = self.write_handle(ProtoTracks, self.config.proto_tracks)

    def execute(self, event_store: EventStore) -> ProcessCode:
        seen, rows = self.visible(event_store)
        output = self.model.predict_hits(seen)
        config = self.config
        group, value = class_groups(
            output[:, 0::2].astype(np.int64),
            output[:, 1::2],
            config.min_hits,
            config.min_probability,
            config.vote,
            config.rounds,
        )
        n_hits = len(self._hits(event_store))
        labels, membership = np.full(n_hits, -1, dtype=np.int64), np.zeros(n_hits, dtype=np.float32)
        labels[slice(None) if rows is None else rows] = group
        membership[slice(None) if rows is None else rows] = value
        self._proto_tracks(event_store, ProtoTracks.from_labels(labels, membership))
        return ProcessCode.SUCCESS
