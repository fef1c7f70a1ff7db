"""True particles."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, FlatCollection, column


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Particles(FlatCollection):
    """Particles of one event that may have left hits.

    In REDVID, which knows no momenta, (px, py, pz) is the velocity along the track per unit of its parameter and q the
    direction of turning (0 = straight).
    """

    awkward_name: ClassVar[str | None] = "Momentum3D"
    row_names: ClassVar[tuple[str, str]] = ("particle", "particles")

    #: (n,) uint64, unique, never 0 (0 marks noise).
    particle_id: Array
    #: (n,) float32, mm: production vertex.
    vx: Array
    vy: Array
    vz: Array
    #: (n,) float32, GeV: momentum at production.
    px: Array
    py: Array
    pz: Array
    #: (n,) float32, e.
    q: Array
    #: (n,) int32, hits of the particle in the event as the input states it.
    nhits: Array | None = None
    #: (n,) int32, PDG code.
    pdg_id: Array | None = None

    def __post_init__(self) -> None:
        self._set("particle_id", column("particle_id", self.particle_id, np.uint64, (None,)))
        n = len(self.particle_id)
        f = np.float32
        self._columns(n, vx=f, vy=f, vz=f, px=f, py=f, pz=f, q=f, nhits=np.int32, pdg_id=np.int32)
        for name in ("px", "py", "pz"):
            wrong = np.flatnonzero(~np.isfinite(getattr(self, name)))
            if len(wrong):
                raise EventDataError(
                    f"{name} is NaN or infinite for {len(wrong)} of {n} particles "
                    f"(particle_id {self.particle_id[wrong[0]]})"
                )
        if (self.particle_id == 0).any():
            raise EventDataError("particle_id 0 is reserved for noise")
        ids, counts = np.unique(self.particle_id, return_counts=True)
        if len(ids) != n:
            raise EventDataError(
                f"{n - len(ids)} particle ids are repeated "
                f"(particle_id {ids[np.argmax(counts)]} occurs {counts.max()} times)"
            )

    def __len__(self) -> int:
        return len(self.particle_id)

    def rows(self, particle_id: Array) -> Array:
        """(k,) int64: row of each of (k,) particle ids, -1 where there is none."""
        return rows_of(self.particle_id, particle_id)

    def _shown(self) -> dict[str, Array]:
        return {**self.arrays(), "pt": self.pt, "eta": self.eta}

    @property
    def pt(self) -> Array:
        """(n,) float32, GeV."""
        return np.hypot(self.px, self.py)

    @property
    def eta(self) -> Array:
        """(n,) float32: pseudorapidity of the momentum."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.arcsinh(self.pz / self.pt)

    @property
    def phi(self) -> Array:
        """(n,) float32, radian."""
        return np.arctan2(self.py, self.px)


def rows_of(ids: Array, wanted: Array) -> Array:
    """(k,) int64: where each of (k,) wanted values stands among (n,) unique ids, -1 where it does not.

    >>> rows_of(np.array([7, 3, 5]), np.array([5, 5, 4, 7])).tolist()
    [2, 2, -1, 0]
    """
    if not len(ids):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(ids)
    rows = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    return np.where(ids[rows] == wanted, rows, -1)
