"""Hits and their links to the truth."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Self

import numpy as np

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array, FlatCollection, column
from mltrack_plugin.reprs import counted


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Hits(FlatCollection):
    """Space points of one event, in input order.

    Raises:
        EventDataError: on wrong shapes or types, non-finite coordinates, or repeated hit ids.
    """

    awkward_name: ClassVar[str | None] = "Vector3D"
    row_names: ClassVar[tuple[str, str]] = ("hit", "hits")

    #: (n,) uint64, unique in the event; as in the input file.
    hit_id: Array
    #: (n,) float32, mm, global Cartesian coordinates; z along the beam.
    x: Array
    y: Array
    z: Array
    #: (n,) float32, mm (c = 1).
    time: Array | None = None
    #: (n,) int32.
    volume_id: Array | None = None
    #: (n,) int32.
    layer_id: Array | None = None
    #: (n,) int32.
    module_id: Array | None = None
    #: (n,) uint64, ACTS geometry identifier.
    geometry_id: Array | None = None

    def __post_init__(self) -> None:
        self._set("x", column("x", self.x, np.float32, (None,)))
        n = len(self.x)
        self._columns(n, hit_id=np.uint64, y=np.float32, z=np.float32, time=np.float32)
        self._columns(n, volume_id=np.int32, layer_id=np.int32, module_id=np.int32, geometry_id=np.uint64)
        for name in ("x", "y", "z"):
            values = getattr(self, name)
            bad = ~np.isfinite(values)
            if bad.any():
                raise EventDataError(
                    f"{int(bad.sum())} of {n} hits have a non-finite {name} "
                    f"(first at row {int(np.argmax(bad))}: {values[np.argmax(bad)]})"
                )
        ids, counts = np.unique(self.hit_id, return_counts=True)
        if len(ids) != n:
            raise EventDataError(
                f"{n - len(ids)} hit ids are repeated "
                f"(hit_id {ids[np.argmax(counts)]} occurs {counts.max()} times)"
            )

    def __len__(self) -> int:
        return len(self.x)

    @property
    def positions(self) -> Array:
        """(n, 3) float32, mm."""
        return np.stack([self.x, self.y, self.z], axis=1)

    @property
    def r(self) -> Array:
        """(n,) float32, mm: distance from the beam axis."""
        return np.hypot(self.x, self.y)

    @property
    def phi(self) -> Array:
        """(n,) float32, radian."""
        return np.arctan2(self.y, self.x)

    def take(self, rows: Array) -> Self:
        """The given rows as hits of their own."""
        return type(self)(**{name: values[rows] for name, values in self.arrays().items()})


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class TruthLinks(FlatCollection):
    """Which particle made each hit, row by row beside :class:`Hits`."""

    row_names: ClassVar[tuple[str, str]] = ("hit", "hits")

    #: (n,) uint64; 0 = noise.
    particle_id: Array
    #: (n,) float32, TrackML weight; absent where the input has none.
    weight: Array | None = None

    def __post_init__(self) -> None:
        self._set("particle_id", column("particle_id", self.particle_id, np.uint64, (None,)))
        self._columns(len(self.particle_id), weight=np.float32)
        if self.weight is not None and not (np.isfinite(self.weight).all() and (self.weight >= 0).all()):
            raise EventDataError("hit weights must be finite and not negative")

    def __len__(self) -> int:
        return len(self.particle_id)

    def _headline(self) -> str:
        particles = np.unique(self.particle_id[self.particle_id != 0])
        noise = int(np.count_nonzero(self.particle_id == 0))
        return f"{super()._headline()} of {counted(len(particles), 'particle')}, {noise} of them noise"

    def check_against(self, hits: Hits) -> None:
        """Raise ``EventDataError`` unless there is one link per hit."""
        if len(self) != len(hits):
            raise EventDataError(f"{len(self)} truth links for {len(hits)} hits; one per hit is needed")
