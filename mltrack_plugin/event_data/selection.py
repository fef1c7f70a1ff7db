"""Which hits of an event take part in the reconstruction."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Self

import numpy as np

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, Collection, column

_NO_REASONS, _NOTHING_LEFT_OUT = np.array([], dtype=np.str_), np.array([], dtype=np.int64)
_NO_REASONS.flags.writeable = _NOTHING_LEFT_OUT.flags.writeable = False


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class HitSelection(Collection):
    """Rows of Hits that were kept, and why the others were not.

    Hits themselves are never removed: hit indices of tracks always are rows of the input's Hits.
    """

    row_names: ClassVar[tuple[str, str]] = ("hit kept", "hits kept")

    #: (m,) int64, ascending rows of Hits.
    rows: Array
    #: (k,) names of the requirements that were applied.
    reasons: Array
    #: (k,) int64: hits that each requirement left out (of those that the earlier ones had kept).
    left_out: Array

    def __post_init__(self) -> None:
        self._set("rows", column("rows", self.rows, np.int64, (None,)))
        check_rows(self.rows)
        self._set("reasons", np.asarray(self.reasons, dtype=np.str_))
        self._set("left_out", column("left_out", self.left_out, np.int64, (len(self.reasons),)))

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def all_of(cls, n_hits: int) -> Self:
        """Every hit, without any requirement."""
        rows = np.arange(n_hits)
        rows.flags.writeable = False
        return cls.trusted({"rows": rows, "reasons": _NO_REASONS, "left_out": _NOTHING_LEFT_OUT})


def check_rows(rows: Array) -> None:
    """Raise ``EventDataError`` unless ``rows`` are distinct, ascending and not negative."""
    if len(rows) and (rows[0] < 0 or (np.diff(rows) <= 0).any()):
        raise EventDataError("rows of hits must be distinct, ascending and not negative")
