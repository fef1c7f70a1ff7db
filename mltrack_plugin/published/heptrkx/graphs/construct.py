"""Graph construction: segments between hits on adjacent layers, within windows.

The windows of Farrell et al. (arXiv:1810.06111) for the barrel are ``|delta phi| < pi / 4`` and
``|delta z| < 300 mm``. Pure functions of arrays: they can be used without event store and algorithms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mltrack_plugin.event_data import Hits
from mltrack_plugin.event_data.graph import HitGraph
from mltrack_plugin.published.heptrkx.graphs.layers import (
    ALL_LAYERS,
    ALL_PAIRS,
    BARREL_LAYERS,
    BARREL_PAIRS,
    BARREL_VOLUMES,
    hit_layers,
)
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]

#: Windows of the publication, radian and mm.
MAX_DPHI, MAX_DZ = float(np.pi / 4), 300.0
# Azimuths of one layer and their periodic copies lie within this distance.
_LAYER_SPAN = 8.0 * np.pi


class GraphSettings(Config):
    """How segments are made; the defaults are the published ones."""

    endcaps: bool = False
    """Connect the discs of the endcaps, too, and barrel layers with discs."""
    max_dphi: float = Field(default=MAX_DPHI, gt=0, le=np.pi)
    """Largest difference in azimuth, radian."""
    max_dz: float = Field(default=MAX_DZ, gt=0)
    """Largest difference in z between barrel layers, mm."""
    max_z0: float = Field(default=300.0, gt=0)
    """Largest z at which the line through two hits crosses the beam axis, mm; where discs are connected."""


def wrapped(angle: Array) -> Array:
    """Angles in [-pi, pi)."""
    return np.asarray((angle + np.pi) % (2.0 * np.pi) - np.pi)


def connect(
    layer: Array,
    r: Array,
    phi: Array,
    z: Array,
    pairs: Sequence[tuple[int, int]],
    *,
    max_dphi: float = MAX_DPHI,
    max_dz: float | Array = MAX_DZ,
    max_z0: float | Array = np.inf,
) -> Array:
    """All segments between hits on the given pairs of layers that lie in the windows.

    Args:
        layer: (n,) number of each hit's layer.
        r: (n,) mm, distance from the beam axis.
        phi: (n,) radian.
        z: (n,) mm.
        pairs: (inner, outer) layer numbers.
        max_dphi: largest absolute difference in azimuth, radian; at most pi.
        max_dz: largest absolute difference in z, mm; one value, or one per pair.
        max_z0: largest absolute z at which the straight line through both hits crosses the beam axis, mm; one value,
            or one per pair. A line that does not lead outwards crosses nowhere.

    Returns:
        (2, m) int64: first the hit on the inner layer, then the one on the outer; sorted by both. Limits are
        exclusive.
    """
    n, table = len(layer), np.asarray(pairs, dtype=np.int64).reshape(-1, 2)
    if not n or not len(table):
        return np.zeros((2, 0), dtype=np.int64)
    layer, phi = np.asarray(layer, dtype=np.int64), np.asarray(phi, dtype=np.float64)
    r, z = np.asarray(r, dtype=np.float64), np.asarray(z, dtype=np.float64)
    # One sorted list of (layer, phi), with copies of each hit a turn earlier and later.
    keys = (layer * _LAYER_SPAN + phi)[None] + 2.0 * np.pi * np.array([[-1.0], [0.0], [1.0]])
    order = np.argsort(keys, axis=None, kind="stable")
    keys = keys.ravel()[order]
    # Every hit on the inner layer of every pair looks for hits on the outer one.
    source, pair = np.nonzero(layer[:, None] == table[:, 0])
    middle = table[pair, 1] * _LAYER_SPAN + phi[source]
    first = np.searchsorted(keys, middle - max_dphi, side="right")
    counts = np.maximum(np.searchsorted(keys, middle + max_dphi, side="left") - first, 0)
    entry = np.repeat(np.arange(len(source)), counts)
    position = np.arange(len(entry)) - np.repeat(np.cumsum(counts) - counts, counts)
    inner, outer = source[entry], order[first[entry] + position] % n
    dz = z[outer] - z[inner]
    keep = np.abs(dz) < np.broadcast_to(max_dz, len(table))[pair[entry]]
    limits = np.broadcast_to(max_z0, len(table))
    if np.isfinite(limits).any():
        dr = r[outer] - r[inner]
        with np.errstate(divide="ignore", invalid="ignore"):
            z0 = np.where(dr > 0.0, z[inner] - r[inner] * dz / dr, np.inf)
        limit = limits[pair[entry]]
        keep &= (np.abs(z0) < limit) | np.isinf(limit)
    # Azimuths exactly at the limit pass or fail the search by rounding.
    keep &= np.abs(wrapped(phi[outer] - phi[inner])) < max_dphi
    inner, outer = inner[keep], outer[keep]
    by_hit = np.lexsort((outer, inner))
    return np.stack([inner[by_hit], outer[by_hit]])


def build_graph(
    hits: Hits,
    rows: Array | None = None,
    *,
    endcaps: bool = False,
    max_dphi: float = MAX_DPHI,
    max_dz: float = MAX_DZ,
    max_z0: float = 300.0,
) -> HitGraph:
    """The graph of an event in the GenericDetector.

    Args:
        hits: of the event; on which layers they lie is read from their volume and layer numbers.
        rows: (k,) ascending rows of ``hits`` that take part; ``None`` = all.
        endcaps: connect the discs of the endcaps, too, and barrel layers with discs.
        max_dphi: radian, between the hits of any segment.
        max_dz: mm, between barrel layers.
        max_z0: mm, where a disc is involved (see :func:`connect`).

    Returns:
        the hits on known layers and their segments; maybe without edges, or without nodes.

    Raises:
        EventError: if the hits carry no volume and layer numbers.
    """
    layers, pairs = (ALL_LAYERS, ALL_PAIRS) if endcaps else (BARREL_LAYERS, BARREL_PAIRS)
    layer = hit_layers(hits, layers)
    used = np.flatnonzero(layer >= 0)
    if rows is not None:
        used = used[np.isin(used, rows)]
    barrel = np.array([volume in BARREL_VOLUMES for volume, _ in layers])[np.array(pairs)].all(axis=1)
    edges = connect(
        layer[used],
        hits.r[used],
        hits.phi[used],
        hits.z[used],
        pairs,
        max_dphi=max_dphi,
        max_dz=np.where(barrel, max_dz, np.inf),
        max_z0=np.where(barrel, np.inf, max_z0),
    )
    return HitGraph(used, layer[used], edges)


def true_segments(edges: Array, particle_id: Array) -> Array:
    """Which segments join two hits of one particle.

    Args:
        edges: (2, m) rows of ``particle_id``.
        particle_id: (n,) unsigned integers; 0 = noise.

    Returns:
        (m,) bool.
    """
    inner, outer = particle_id[edges[0]], particle_id[edges[1]]
    return np.asarray((inner == outer) & (inner != 0))
