"""Per-hit outputs of a network."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, Collection, column
from mltrack_plugin.event_data.selection import check_rows


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class HitParameters(Collection):
    """Track parameters (or an embedding) that a network gives to each hit, row by row beside Hits
    (or beside the ``rows`` of Hits that the network saw).

    ``values`` are in physical units; ``scales`` divides them for clustering, so that a distance of 1
    means the same along every column.
    """

    row_names: ClassVar[tuple[str, str]] = ("hit", "hits")

    #: (n, k) float32.
    values: Array
    #: (k,) names of the columns, e.g. ``("sin_phi", "cos_phi", "theta")``.
    names: Array
    #: (k,) float32, > 0.
    scales: Array
    #: (n,) int64, ascending: the rows of Hits that the values belong to; absent if they are all hits.
    rows: Array | None = None

    def __post_init__(self) -> None:
        self._set("values", column("values", self.values, np.float32, (None, None)))
        k = self.values.shape[1]
        self._set("names", np.asarray(self.names, dtype=np.str_))
        self._set("scales", column("scales", self.scales, np.float32, (k,)))
        if self.names.shape != (k,):
            raise EventDataError(f"{len(self.names)} names for {k} parameter columns")
        if not np.isfinite(self.values).all():
            raise EventDataError(
                "the network gave non-finite parameters; the hits may be outside its validity range"
            )
        if not (self.scales > 0).all():
            raise EventDataError("parameter scales must be positive")
        self._columns(len(self.values), rows=np.int64)
        if self.rows is not None:
            check_rows(self.rows)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def scaled(self) -> Array:
        """(n, k) float32: values divided by scales, the space in which hits are clustered."""
        return np.asarray(self.values / self.scales)

    @property
    def hit_rows(self) -> Array:
        """(n,) int64: the row of Hits that each row of values belongs to."""
        return np.arange(len(self), dtype=np.int64) if self.rows is None else self.rows
