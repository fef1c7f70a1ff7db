"""What the algorithms that apply a network to the hits of an event share: loading it, and which hits it sees."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from mltrack_plugin.algorithms.model_algorithm import ModelAlgorithm, ModelConfig
from mltrack_plugin.event_data import Hits, HitSelection
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig

_log = logging.getLogger(__name__)


class HitModelConfig(ModelConfig):
    """Settings of every algorithm that applies a network to the hits of an event."""

    attention: Literal["sdpa", "flash", "math"] = "sdpa"
    """How attention is computed; anything but "sdpa" in float32 needs a .pt archive. "flash": flash-attn, on a GPU
    in half precision; "math": written out, the reference.
    """
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Type of the numbers that the network computes with."""
    min_valid_fraction: float = Field(default=0.9, ge=0, le=1)
    """Share of an event's hits that must lie in the model's ranges; the others are left out."""
    hits: str = "hits"
    """Event store key of the hits (input)."""
    selected_hits: str = "selected_hits"
    """Event store key of the selection of hits (input)."""


class HitModelAlgorithm(ModelAlgorithm):
    """Base: applies a model of the kind "hits" to the hits of an event (one event at a time).

    If ``preprocess-hits`` runs before it, only the selected hits are seen by the network. Hits outside
    the model's ranges in r and z are left out as well as long as they are few; an event that as a
    whole does not fit (another unit of length, another detector, too many hits) is an error.
    """

    Config: ClassVar[type[BaseConfig]] = HitModelConfig
    kind = "hits"

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._selection = self.read_handle(HitSelection, self.config.selected_hits, optional=True)
        self._outside = 0

    def initialize(self) -> None:
        """Load the model.

        Raises:
            ModelError: if it is missing, damaged, of another architecture, or made for another detector.
            ConfigurationError: if this machine or the network does not have the attention asked for.
        """
        super().initialize()
        if (self.config.attention, self.config.precision) != ("sdpa", "float32"):
            from mltrack_plugin.archives.eager import with_backend

            self._loaded = with_backend(self.model, self.config.attention, self.config.precision)
        self._outside = 0

    def visible(self, event_store: EventStore) -> tuple[Hits, Array | None]:
        """The hits that the network sees, and their rows (m,) of all hits; ``None`` if it sees all."""
        hits = self._hits(event_store)
        selection = self._selection.get(event_store)
        rows = None if selection is None or len(selection) == len(hits) else selection.rows
        seen = hits if rows is None else hits.take(rows)
        inside = self.model.card.inside(seen)
        # The share is that of all hits: of the few that another step leaves over, one may be most.
        share = 1.0 if inside.all() else max(np.mean(inside), np.mean(self.model.card.inside(hits)))
        if not inside.all() and share >= self.config.min_valid_fraction:
            self._outside += int(np.count_nonzero(~inside))
            seen = seen.take(inside)
            rows = np.flatnonzero(inside) if rows is None else rows[inside]
        return seen, rows

    def finalize(self) -> None:
        if self._outside:
            _log.warning(
                "%d hits lie outside the ranges of model %r and are on no track",
                self._outside,
                self.model.card.name,
            )

    def describe(self) -> dict[str, str]:
        how = {"model_attention": self.config.attention, "model_precision": self.config.precision}
        return super().describe() | how
