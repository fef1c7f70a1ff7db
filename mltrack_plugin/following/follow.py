"""Follow a fitted track through the layers and collect the hits that lie on it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import inlined, kernel, uncounted
from mltrack_plugin.kalman.hit_grid import (
    BARRELS,
    BLOCKED,
    DENSITY,
    DISC,
    GROUP,
    HIGH,
    LAYER,
    LAYERS,
    LOW,
    MODULE,
    POSITION,
    RUNNING,
    TABLE,
    TAGS,
    Event,
    lookup,
)
from mltrack_plugin.kalman.navigation import crossing, disc_behind, first_ahead, next_layer, ways
from mltrack_plugin.kalman.state import (
    STATE,
    STEP,
    bent_between,
    chi2_of,
    cross_material,
    move,
    projected,
    residual,
    to_closest,
    update,
)
from mltrack_plugin.kalman.track_fit import RECORD, smoothed_state

Array = npt.NDArray[Any]

#: Largest number of hits on a track; longer groups are cut into several tracks.
MAX_HITS = 64
#: The same for a second hit on a layer, which needs overlapping modules, as a factor.
OVERLAP = 0.02
#: Most hits that one look-up gives.
MAX_FOUND = 128


#: Numbers that steer the repair, (n,) float64; see the settings of the algorithm. BEND is 0.3 B: pT in GeV times the
#: curvature in 1/mm. ODDS: that a track has a hit on a layer that it
#: crosses, against that it has none.
SETTINGS = (
    "thickness", "bend", "min_hits", "attach_chi2", "drop_chi2", "odds", "max_holes", "max_chi2", "loyalty",
    "seed_chi2", "loose", "seed_direction", "seed_vertex", "seed_holes",
    "seed_attach", "significance", "seed_partners", "seed_enough",
)  # fmt: skip
(
    THICKNESS, BEND, MIN_HITS, ATTACH_CHI2, DROP_CHI2, ODDS, MAX_HOLES, MAX_CHI2, LOYALTY, SEED_CHI2, LOOSE,
    SEED_DIRECTION, SEED_VERTEX, SEED_HOLES, SEED_ATTACH, SIGNIFICANCE, SEED_PARTNERS, SEED_ENOUGH,
) = range(18)  # fmt: skip

#: Scratch memory of a track: its fit (MAX_HITS, RECORD), see `smoother`; rows STATE_ROW and following (5, WIDTH); rows
#: of hits that were looked up (MAX_FOUND,); which layers have been looked at (m,).
Work = tuple[Array, Array, Array, Array]
RECORDS, BUFFER, FOUND, SEEN = range(4)
WIDTH = 80
#: State of the fit, states that are moved about, arc lengths, records of the latest step.
STATE_ROW, TRIAL, MOVED, ARCS, LAST = range(5)


def new_work(n_layers: int) -> Work:
    """Scratch memory for an event."""
    return (
        np.zeros((MAX_HITS, RECORD)),
        np.zeros((5, WIDTH)),
        np.zeros(MAX_FOUND, dtype=np.int64),
        np.zeros(n_layers),
    )


@inlined
def borrowed_work(work: Work) -> Work:
    """Scratch memory without counts of references."""
    return uncounted(work[0]), uncounted(work[1]), uncounted(work[2]), uncounted(work[3])


@inlined
def random_density(layer: Array, running: float) -> float:
    """Hits per mm^2 of a layer where the running coordinate is ``running``; on discs it falls with r squared."""
    if layer[DISC] > 0.0:
        return float(layer[DENSITY] / max(running * running, 1.0))
    return float(layer[DENSITY])


@kernel
def best_hit(
    state: Array, k: int, mine: int, gate: float, event: Event, settings: Array, odds: float, found: Array
) -> int:
    """The hit of layer k that fits a state on it best; -1 if none does.

    A hit is accepted if it is likelier to be the track's than a random one: ``odds`` (that there is a hit of the track)
    times the density of the residual must exceed the density of hits. Scattering has tails, so that density is
    taken to fall with a power of chi2. A hit of the group ``mine`` is preferred by ``loyalty`` in chi2 and in no need
    of this. Beyond a chi2 of ``gate`` none is accepted.
    """
    n = lookup(state, event, k, math.sqrt(gate), 30.0, found)
    layer = event[LAYERS][k]
    best, best_value = -1, math.inf
    for i in range(n):
        row = found[i]
        if event[TAGS][row, BLOCKED]:
            continue
        hit = event[TABLE][row]
        s = to_closest(state, hit[0], hit[1])
        if not abs(s) < 100.0:
            continue
        u, w = residual(state, s, hit)
        nn, nt, tt = projected(state, hit)
        a, b, c = state[8] + nn, state[11] + nt, state[20] + tt
        value = chi2_of(u, w, a, b, c)
        if value > gate:
            continue
        if event[TAGS][row, GROUP] == mine:
            value -= settings[LOYALTY]
        else:
            # A standard deviation in (u, w), on the surface: a disc sees w shrunk by the slope.
            area = 2.0 * math.pi * math.sqrt(a * c - b * b)
            if layer[DISC] > 0.0:
                area /= max(abs(state[6]), 0.1)
            if area * random_density(layer, hit[RUNNING]) * (1.0 + value / 6.0) ** 4 > odds:
                continue
        if value < best_value:
            best, best_value = row, value
    return best


@kernel
def same_module(event: Event, rows: Array, n: int, row: int) -> bool:
    """Whether one of the first n rows is a hit of the same module."""
    module = event[TAGS][row, MODULE]
    if module != -1:
        for i in range(n):
            if event[TAGS][rows[i], MODULE] == module:
                return True
    return False


@kernel
def follow_end(
    state: Array,
    backwards: bool,
    rows: Array,
    n: int,
    mine: int,
    gate: float,
    max_holes: float,
    event: Event,
    settings: Array,
    work: Work,
) -> int:
    """Follow a track beyond its last (first, if ``backwards``) hit; found hits are appended to ``rows``.

    Args:
        gate: chi2 beyond which no hit is accepted.
        max_holes: layers without a hit after which it ends.

    Returns:
        the new number of hits.
    """
    last, seen = work[BUFFER][LAST], work[SEEN]
    holes = 0
    out, up = ways(state, backwards)
    barrel, disc = first_ahead(state, out, up, event[LAYERS])
    while True:
        k, s, running, barrel, disc = next_layer(
            state, backwards, out, up, barrel, disc, 0.0, seen, event[LAYERS]
        )
        if k < 0:
            break
        layer = event[LAYERS][k]
        move(state, s, last)
        if backwards and state[0] * state[3] + state[1] * state[4] < 0.0:
            # Past the beam axis: there a track opposite in azimuth begins.
            break
        row = best_hit(state, k, mine, gate, event, settings, settings[ODDS], work[FOUND])
        if row < 0 and layer[LOW] <= running <= layer[HIGH]:
            holes += 1
            if holes > max_holes:
                break
            cross_material(state, settings[THICKNESS], settings[BEND], backwards)
        while row >= 0 and n < MAX_HITS:
            hit = event[TABLE][row]
            move(state, to_closest(state, hit[0], hit[1]), last)
            update(state, hit, last)
            cross_material(state, settings[THICKNESS], settings[BEND], backwards)
            rows[n] = row
            n += 1
            event[TAGS][row, BLOCKED] += 1
            row = best_hit(state, k, mine, gate, event, settings, OVERLAP * settings[ODDS], work[FOUND])
            if row >= 0 and same_module(event, rows, n, row):
                row = -1
    return n


@kernel
def fill_gaps(rows: Array, n: int, mine: int, event: Event, settings: Array, work: Work) -> int:
    """Look for hits between those of a fitted track, and for second hits on their layers; as `follow_end`."""
    state, moved, seen = work[BUFFER][TRIAL], work[BUFFER][MOVED], work[SEEN]
    gate = settings[ATTACH_CHI2]
    end = n
    for i in range(n):
        smoothed_state(work[RECORDS][i], state, work[BUFFER][LAST])
        k = event[TAGS][rows[i], LAYER]
        row = best_hit(state, k, mine, gate, event, settings, OVERLAP * settings[ODDS], work[FOUND])
        if row >= 0 and end < MAX_HITS and not same_module(event, rows, end, row):
            rows[end] = row
            end += 1
            event[TAGS][row, BLOCKED] += 1
        if i == 0:
            continue
        before = work[RECORDS][i - 1]
        r_low, r_high = before[0] ** 2 + before[1] ** 2, state[0] ** 2 + state[1] ** 2
        z_low, z_high = min(before[2], state[2]), max(before[2], state[2])
        # All barrels, then the discs in between.
        n_barrels = int(event[LAYERS][0, BARRELS])
        k, next_disc = -1, disc_behind(z_low, event[LAYERS])
        while True:
            k = k + 1 if k + 1 < n_barrels else max(k + 1, next_disc)
            if k >= len(event[LAYERS]) or (k >= n_barrels and event[LAYERS][k, POSITION] >= z_high):
                break
            layer = event[LAYERS][k]
            if seen[k] > 0.0 or (k < n_barrels and not r_low < layer[POSITION] ** 2 < r_high):
                continue
            s = crossing(state, layer, True)
            if not math.isfinite(s):
                continue
            seen[k] = 1.0
            for j in range(STATE):
                moved[j] = state[j]
            move(moved, s, work[BUFFER][LAST])
            # The step to this hit is kept beside its state.
            between = work[RECORDS][i][STATE + STEP - 1]
            bent_between(moved, between + s, -s, 2.0 * settings[THICKNESS], settings[BEND])
            row = best_hit(moved, k, mine, gate, event, settings, settings[ODDS], work[FOUND])
            if row >= 0 and end < MAX_HITS:
                rows[end] = row
                end += 1
                event[TAGS][row, BLOCKED] += 1
    return end


@kernel
def complete(rows: Array, n: int, mine: int, event: Event, settings: Array, work: Work) -> int:
    """Look for further hits of a track that has just been fitted (``work``): within it, then beyond both ends.

    Args:
        rows: hits of the track in order, and room for MAX_HITS.

    Returns:
        the new number of hits; new rows are appended.
    """
    seen = work[SEEN]
    for k in range(len(seen)):
        seen[k] = 0.0
    for i in range(n):
        event[TAGS][rows[i], BLOCKED] += 1
        seen[event[TAGS][rows[i], LAYER]] = 1.0
    end = fill_gaps(rows, n, mine, event, settings, work)
    for backwards in (False, True):
        state = work[BUFFER][STATE_ROW] if not backwards else work[BUFFER][TRIAL]
        if backwards:
            smoothed_state(work[RECORDS][0], state, work[BUFFER][LAST])
        end = follow_end(
            state,
            backwards,
            rows,
            end,
            mine,
            settings[ATTACH_CHI2],
            settings[MAX_HOLES],
            event,
            settings,
            work,
        )
    for i in range(end):
        event[TAGS][rows[i], BLOCKED] -= 1
    return end
