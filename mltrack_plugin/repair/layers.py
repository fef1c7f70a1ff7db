"""Layers of the detector as an event shows them, and a grid on each in which hits are looked up."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel

Array = npt.NDArray[Any]


#: Columns of the table of layers: disc (1) or barrel (0); middle and half width of the range of r (z of a disc) of its
#: hits, range of the running coordinate z (r on a disc), largest standard deviations of its hits along r-phi and along
#: the running coordinate, mm; hits per mm^2 (on a
#: disc times r^2); cells in phi and along the running coordinate, and the first cell; number of barrels, which are the
#: first of the layers, from the inside out, while discs follow in the order of z.
DISC, POSITION, SPREAD, LOW, HIGH, SIGMA_ACROSS, SIGMA_ALONG, DENSITY, N_PHI, N_ALONG, FIRST, BARRELS = range(12)


class EventColumns(NamedTuple):
    """Hits and layers of an event, n > 0 hits and m layers.

    Few and wide arrays, since each costs at every call of a kernel. Kernels take them as a plain tuple: the types of
    their arguments are part of what is kept on disk, where a class of this package would not survive its renaming.
    """

    #: (n, 9) float64: x, y, z, covariance xx, xy, yy and zz (mm, mm^2), phi, running coordinate of the layer.
    table: Array
    #: (n, 4) int64: layer, dense from 0; module (two hits of one module, not negative, are not of one track);
    #: group, -1 = none; 1 where the hit is not to be had.
    tags: Array
    #: (m, 12) float64, see DISC.
    layers: Array
    #: (n_cells + 1,) and (n,) int64: rows of hits in each cell.
    start: Array
    rows: Array


#: The columns of an event as kernels see them.
Event = tuple[Array, Array, Array, Array, Array]
TABLE, TAGS, LAYERS, START, ROWS = range(5)
#: Columns of the table and of the tags.
PHI, RUNNING = 7, 8
LAYER, MODULE, GROUP, BLOCKED = range(4)


def along_the_way(layer: Array, r: Array, z: Array, along_r: Array, along_z: Array) -> Array:
    """Numbers of layers so that barrels come first, from the inside out, then discs in the order of z."""
    order = np.argsort(layer, kind="stable")
    counts = np.bincount(layer)
    starts = np.cumsum(counts) - counts

    def extremes(values: Array) -> tuple[Array, Array]:
        ordered = values[order]
        return np.minimum.reduceat(ordered, starts), np.maximum.reduceat(ordered, starts)

    (r_low, r_high), (z_low, z_high) = extremes(r), extremes(z)
    has_r, has_z = extremes(along_r)[1] > 0, extremes(along_z)[1] > 0
    disc = np.where(has_r == has_z, r_high - r_low > z_high - z_low, has_r)
    position = 0.5 * np.where(disc, z_low + z_high, r_low + r_high)
    number = np.empty(len(counts), dtype=np.int64)
    number[np.lexsort((position, disc))] = np.arange(len(counts))
    return number[layer]


def make_event(
    positions: Array, layer: Array, module: Array, across: Array, along_r: Array, along_z: Array
) -> EventColumns:
    """Hits and layers in the form that the kernels take; all hits free and of no group.

    A layer whose hits have an error along z and none along r is a barrel, the other way round a disc; where both
    have one, the layer is what its hits extend along.

    Args:
        positions: (n, 3) float64, mm, n > 0.
        layer: (n,) int64, dense from 0.
        module: (n,) int64, negative = unknown.
        across, along_r, along_z: (n,) standard deviations, mm.
    """
    x, y, z = positions.T
    r = np.hypot(x, y)
    n = len(r)
    layer = along_the_way(layer, r, z, along_r, along_z)
    order = np.argsort(layer, kind="stable")
    counts = np.bincount(layer)
    starts = np.cumsum(counts) - counts

    def extremes(values: Array) -> tuple[Array, Array]:
        ordered = values[order]
        return np.minimum.reduceat(ordered, starts), np.maximum.reduceat(ordered, starts)

    (r_low, r_high), (z_low, z_high) = extremes(r), extremes(z)
    has_r, has_z = extremes(along_r)[1] > 0, extremes(along_z)[1] > 0
    disc = np.where(has_r == has_z, r_high - r_low > z_high - z_low, has_r)
    low, high = np.where(disc, r_low, z_low), np.where(disc, r_high, z_high)
    near, far = np.where(disc, z_low, r_low), np.where(disc, z_high, r_high)
    position = 0.5 * (near + far)
    # A few hits say little about the extent of a layer.
    size = np.where(disc, np.log(np.maximum(high / np.maximum(low, 1.0), 2.0)), position * (high - low))
    n_along = np.maximum(np.sqrt(counts / 4).astype(np.int64), 1)
    n_phi = np.maximum(counts // n_along, 1)
    first = np.cumsum(n_along * n_phi) - n_along * n_phi

    layers = np.empty((len(counts), 12))
    layers[:, DISC], layers[:, POSITION], layers[:, SPREAD] = disc, position, 0.5 * (far - near)
    layers[:, LOW], layers[:, HIGH] = low, high
    layers[:, SIGMA_ACROSS] = extremes(across)[1]
    layers[:, SIGMA_ALONG] = np.where(disc, extremes(along_r)[1], extremes(along_z)[1])
    layers[:, DENSITY] = counts / (2 * np.pi * np.where(disc, size, np.maximum(size, 1e3)))
    layers[:, N_PHI], layers[:, N_ALONG], layers[:, FIRST] = n_phi, n_along, first
    layers[:, BARRELS] = (~disc).sum()

    on_axis = r == 0
    cos, sin = np.where(on_axis, 1.0, x) / np.where(on_axis, 1.0, r), y / np.where(on_axis, 1.0, r)
    table = np.empty((n, 9))
    table[:, 0], table[:, 1], table[:, 2] = x, y, z
    table[:, 3] = along_r**2 * cos**2 + across**2 * sin**2
    table[:, 4] = (along_r**2 - across**2) * cos * sin
    table[:, 5] = along_r**2 * sin**2 + across**2 * cos**2
    table[:, 6] = along_z**2
    table[:, PHI], table[:, RUNNING] = np.arctan2(y, x), np.where(disc[layer], r, z)

    tags = np.zeros((n, 4), dtype=np.int64)
    tags[:, LAYER], tags[:, MODULE], tags[:, GROUP] = layer, module, -1
    column = np.minimum(
        ((table[:, PHI] + np.pi) / (2 * np.pi) * n_phi[layer]).astype(np.int64), n_phi[layer] - 1
    )
    width = np.maximum(high - low, 1e-6)[layer]
    row = ((table[:, RUNNING] - low[layer]) / width * n_along[layer]).astype(np.int64)
    cell = first[layer] + np.clip(row, 0, n_along[layer] - 1) * n_phi[layer] + column
    cell_counts = np.bincount(cell, minlength=int((n_along * n_phi).sum()))
    return EventColumns(
        table=table,
        tags=tags,
        layers=layers,
        start=np.concatenate([[0], np.cumsum(cell_counts)]),
        rows=np.argsort(cell, kind="stable"),
    )


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
    for i in range(row_low, row_high + 1):
        for j in range(column_low, column_high + 1):
            cell = first + i * n_phi + j % n_phi
            for entry in range(event[START][cell], event[START][cell + 1]):
                row = event[ROWS][entry]
                distance = abs(event[TABLE][row, PHI] - phi)
                distance = min(distance, 2.0 * math.pi - distance)
                if distance <= width and abs(event[TABLE][row, RUNNING] - centre) <= along and n < len(found):
                    found[n] = row
                    n += 1
    return n
