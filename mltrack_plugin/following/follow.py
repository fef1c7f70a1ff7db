"""Follow a fitted track through the layers and attach the hits that lie on it."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from mltrack_plugin.compiled import kernel
from mltrack_plugin.following.search import MAX_HITS, Memory, Search, random_density
from mltrack_plugin.kalman.hit_grid import Event, lookup
from mltrack_plugin.kalman.material import Material, cross_layer, inflate_between
from mltrack_plugin.kalman.navigation import crossing, disc_behind, first_ahead, next_layer
from mltrack_plugin.kalman.state import (
    Record,
    chi2_of,
    copy_state,
    path_to_closest,
    propagate,
    residual,
    residual_covariance,
    update,
)
from mltrack_plugin.kalman.track_fit import smoothed_state

Array = npt.NDArray[Any]

#: Factor on the odds for a second hit on a layer, which needs overlapping modules.
OVERLAP = 0.02


@kernel
def best_hit(
    state: Record, k: int, group: int, gate: float, event: Event, search: Search, odds: float, found: Array
) -> int:
    """The free hit of layer k that fits a state on it best; -1 if none does.

    A hit is accepted if it is likelier to be the track's than a random one: ``odds`` (that there is a hit of the track)
    times the density of the residual must exceed the density of hits. Scattering has tails, so that density is
    taken to fall with a power of chi2. A hit of the track's own ``group`` is preferred by ``own_group_chi2`` and need
    not be likelier. Beyond a chi2 of ``gate`` none is accepted.
    """
    n = lookup(state, event, k, math.sqrt(gate), 30.0, found)
    layer = event.layers[k]
    best, best_value = -1, math.inf
    for i in range(n):
        row = found[i]
        tag = event.tags[row]
        if tag.used:
            continue
        hit = event.hits[row]
        s = path_to_closest(state, hit.x, hit.y)
        if not abs(s) < 100.0:
            continue
        u, w = residual(state, s, hit)
        a, b, c = residual_covariance(state, hit)
        value = chi2_of(u, w, a, b, c)
        if value > gate:
            continue
        if tag.group == group:
            value -= search.own_group_chi2
        else:
            # A standard deviation in (u, w), on the surface: a disc sees w shrunk by the slope.
            area = 2.0 * math.pi * math.sqrt(a * c - b * b)
            if layer.disc:
                area /= max(abs(state.cot), 0.1)
            if area * random_density(layer, tag.running) * (1.0 + value / 6.0) ** 4 > odds:
                continue
        if value < best_value:
            best, best_value = row, value
    return best


@kernel
def same_module(event: Event, rows: Array, n: int, row: int) -> bool:
    """Whether one of the first n rows is a hit of the same module."""
    module = event.tags[row].module
    if module != -1:
        for i in range(n):
            if event.tags[rows[i]].module == module:
                return True
    return False


@kernel
def follow_end(
    state: Record,
    backwards: bool,
    rows: Array,
    n: int,
    group: int,
    gate: float,
    max_holes: float,
    event: Event,
    search: Search,
    memory: Memory,
) -> int:
    """Follow a track beyond its last (first, if ``backwards``) hit; found hits are appended to ``rows``.

    Args:
        group: of the track.
        gate: chi2 beyond which no hit is accepted.
        max_holes: holes after which it ends.

    Returns:
        the new number of hits.
    """
    holes = 0
    ahead = first_ahead(state, backwards, event.layers)
    while True:
        k, s, running, ahead = next_layer(state, ahead, 0.0, memory.searched, event.layers)
        if k < 0:
            break
        layer = event.layers[k]
        propagate(state, s, memory.transport[0])
        if backwards and state.x * state.cos_phi + state.y * state.sin_phi < 0.0:
            # Past the beam axis: there a track opposite in azimuth begins.
            break
        row = best_hit(state, k, group, gate, event, search, search.odds, memory.found)
        if row < 0 and layer.low <= running <= layer.high:
            holes += 1
            if holes > max_holes:
                break
            cross_layer(state, search.material, backwards)
        while row >= 0 and n < MAX_HITS:
            hit = event.hits[row]
            propagate(state, path_to_closest(state, hit.x, hit.y), memory.transport[0])
            update(state, hit, memory.gain[0])
            cross_layer(state, search.material, backwards)
            rows[n] = row
            n += 1
            event.tags[row].used += 1
            row = best_hit(state, k, group, gate, event, search, OVERLAP * search.odds, memory.found)
            if row >= 0 and same_module(event, rows, n, row):
                row = -1
    return n


@kernel
def fill_holes(rows: Array, n: int, group: int, event: Event, search: Search, memory: Memory) -> int:
    """Look for hits between those of a fitted track, and for second hits on their layers; as `follow_end`."""
    state, near, searched, gate = memory.trial[0], memory.near[0], memory.searched, search.attach_chi2
    n_layers, n_barrels = len(event.layers), event.layers[0].n_barrels
    end = n
    for i in range(n):
        smoothed_state(memory.fit, i, state)
        k = event.tags[rows[i]].layer
        row = best_hit(state, k, group, gate, event, search, OVERLAP * search.odds, memory.found)
        if row >= 0 and end < MAX_HITS and not same_module(event, rows, end, row):
            rows[end] = row
            end += 1
            event.tags[row].used += 1
        if i == 0:
            continue
        before = memory.fit.predicted[i - 1]
        r2_low, r2_high = before.x**2 + before.y**2, state.x**2 + state.y**2
        z_low, z_high = min(before.z, state.z), max(before.z, state.z)
        # All barrels, then the discs in between.
        k, next_disc = -1, disc_behind(z_low, event.layers)
        while True:
            k = k + 1 if k + 1 < n_barrels else max(k + 1, next_disc)
            if k >= n_layers or (k >= n_barrels and event.layers[k].position >= z_high):
                break
            layer = event.layers[k]
            if searched[k] or (k < n_barrels and not r2_low < layer.position**2 < r2_high):
                continue
            s = crossing(state, layer, True)
            if not math.isfinite(s):
                continue
            searched[k] = True
            copy_state(state, near)
            propagate(near, s, memory.transport[0])
            between = memory.fit.transport[i].path
            material = Material(2.0 * search.material.thickness, search.material.pt_omega)
            inflate_between(near, between + s, -s, material)
            row = best_hit(near, k, group, gate, event, search, search.odds, memory.found)
            if row >= 0 and end < MAX_HITS:
                rows[end] = row
                end += 1
                event.tags[row].used += 1
    return end


@kernel
def attach_hits(rows: Array, n: int, group: int, event: Event, search: Search, memory: Memory) -> int:
    """Look for further hits of a track that has just been fitted (``memory``): within it, then beyond both ends.

    Args:
        rows: hits of the track in order, and room for MAX_HITS.

    Returns:
        the new number of hits; new rows are appended.
    """
    searched = memory.searched
    for k in range(len(searched)):
        searched[k] = False
    for i in range(n):
        event.tags[rows[i]].used += 1
        searched[event.tags[rows[i]].layer] = True
    end = fill_holes(rows, n, group, event, search, memory)
    for backwards in (False, True):
        state = memory.fit.filtered[0]
        if backwards:
            state = memory.trial[0]
            smoothed_state(memory.fit, 0, state)
        end = follow_end(
            state,
            backwards,
            rows,
            end,
            group,
            search.attach_chi2,
            search.max_holes,
            event,
            search,
            memory,
        )
    for i in range(end):
        event.tags[rows[i]].used -= 1
    return end
