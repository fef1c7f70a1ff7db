"""Layers of the detector as an event shows them, and the hits of each in the order of a grid."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import inlined, kernel
from mltrack_plugin.kalman.state import MEASUREMENT, Record, record_type

Array = npt.NDArray[Any]

#: Columns of positions and of standard deviations.
X, Y, Z = range(3)
ALONG_RPHI, ALONG_R, ALONG_Z = range(3)
#: Where a hit is on its layer, and what is known of it beside its position.
TAG = np.dtype(
    [
        # Azimuth, radian; running coordinate of the layer: z on a barrel, r on a disc, mm.
        ("phi", np.float64),
        ("running", np.float64),
        # Dense from 0, barrels from the inside out, then discs in the order of z.
        ("layer", np.int64),
        # Two hits of one module are not of one track; -1 = unknown.
        ("module", np.int64),
        # -1 = none.
        ("group", np.int64),
        # More than 0 where a track has the hit or it takes no part.
        ("used", np.int64),
    ],
    align=True,
)
#: A layer. `position` and `half_width` are those of the range of r (z of a disc) of its hits, `low` and `high` are the
#: range of the running coordinate, mm.
LAYER = np.dtype(
    [
        ("disc", np.bool_),
        ("position", np.float64),
        ("half_width", np.float64),
        ("low", np.float64),
        ("high", np.float64),
        # Largest standard deviations of its hits along r-phi and along the running coordinate, mm.
        ("sigma_across", np.float64),
        ("sigma_along", np.float64),
        # Hits per mm^2 (on a disc times r^2).
        ("density", np.float64),
        # Cells in phi and along the running coordinate, and the first of them.
        ("n_phi", np.int64),
        ("n_along", np.int64),
        ("first_cell", np.int64),
        # Number of barrels among all layers, which are the first ones.
        ("n_barrels", np.int64),
    ],
    align=True,
)
#: Number, ranges and largest standard deviations of a layer's hits, mm.
EXTENT = record_type(
    "count", "r_low", "r_high", "z_low", "z_high", "sigma_rphi", "sigma_r", "sigma_z"
)  # fmt: skip


class Event(NamedTuple):
    """Hits and layers of an event as kernels take them, n > 0 hits and m layers.

    Hits are in the order of the cells of a grid on each layer, so that neighbours are near each other in memory.
    """

    #: (n,) MEASUREMENT.
    hits: Array
    #: (n,) TAG.
    tags: Array
    #: (m,) LAYER.
    layers: Array
    #: (n_cells + 1,) int64: first hit of each cell.
    start: Array


class SortedHits(NamedTuple):
    """An event, and the order of its hits."""

    event: Event
    #: (n,) int64: row of each hit among those that were given, and the other way round.
    given: Array
    place: Array


@kernel
def make_event(positions: Array, layer: Array, module: Array, sigmas: Array) -> SortedHits:
    """Hits and layers in the form that the kernels take; all hits free and of no group.

    A layer whose hits have an error along z and none along r is a barrel, the other way round a disc; where both
    have one, the layer is what its hits extend along.

    Args:
        positions: (n, 3) float64, mm, n > 0.
        layer: (n,) int64, dense from 0, in any order.
        module: (n,) int64, -1 = unknown.
        sigmas: (n, 3) standard deviations along r-phi, r and z, mm.
    """
    extents = layer_extents(positions, layer, sigmas, layer.max() + 1)
    layers, number = layer_table(extents)
    hits, tags, start, given, place = sorted_hits(positions, layer, module, sigmas, layers, number)
    return SortedHits(Event(hits, tags, layers, start), given, place)


@kernel
def layer_extents(positions: Array, layer: Array, sigmas: Array, n_layers: int) -> Array:
    """(m,) EXTENT of each layer."""
    extents = np.zeros(n_layers, EXTENT)
    for k in range(n_layers):
        extent = extents[k]
        extent.r_low = extent.z_low = math.inf
        extent.r_high = extent.z_high = -math.inf
    for i in range(len(layer)):
        extent = extents[layer[i]]
        r, z = math.hypot(positions[i, X], positions[i, Y]), positions[i, Z]
        extent.count += 1.0
        extent.r_low, extent.r_high = min(extent.r_low, r), max(extent.r_high, r)
        extent.z_low, extent.z_high = min(extent.z_low, z), max(extent.z_high, z)
        extent.sigma_rphi = max(extent.sigma_rphi, sigmas[i, ALONG_RPHI])
        extent.sigma_r = max(extent.sigma_r, sigmas[i, ALONG_R])
        extent.sigma_z = max(extent.sigma_z, sigmas[i, ALONG_Z])
    return extents


@kernel
def layer_table(extents: Array) -> tuple[Array, Array]:
    """(m,) LAYER, barrels first, and the (m,) new number of each layer."""
    m = len(extents)
    disc, position = np.zeros(m, dtype=np.int64), np.zeros(m)
    for k in range(m):
        extent = extents[k]
        is_disc = extent.sigma_r > 0.0
        if is_disc == (extent.sigma_z > 0.0):
            is_disc = extent.r_high - extent.r_low > extent.z_high - extent.z_low
        disc[k] = is_disc
        position[k] = 0.5 * (extent.z_low + extent.z_high if is_disc else extent.r_low + extent.r_high)
    by_position = np.argsort(position, kind="mergesort")
    order = by_position[np.argsort(disc[by_position], kind="mergesort")]
    layers, number = np.zeros(m, LAYER), np.empty(m, dtype=np.int64)
    first_cell = 0
    for new in range(m):
        old = order[new]
        number[old] = new
        extent, layer = extents[old], layers[new]
        count = int(extent.count)
        layer.disc, layer.position, layer.n_barrels = disc[old] > 0, position[old], m - disc.sum()
        layer.sigma_across = extent.sigma_rphi
        # A few hits say little about the extent of a layer: areas are not taken for too small.
        if layer.disc:
            layer.low, layer.high, layer.sigma_along = extent.r_low, extent.r_high, extent.sigma_r
            layer.half_width = 0.5 * (extent.z_high - extent.z_low)
            size = math.log(max(extent.r_high / max(extent.r_low, 1.0), 2.0))
        else:
            layer.low, layer.high, layer.sigma_along = extent.z_low, extent.z_high, extent.sigma_z
            layer.half_width = 0.5 * (extent.r_high - extent.r_low)
            size = max(position[old] * (extent.z_high - extent.z_low), 1e3)
        layer.density = count / (2.0 * math.pi * size)
        n_along = max(int(math.sqrt(count / 4.0)), 1)
        n_phi = max(count // n_along, 1)
        layer.n_phi, layer.n_along, layer.first_cell = n_phi, n_along, first_cell
        first_cell += n_along * n_phi
    return layers, number


@inlined
def put_measurement(position: Array, sigmas: Array, hit: Record) -> None:
    """Fill a MEASUREMENT from a position and standard deviations along r-phi, r and z."""
    x, y = position[X], position[Y]
    rphi2, r2 = sigmas[ALONG_RPHI] ** 2, sigmas[ALONG_R] ** 2
    r = math.sqrt(x * x + y * y)
    cos, sin = (x / r, y / r) if r > 0.0 else (1.0, 0.0)
    hit.x, hit.y, hit.z = x, y, position[Z]
    hit.xx = r2 * cos * cos + rphi2 * sin * sin
    hit.xy = (r2 - rphi2) * cos * sin
    hit.yy = r2 * sin * sin + rphi2 * cos * cos
    hit.zz = sigmas[ALONG_Z] ** 2


@kernel
def measurements(positions: Array, sigmas: Array) -> Array:
    """(n,) MEASUREMENT in the given order; see `make_event`."""
    hits = np.empty(len(positions), MEASUREMENT)
    for i in range(len(positions)):
        put_measurement(positions[i], sigmas[i], hits[i])
    return hits


@kernel
def sorted_hits(
    positions: Array, layer: Array, module: Array, sigmas: Array, layers: Array, number: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Hits in the order of their cells: hits, tags and start of `Event`, given and place of `SortedHits`."""
    n, last = len(layer), layers[len(layers) - 1]
    start = np.zeros(last.first_cell + last.n_phi * last.n_along + 1, dtype=np.int64)
    cell, phis, runnings = np.empty(n, dtype=np.int64), np.empty(n), np.empty(n)
    for i in range(n):
        own = layers[number[layer[i]]]
        x, y = positions[i, X], positions[i, Y]
        phis[i] = math.atan2(y, x)
        runnings[i] = math.sqrt(x * x + y * y) if own.disc else positions[i, Z]
        column = min(int((phis[i] + math.pi) / (2.0 * math.pi) * own.n_phi), own.n_phi - 1)
        row = int((runnings[i] - own.low) / max(own.high - own.low, 1e-6) * own.n_along)
        row = min(max(row, 0), own.n_along - 1)
        # The cells of one phi follow each other: windows are narrow in phi and long the other way.
        cell[i] = own.first_cell + column * own.n_along + row
        start[cell[i] + 1] += 1
    for i in range(1, len(start)):
        start[i] += start[i - 1]
    place, given = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    hits, tags = np.empty(n, MEASUREMENT), np.empty(n, TAG)
    free = start.copy()
    for i in range(n):
        at = free[cell[i]]
        free[cell[i]] += 1
        place[i], given[at] = at, i
        put_measurement(positions[i], sigmas[i], hits[at])
        tag = tags[at]
        tag.phi, tag.running = phis[i], runnings[i]
        tag.layer, tag.module, tag.group, tag.used = number[layer[i]], module[i], -1, 0
    return hits, tags, start, given, place


@kernel
def lookup(state: Record, event: Event, k: int, gate: float, limit: float, found: Array) -> int:
    """Rows of the hits of layer k near a state that lies on it.

    Args:
        gate: half width of the window in standard deviations of the prediction.
        limit: largest half width, mm.
        found: receives the rows; what exceeds its length is left out.

    Returns:
        their number.
    """
    layer = event.layers[k]
    x, y, c, s, cot = state.x, state.y, state.cos_phi, state.sin_phi, state.cot
    r = max(math.sqrt(x * x + y * y), 1.0)
    cos, sin = (c * x + s * y) / r, (c * y - s * x) / r
    sigma_u = math.sqrt(state.u_u + layer.sigma_across**2)
    sigma_w = math.sqrt(state.w_w)
    tilt = max(abs(cos), 0.1)
    # Modules of a layer are staggered: the track goes this far along r (z) to one of them.
    depth = layer.half_width + abs((state.z if layer.disc else r) - layer.position)
    if layer.disc:
        slope = max(abs(cot), 0.1)
        forth = (gate * sigma_w + depth) / slope
        width = abs(cos) * gate * sigma_u + abs(sin) * forth + gate * layer.sigma_across
        # A strip measures across the direction of its module, which is only nearly that of r.
        along = abs(sin) * gate * sigma_u + abs(cos) * forth + gate * layer.sigma_along
        centre = r
    else:
        forth = depth / tilt
        width = gate * sigma_u / tilt + abs(sin) * forth
        along = gate * (sigma_w + layer.sigma_along) + abs(cot) * (forth + abs(sin) / tilt * gate * sigma_u)
        centre = state.z
    width, along = min(width, limit) / r, min(along, 3.0 * limit)
    phi = math.atan2(y, x)
    low, high = layer.low, layer.high
    if centre + along < low or centre - along > high:
        return 0
    n_phi, n_along, first_cell = layer.n_phi, layer.n_along, layer.first_cell
    scale = n_along / max(high - low, 1e-6)
    row_low = min(max(int((centre - along - low) * scale), 0), n_along - 1)
    row_high = min(max(int((centre + along - low) * scale), 0), n_along - 1)
    cells = n_phi / (2.0 * math.pi)
    column_low = math.floor((phi - width + math.pi) * cells)
    column_high = math.floor((phi + width + math.pi) * cells)
    if column_high - column_low >= n_phi:
        column_low, column_high = 0, n_phi - 1
    n = 0
    for j in range(column_low, column_high + 1):
        cell = first_cell + j % n_phi * n_along
        for row in range(event.start[cell + row_low], event.start[cell + row_high + 1]):
            tag = event.tags[row]
            distance = abs(tag.phi - phi)
            distance = min(distance, 2.0 * math.pi - distance)
            if distance <= width and abs(tag.running - centre) <= along and n < len(found):
                found[n] = row
                n += 1
    return n
