"""Vertices: where along the beam line particles were produced."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, FlatCollection, column


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Vertices(FlatCollection):
    """Vertices of one event on the beam line, the most important first: row 0 is the primary vertex.

    Raises:
        EventDataError: on wrong shapes or types, non-finite positions or negative uncertainties.
    """

    row_names: ClassVar[tuple[str, str]] = ("vertex", "vertices")

    #: (n,) float32, mm.
    z: Array
    #: (n,) float32, mm: one standard deviation, >= 0.
    z_error: Array
    #: (n,) float32, >= 0: how sure the vertex is; networks give a probability. Falls from row to row, but for row 0,
    #: which may be the primary vertex for another reason.
    weight: Array

    def __post_init__(self) -> None:
        self._set("z", column("z", self.z, np.float32, (None,)))
        self._columns(len(self.z), z_error=np.float32, weight=np.float32)
        if not np.isfinite(self.z).all():
            raise EventDataError("positions of vertices must be finite")
        for name in ("z_error", "weight"):
            values = getattr(self, name)
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise EventDataError(f"column {name!r} of vertices must be finite and not negative")
        if (np.diff(self.weight[1:]) > 0).any():
            raise EventDataError("vertices behind the first must be sorted by falling weight")

    def __len__(self) -> int:
        return len(self.z)
