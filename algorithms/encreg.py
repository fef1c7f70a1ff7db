"""encreg: a network regresses the parameters of each hit's track."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mltrack_plugin.algorithms.hit_model import HitModelAlgorithm, HitModelConfig
from mltrack_plugin.event_data import HitParameters
from mltrack_plugin.framework.algorithm import ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class EncReg(HitModelAlgorithm):
    """Applies a regression model to the hits of an event; see the base class for which hits it sees."""

    class Config(HitModelConfig):
        """Settings of encreg."""

        hit_parameters: str = "hit_parameters"
        """Event store key of the track parameters that each hit got (output)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._parameters = self.write_handle(HitParameters, self.config.hit_parameters)

    def execute(self, event_store: EventStore) -> ProcessCode:
        seen, rows = self.visible(event_store)
        card = self.model.card
        self._parameters(
            event_store,
            HitParameters(
                values=self.model.predict_hits(seen),
                names=np.asarray(card.outputs),
                scales=np.asarray(card.output_scales),
                rows=rows,
            ),
        )
        return ProcessCode.SUCCESS
