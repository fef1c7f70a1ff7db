"""Parameters of tracks as a network estimates them, with uncertainties."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, Collection, column


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TrackEstimates(Collection):
    """Parameters of each track, row by row beside the tracks of the same algorithm.

    Unlike the perigee parameters of Tracks they are whatever the network regresses: names and units are those of its
    model card.

    Raises:
        EventDataError: on wrong shapes or types, non-finite values, or uncertainties that are not positive.
    """

    row_names: ClassVar[tuple[str, str]] = ("track", "tracks")

    #: (n, k) float32.
    values: Array
    #: (n, k) float32: one standard deviation, > 0.
    sigmas: Array
    #: (k,) names of the columns, e.g. ``("eta", "log_pt")``.
    names: Array

    def __post_init__(self) -> None:
        self._set("values", column("values", self.values, np.float32, (None, None)))
        self._set("sigmas", column("sigmas", self.sigmas, np.float32, self.values.shape))
        self._set("names", np.asarray(self.names, dtype=np.str_))
        if self.names.shape != (self.values.shape[1],):
            raise EventDataError(f"{len(self.names)} names for {self.values.shape[1]} parameter columns")
        if not (np.isfinite(self.values).all() and np.isfinite(self.sigmas).all()):
            raise EventDataError("track estimates must be finite")
        if not (self.sigmas > 0).all():
            raise EventDataError("standard deviations of track estimates must be positive")

    def __len__(self) -> int:
        return len(self.values)
