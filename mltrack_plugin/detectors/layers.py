"""The layers of a detector as arrays: boxes in (across, along), found by ids or by position."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.detectors.volumes import Volume
from mltrack_plugin.event_data import Hits

Array = npt.NDArray[Any]

#: Kinds of volumes and the coordinates across and along their layers.
_COORDINATES = {"barrel": ("r", "z"), "disc": ("z", "r"), "plane": ("x", "y")}
#: Ids of layers are below this.
_LAYERS = 1 << 32


@dataclasses.dataclass(frozen=True, eq=False)
class LayerTable:
    """L layers; lengths in mm.

    Attributes:
        ids: (volume, layer) of each.
        kind: (L,) "barrel", "disc" or "plane".
        at: (L,) float64: radius of a barrel layer, z of a disc, x of a plane.
        extent: (L, 2) float64: lowest and highest z (barrel), radius (disc), y (plane).
        depth: (L,) float64: largest distance of hits from ``at``.
        thickness: (L,) float64, radiation lengths.
    """

    ids: tuple[tuple[int, int], ...]
    kind: Array
    at: Array
    extent: Array
    depth: Array
    thickness: Array

    @property
    def radius(self) -> float:
        """Largest distance of a layer from the beam axis (from the y axis for planes)."""
        outer = np.where(self.kind == "disc", self.extent[:, 1], np.abs(self.at) + self.depth)
        return float(outer.max())

    @property
    def half_length(self) -> float:
        """Largest abs(z) of a layer."""
        discs = np.where(self.kind == "disc", np.abs(self.at) + self.depth, 0.0)
        barrels = np.where(self.kind == "barrel", np.abs(self.extent).max(axis=1), 0.0)
        return float(np.maximum(discs, barrels).max())

    def overlaps(self) -> Array:
        """(L, L) bool: whether two layers have room in common."""
        # Boxes in (r, z); a plane's are in (x, y), so planes overlap among themselves only.
        across = np.stack([self.at - self.depth, self.at + self.depth], axis=1)
        barrel = (self.kind == "barrel")[:, None]
        first, second = np.where(barrel, across, self.extent), np.where(barrel, self.extent, across)
        plane = self.kind == "plane"
        common = plane[:, None] == plane
        for low, high in (first.T, second.T):
            common &= (low[:, None] < high) & (low < high[:, None])
        return np.asarray(common)

    def describe(self, layer: int) -> str:
        """Where a layer lies, in words."""
        across, along = _COORDINATES[self.kind[layer]]
        at, depth, (low, high) = self.at[layer], self.depth[layer], self.extent[layer]
        return f"{across} {at - depth:g} to {at + depth:g} mm, {along} {low:g} to {high:g} mm"

    def by_ids(self, volume: Array, layer: Array) -> Array:
        """(n,) int64 row of each (volume, layer); -1 = there is no such layer."""
        codes = np.array([v * _LAYERS + n for v, n in self.ids], dtype=np.int64)
        order = np.argsort(codes)
        wanted = volume.astype(np.int64) * _LAYERS + layer
        row = order[np.minimum(np.searchsorted(codes, wanted, sorter=order), len(codes) - 1)]
        return np.where(codes[row] == wanted, row, -1)

    def distance(self, positions: Array, layer: Array) -> Array:
        """How far points (n, 3) are from their layers, rows (n,): (n,) float64, mm; 0 = on it."""
        x, y, z = np.asarray(positions, dtype=np.float64).T
        r = np.hypot(x, y)
        cases = [(self.kind == "barrel")[layer], (self.kind == "disc")[layer]]
        across, along = np.select(cases, [r, z], x), np.select(cases, [z, r], y)
        off, out = self._outside(layer, across, along)
        return np.asarray(np.hypot(off, out))

    def nearest(self, positions: Array) -> tuple[Array, Array]:
        """The nearest layer of points (n, 3): (n,) int64 row and (n,) float64 distance, mm; 0 = on it."""
        x, y, z = np.asarray(positions, dtype=np.float64).T
        coordinates = {"x": x, "y": y, "z": z, "r": np.hypot(x, y)}
        row, best = np.zeros(len(x), dtype=np.int64), np.full(len(x), np.inf)
        for layer, kind in enumerate(self.kind):
            across, along = _COORDINATES[kind]
            off, out = self._outside(layer, coordinates[across], coordinates[along])
            distance = off * off + out * out
            nearer = distance < best
            row[nearer], best[nearer] = layer, distance[nearer]
        return row, np.sqrt(best)

    def _outside(self, layer: Any, across: Array, along: Array) -> tuple[Array, Array]:
        """How far points are outside their layers in both coordinates."""
        low, high = self.extent[layer].T
        return (
            np.maximum(np.abs(across - self.at[layer]) - self.depth[layer], 0.0),
            np.maximum(np.maximum(low - along, along - high), 0.0),
        )


def layer_table(volumes: Mapping[int, Volume], thickness: float, scale: float) -> LayerTable:
    """The layers of volumes: volumes as given, in each by distance from the origin.

    Args:
        volumes: by id.
        thickness: radiation lengths of a layer, where volume and layer state none.
        scale: mm per unit of length.
    """
    rows = []
    for number, volume in volumes.items():
        for key, layer in sorted(volume.layers.items(), key=lambda item: abs(item[1].at)):
            low, high = layer.extent or volume.extent
            own = next((t for t in (layer.thickness, volume.thickness) if t is not None), thickness)
            rows.append(((number, key), volume.kind, layer.at, (low, high), layer.depth or volume.depth, own))
    ids, kind, at, extent, depth, material = zip(*rows, strict=True)
    return LayerTable(
        ids=ids,
        kind=np.array(kind),
        at=scale * np.array(at, dtype=np.float64),
        extent=scale * np.array(extent, dtype=np.float64),
        depth=scale * np.array(depth, dtype=np.float64),
        thickness=np.array(material, dtype=np.float64),
    )


def identifiers(hits: Hits) -> tuple[Array, Array] | None:
    """(n,) volume and (n,) layer ids of hits, from these columns or ``geometry_id``; ``None`` = they have none."""
    if hits.volume_id is not None and hits.layer_id is not None:
        return hits.volume_id, hits.layer_id
    if hits.geometry_id is not None:
        volume, layer, _ = split_geometry_id(hits.geometry_id)
        return volume, layer
    return None
