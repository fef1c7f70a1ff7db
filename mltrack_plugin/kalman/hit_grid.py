"""Layers of the detector as an event shows them, and the hits of each in the order of a grid."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import inlined, kernel, uncounted
from mltrack_plugin.kalman.state import HIT

Array = npt.NDArray[Any]


#: Columns of the table of layers: disc (1) or barrel (0); middle and half width of the range of r (z of a disc) of its
#: hits, range of the running coordinate z (r on a disc), largest standard deviations of its hits along r-phi and along
#: the running coordinate, mm; hits per mm^2 (on a disc times r^2); cells in phi and along the running coordinate, and
#: the first cell; number of barrels, which are the first of the layers, from the inside out, while discs follow in the
#: order of z.
(
    DISC, POSITION, SPREAD, LOW, HIGH, SIGMA_ACROSS, SIGMA_ALONG, DENSITY, N_PHI, N_ALONG, FIRST, BARRELS,
) = range(12)  # fmt: skip


class EventColumns(NamedTuple):
    """Hits and layers of an event, n > 0 hits and m layers.

    Hits are in the order of the cells of a grid on each layer, so that neighbours are near each other in memory.

    Few and wide arrays, since each costs at every call of a kernel. Kernels take the first four as a plain tuple: the
    types of their arguments are part of what is kept on disk, where a class of this package would not survive its
    renaming.
    """

    #: (n, 9) float64: x, y, z, covariance xx, xy, yy and zz (mm, mm^2), phi, running coordinate of the layer.
    table: Array
    #: (n, 4) int64: layer, dense from 0; module (two hits of one module, -1 = unknown, are not of one track);
    #: group, -1 = none; 1 where the hit is not to be had.
    tags: Array
    #: (m, 12) float64, see DISC.
    layers: Array
    #: (n_cells + 1,) int64: first hit of each cell.
    start: Array
    #: (n,) int64: place of each hit among those that were given, and the other way round.
    given: Array
    place: Array

    @property
    def columns(self) -> Event:
        """What kernels take."""
        return self.table, self.tags, self.layers, self.start


#: The columns of an event as kernels see them.
Event = tuple[Array, Array, Array, Array]
TABLE, TAGS, LAYERS, START = range(4)
#: Columns of the table and of the tags.
PHI, RUNNING = 7, 8
LAYER, MODULE, GROUP, BLOCKED = range(4)
#: Columns of the extent of a layer's hits: number, ranges of r and z, largest sigmas.
COUNT, R_LOW, R_HIGH, Z_LOW, Z_HIGH, ACROSS, ALONG_R, ALONG_Z = range(8)


def make_event(positions: Array, layer: Array, module: Array, sigmas: Array) -> EventColumns:
    """Hits and layers in the form that the kernels take; all hits free and of no group.

    A layer whose hits have an error along z and none along r is a barrel, the other way round a disc; where both
    have one, the layer is what its hits extend along.

    Args:
        positions: (n, 3) float64, mm, n > 0.
        layer: (n,) int64, dense from 0, in any order.
        module: (n,) int64, -1 = unknown.
        sigmas: (n, 3) standard deviations along r-phi, r and z, mm.
    """
    extent = layer_extents(positions, layer, sigmas, int(layer.max()) + 1)
    layers, number = layer_table(extent)
    return EventColumns(*sorted_hits(positions, layer, module, sigmas, layers, number))


@inlined
def borrowed(event: Event) -> Event:
    """The columns of an event without counts of references."""
    return uncounted(event[0]), uncounted(event[1]), uncounted(event[2]), uncounted(event[3])


@kernel
def layer_extents(positions: Array, layer: Array, sigmas: Array, n_layers: int) -> Array:
    """(m, 8) COUNT and so on of each layer."""
    extent = np.zeros((n_layers, 8))
    extent[:, R_LOW] = extent[:, Z_LOW] = math.inf
    extent[:, R_HIGH] = extent[:, Z_HIGH] = -math.inf
    for i in range(len(layer)):
        own = extent[layer[i]]
        r, z = math.hypot(positions[i, 0], positions[i, 1]), positions[i, 2]
        own[COUNT] += 1.0
        own[R_LOW], own[R_HIGH] = min(own[R_LOW], r), max(own[R_HIGH], r)
        own[Z_LOW], own[Z_HIGH] = min(own[Z_LOW], z), max(own[Z_HIGH], z)
        for k in range(3):
            own[ACROSS + k] = max(own[ACROSS + k], sigmas[i, k])
    return extent


@kernel
def layer_table(extent: Array) -> tuple[Array, Array]:
    """The table of layers, barrels first, and the (m,) new number of each layer."""
    m = len(extent)
    disc, position = np.zeros(m), np.zeros(m)
    for k in range(m):
        own = extent[k]
        is_disc = own[ALONG_R] > 0.0
        if is_disc == (own[ALONG_Z] > 0.0):
            is_disc = own[R_HIGH] - own[R_LOW] > own[Z_HIGH] - own[Z_LOW]
        disc[k] = is_disc
        position[k] = 0.5 * (own[Z_LOW] + own[Z_HIGH] if is_disc else own[R_LOW] + own[R_HIGH])
    by_position = np.argsort(position, kind="mergesort")
    order = by_position[np.argsort(disc[by_position], kind="mergesort")]
    layers, number = np.empty((m, 12)), np.empty(m, dtype=np.int64)
    first = 0
    for new in range(m):
        old = order[new]
        number[old] = new
        own, row = extent[old], layers[new]
        count = int(own[COUNT])
        row[DISC], row[POSITION], row[BARRELS] = disc[old], position[old], m - disc.sum()
        row[SIGMA_ACROSS] = own[ACROSS]
        # A few hits say little about the extent of a layer: areas are not taken for too small.
        if disc[old] > 0.0:
            row[LOW], row[HIGH], row[SIGMA_ALONG] = own[R_LOW], own[R_HIGH], own[ALONG_R]
            row[SPREAD] = 0.5 * (own[Z_HIGH] - own[Z_LOW])
            size = math.log(max(own[R_HIGH] / max(own[R_LOW], 1.0), 2.0))
        else:
            row[LOW], row[HIGH], row[SIGMA_ALONG] = own[Z_LOW], own[Z_HIGH], own[ALONG_Z]
            row[SPREAD] = 0.5 * (own[R_HIGH] - own[R_LOW])
            size = max(position[old] * (own[Z_HIGH] - own[Z_LOW]), 1e3)
        row[DENSITY] = count / (2.0 * math.pi * size)
        n_along = max(int(math.sqrt(count / 4.0)), 1)
        n_phi = max(count // n_along, 1)
        row[N_PHI], row[N_ALONG], row[FIRST] = n_phi, n_along, first
        first += n_along * n_phi
    return layers, number


@inlined
def put_hit(position: Array, sigmas: Array, hit: Array) -> float:
    """Position and covariance of a hit, the first HIT columns of the table; returns its radius."""
    x, y = position[0], position[1]
    across2, along_r2 = sigmas[0] ** 2, sigmas[1] ** 2
    r = math.sqrt(x * x + y * y)
    cos, sin = (x / r, y / r) if r > 0.0 else (1.0, 0.0)
    hit[0], hit[1], hit[2] = x, y, position[2]
    hit[3] = along_r2 * cos * cos + across2 * sin * sin
    hit[4] = (along_r2 - across2) * cos * sin
    hit[5] = along_r2 * sin * sin + across2 * cos * cos
    hit[6] = sigmas[2] ** 2
    return r


@kernel
def hit_table(positions: Array, sigmas: Array) -> Array:
    """(n, HIT) hits as fits take them, in the given order; see `make_event`."""
    table = np.empty((len(positions), HIT))
    for i in range(len(positions)):
        put_hit(positions[i], sigmas[i], table[i])
    return table


@kernel
def sorted_hits(
    positions: Array, layer: Array, module: Array, sigmas: Array, layers: Array, number: Array
) -> tuple[Array, Array, Array, Array, Array, Array]:
    """Hits in the order of their cells: the fields of `EventColumns`."""
    n, last = len(layer), layers[len(layers) - 1]
    start = np.zeros(int(last[FIRST] + last[N_PHI] * last[N_ALONG]) + 1, dtype=np.int64)
    cell, phis = np.empty(n, dtype=np.int64), np.empty(n)
    for i in range(n):
        own = layers[number[layer[i]]]
        x, y = positions[i, 0], positions[i, 1]
        phis[i] = math.atan2(y, x)
        running = math.sqrt(x * x + y * y) if own[DISC] > 0.0 else positions[i, 2]
        column = min(int((phis[i] + math.pi) / (2.0 * math.pi) * own[N_PHI]), int(own[N_PHI]) - 1)
        row = int((running - own[LOW]) / max(own[HIGH] - own[LOW], 1e-6) * own[N_ALONG])
        row = min(max(row, 0), int(own[N_ALONG]) - 1)
        # The cells of one phi follow each other: windows are narrow in phi and long the other way.
        cell[i] = int(own[FIRST]) + column * int(own[N_ALONG]) + row
        start[cell[i] + 1] += 1
    for i in range(1, len(start)):
        start[i] += start[i - 1]
    place, given = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    table, tags = np.empty((n, 9)), np.empty((n, 4), dtype=np.int64)
    free = start.copy()
    for i in range(n):
        at = free[cell[i]]
        free[cell[i]] += 1
        place[i], given[at] = at, i
        k = number[layer[i]]
        hit, tag = table[at], tags[at]
        r = put_hit(positions[i], sigmas[i], hit)
        hit[PHI], hit[RUNNING] = phis[i], r if layers[k, DISC] > 0.0 else positions[i, 2]
        tag[LAYER], tag[MODULE], tag[GROUP], tag[BLOCKED] = k, module[i], -1, 0
    return table, tags, layers, start, given, place


@kernel
def lookup(state: Array, event: Event, k: int, gate: float, limit: float, found: Array) -> int:
    """Rows of the hits of layer k near a state that lies on it.

    Args:
        gate: half width of the window in standard deviations of the prediction.
        limit: largest half width, mm.
        found: receives the rows; what exceeds its length is left out.
    """
    layer = event[LAYERS][k]
    x, y, c, s, lam = state[0], state[1], state[3], state[4], state[6]
    r = max(math.sqrt(x * x + y * y), 1.0)
    cos, sin = (c * x + s * y) / r, (c * y - s * x) / r
    sigma_u = math.sqrt(state[8] + layer[SIGMA_ACROSS] ** 2)
    sigma_w = math.sqrt(state[20])
    tilt = max(abs(cos), 0.1)
    # Modules of a layer are staggered: the track goes this far along r (z) to one of them.
    depth = layer[SPREAD] + abs((state[2] if layer[DISC] > 0.0 else r) - layer[POSITION])
    if layer[DISC] > 0.0:
        slope = max(abs(lam), 0.1)
        forth = (gate * sigma_w + depth) / slope
        width = abs(cos) * gate * sigma_u + abs(sin) * forth + gate * layer[SIGMA_ACROSS]
        # A strip measures across the direction of its module, which is only nearly that of r.
        along = abs(sin) * gate * sigma_u + abs(cos) * forth + gate * layer[SIGMA_ALONG]
        centre = r
    else:
        forth = depth / tilt
        width = gate * sigma_u / tilt + abs(sin) * forth
        along = gate * (sigma_w + layer[SIGMA_ALONG]) + abs(lam) * (forth + abs(sin) / tilt * gate * sigma_u)
        centre = state[2]
    width, along = min(width, limit) / r, min(along, 3.0 * limit)
    phi = math.atan2(y, x)
    low, high = layer[LOW], layer[HIGH]
    if centre + along < low or centre - along > high:
        return 0
    n_phi, n_along, first = int(layer[N_PHI]), int(layer[N_ALONG]), int(layer[FIRST])
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
        cell = first + j % n_phi * n_along
        for row in range(event[START][cell + row_low], event[START][cell + row_high + 1]):
            distance = abs(event[TABLE][row, PHI] - phi)
            distance = min(distance, 2.0 * math.pi - distance)
            if distance <= width and abs(event[TABLE][row, RUNNING] - centre) <= along and n < len(found):
                found[n] = row
                n += 1
    return n
