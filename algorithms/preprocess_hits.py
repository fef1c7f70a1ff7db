"""preprocess-hits: choose the hits that take part in the reconstruction."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits, HitSelection
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig

_log = logging.getLogger(__name__)

#: Lowest and highest value that is kept, mm.
Window = tuple[Annotated[float, Field(allow_inf_nan=False)], Annotated[float, Field(allow_inf_nan=False)]]


class PreprocessHits(Algorithm):
    """Selects hits by volume and position; by default it keeps all of them.

    The hits themselves stay as they are: the output lists the rows that are kept, so hit indices of
    tracks always are rows of the input. Hits that are left out get no track; how many each
    requirement left out is stored with the selection and logged.
    """

    class Config(BaseConfig):
        """Settings of preprocess-hits."""

        hits: str = "hits"
        """Event store key of the hits (input)."""
        selected_hits: str = "selected_hits"
        """Event store key of the selection of hits (output)."""
        volumes: tuple[int, ...] | None = None
        """Volumes to keep; ``None`` = all. Needs hits with volume ids."""
        r: Window | None = None
        """Window in the distance from the beam axis, mm."""
        z: Window | None = None
        """Window in z, mm."""
        drop_repeated_positions: bool = False
        """Of hits at exactly the same position keep the first."""

        @model_validator(mode="after")
        def _windows_are_ordered(self) -> PreprocessHits.Config:
            for name in ("r", "z"):
                window = getattr(self, name)
                if window is not None and not window[0] < window[1]:
                    raise ValueError(f"{name} must be [low, high] with low < high, got {list(window)}")
            return self

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._selected = self.write_handle(HitSelection, self.config.selected_hits)
        self._left_out: dict[str, int] = {}

    def initialize(self) -> None:
        self._left_out = {}

    def execute(self, event_store: EventStore) -> ProcessCode:
        hits = self._hits(event_store)
        requirements = self._requirements(hits)
        if not requirements:
            self._selected(event_store, HitSelection.all_of(len(hits)))
            return ProcessCode.SUCCESS
        keep = np.ones(len(hits), dtype=bool)
        left_out: dict[str, int] = {}
        for reason, passes in requirements:
            left_out[reason] = int(np.count_nonzero(keep & ~passes))
            keep &= passes
        for reason, count in left_out.items():
            self._left_out[reason] = self._left_out.get(reason, 0) + count
        self._selected(
            event_store,
            HitSelection(
                np.flatnonzero(keep),
                np.array(list(left_out), dtype=np.str_),
                np.array(list(left_out.values()), dtype=np.int64),
            ),
        )
        return ProcessCode.SUCCESS

    def finalize(self) -> None:
        for reason, count in self._left_out.items():
            _log.info("%d hits left out by the requirement on %s", count, reason)

    def _requirements(self, hits: Hits) -> list[tuple[str, Array]]:
        """Name and mask of each requirement that is configured."""
        config = self.config
        found: list[tuple[str, Array]] = []
        if config.volumes is not None:
            if hits.volume_id is None:
                raise EventError(
                    "preprocess-hits: 'volumes' is set, but the hits have no volume_id; "
                    "remove the setting or map the branch in the reader's settings"
                )
            found.append(("volumes", np.isin(hits.volume_id, config.volumes)))
        if config.r is not None:
            found.append(("r", (hits.r >= config.r[0]) & (hits.r <= config.r[1])))
        if config.z is not None:
            found.append(("z", (hits.z >= config.z[0]) & (hits.z <= config.z[1])))
        if config.drop_repeated_positions:
            first = np.zeros(len(hits), dtype=bool)
            first[np.unique(hits.positions, axis=0, return_index=True)[1]] = True
            found.append(("repeated positions", first))
        return found
