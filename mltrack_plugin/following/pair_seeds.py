"""New tracks from hits that are on none: pairs of hits that point to the beam axis, followed outwards."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel, uncounted
from mltrack_plugin.following.complete import completed, fit_and_drop, significance
from mltrack_plugin.following.follow import (
    BEND,
    BUFFER,
    DROP_CHI2,
    FOUND,
    MAX_FOUND,
    MAX_HITS,
    MIN_HITS,
    SEED_ATTACH,
    SEED_CHI2,
    SEED_DIRECTION,
    SEED_ENOUGH,
    SEED_HOLES,
    SEED_PARTNERS,
    SEED_VERTEX,
    SEEN,
    STATE_ROW,
    THICKNESS,
    TRIAL,
    Work,
    borrowed_work,
    follow_end,
)
from mltrack_plugin.kalman.hit_grid import BLOCKED, LAYER, LAYERS, TABLE, TAGS, Event, borrowed, lookup
from mltrack_plugin.kalman.navigation import first_ahead, next_layer, ways
from mltrack_plugin.kalman.state import STATE, cross_material
from mltrack_plugin.kalman.track_fit import move_only

Array = npt.NDArray[Any]

#: Most layers ahead of a hit on which its partner is looked for.
REACH = 2
#: Layers ahead that are looked at, at most.
MAX_AHEAD = 12
#: Significance beyond what is asked for at which no other partner is tried.
CLEAR = 25.0
#: How much further out along the beam axis than the window of vertices a pair may start, mm.
VERTEX_MARGIN = 25.0


@kernel
def towards(row: int, event: Event, settings: Array, state: Array) -> bool:
    """State at a hit that comes straight from the origin, with the errors of such a guess."""
    hit = event[TABLE][row]
    r = math.sqrt(hit[0] * hit[0] + hit[1] * hit[1])
    if r < 1.0:
        return False
    for k in range(STATE):
        state[k] = 0.0
    state[0], state[1], state[2] = hit[0], hit[1], hit[2]
    state[3], state[4], state[6] = hit[0] / r, hit[1] / r, hit[2] / r
    state[13] = settings[SEED_DIRECTION] ** 2
    state[22] = (settings[SEED_VERTEX] / r) ** 2
    return True


@kernel
def pair_state(first: int, second: int, event: Event, settings: Array, state: Array) -> bool:
    """State at the second of two hits of a track from the beam axis; False if the two cannot be one."""
    a, b = event[TABLE][first], event[TABLE][second]
    dx, dy = b[0] - a[0], b[1] - a[1]
    chord = math.sqrt(dx * dx + dy * dy)
    ra, rb = math.sqrt(a[0] * a[0] + a[1] * a[1]), math.sqrt(b[0] * b[0] + b[1] * b[1])
    if chord < 1.0 or rb <= ra:
        return False
    # Circle through the axis and both hits.
    omega = 2.0 * (a[0] * b[1] - a[1] * b[0]) / (ra * rb * chord)
    half = 0.5 * omega * chord
    if abs(half) > 0.5:
        return False
    lam = (b[2] - a[2]) / (chord * math.asin(half) / half if abs(half) > 1e-6 else chord)
    if abs(a[2] - lam * ra) > settings[SEED_VERTEX] + VERTEX_MARGIN:
        return False
    for k in range(STATE):
        state[k] = 0.0
    # The direction at the second hit is that of the chord turned by half the angle of the arc.
    turn = math.atan2(dy, dx) + math.asin(half)
    state[0], state[1], state[2] = b[0], b[1], b[2]
    state[3], state[4], state[5], state[6] = math.cos(turn), math.sin(turn), omega, lam
    # From hit errors, scattering on the first hit's layer and a beam spot of a tenth of a millimetre.
    cross_material(state, settings[THICKNESS], settings[BEND], False)
    scatter_phi, scatter_lam = state[13], state[22]
    error = 2.0 * (0.5 * (b[3] + b[5]) + 0.5 * (a[3] + a[5]))
    along = b[6] + a[6] + lam * lam * error
    beam = 0.01 / (ra * ra)
    state[8] = 0.5 * (b[3] + b[5])
    state[13] = 2.0 * scatter_phi + 4.0 * (error / (chord * chord) + beam)
    state[17] = 4.0 * (scatter_phi + error / (chord * chord) + beam) / (rb * rb)
    state[20] = b[6] + lam * lam * 0.5 * (b[3] + b[5])
    state[22] = 2.0 * scatter_lam + along / (chord * chord)
    return True


@kernel
def is_among(row: int, rows: Array, n: int) -> bool:
    """Whether a row is one of the first n."""
    found = False
    for i in range(n):
        found |= rows[i] == row
    return found


@kernel
def track_from(
    first: int,
    mine: int,
    least: float,
    event: Event,
    settings: Array,
    work: Work,
    rows: Array,
    hit_chi2: Array,
) -> tuple[int, float]:
    """Most significant track that starts with a hit, into ``rows``.

    Returns:
        its number of hits, 0 if there is none, and its significance.
    """
    state, guess = work[BUFFER][STATE_ROW], np.empty(STATE)
    partners = np.empty(REACH * MAX_FOUND, dtype=np.int64)
    if not towards(first, event, settings, state):
        return 0, 0.0
    seen = work[SEEN]
    for k in range(len(seen)):
        seen[k] = 0.0
    seen[event[TAGS][first, LAYER]] = 1.0
    n_partners = 0
    out, up = ways(state, False)
    barrel, disc = first_ahead(state, out, up, event[LAYERS])
    spread = math.sqrt(state[22])
    reached = 0
    for _ in range(MAX_AHEAD):
        layer, s, _running, barrel, disc = next_layer(
            state, False, out, up, barrel, disc, spread, seen, event[LAYERS]
        )
        if layer < 0:
            break
        for k in range(STATE):
            guess[k] = state[k]
        move_only(guess, s)
        guess[8], guess[20] = s * s * state[13], s * s * state[22]
        n = lookup(guess, event, layer, 1.0, 60.0, work[FOUND])
        reached += n > 0
        for i in range(n):
            if not event[TAGS][work[FOUND][i], BLOCKED]:
                partners[n_partners] = work[FOUND][i]
                n_partners += 1
        if reached >= REACH or n_partners >= settings[SEED_ENOUGH]:
            break
    if n_partners > settings[SEED_PARTNERS]:
        return 0, 0.0
    best, best_value = 0, 0.0
    trial = np.empty(MAX_HITS + 1, dtype=np.int64)
    trial_chi2 = np.empty(MAX_HITS + 1)
    event[TAGS][first, BLOCKED] = 1
    for i in range(n_partners):
        if best_value > least + CLEAR:
            break
        if is_among(partners[i], rows, best):
            continue
        if not pair_state(first, partners[i], event, settings, work[BUFFER][TRIAL]):
            continue
        trial[0], trial[1] = first, partners[i]
        event[TAGS][partners[i], BLOCKED] = 1
        for k in range(len(seen)):
            seen[k] = 0.0
        seen[event[TAGS][first, LAYER]] = seen[event[TAGS][partners[i], LAYER]] = 1.0
        n = follow_end(
            work[BUFFER][TRIAL],
            False,
            trial,
            2,
            mine,
            settings[SEED_ATTACH],
            settings[SEED_HOLES],
            event,
            settings,
            work,
        )
        for j in range(1, n):
            event[TAGS][trial[j], BLOCKED] = 0
        if n < settings[MIN_HITS]:
            continue
        n, chi2 = fit_and_drop(trial, n, 3, settings[DROP_CHI2], event, settings, work, trial_chi2)
        if not math.isfinite(chi2):
            continue
        event[TAGS][first, BLOCKED] = 0
        n, chi2 = completed(trial, n, chi2, mine, event, settings, work, trial_chi2)
        event[TAGS][first, BLOCKED] = 1
        if not chi2 < settings[SEED_CHI2] * (2 * n - 5):
            continue
        value = significance(trial, n, chi2, event, settings, work)
        if value > best_value:
            best, best_value = n, value
            for j in range(n):
                rows[j], hit_chi2[j] = trial[j], trial_chi2[j]
    event[TAGS][first, BLOCKED] = 0
    return best, best_value


@kernel
def new_tracks(
    order: Array,
    label: Array,
    label_chi2: Array,
    next_label: int,
    smallest: int,
    least: float,
    event: Event,
    settings: Array,
    work: Work,
) -> None:
    """Tracks of at least ``smallest`` free hits and the significance ``least``; sets ``label`` and ``label_chi2``.

    Args:
        order: rows of the hits that tracks may start with, in the order in which they are tried.
    """
    rows = np.empty(MAX_HITS + 1, dtype=np.int64)
    hit_chi2 = np.empty(MAX_HITS + 1)
    event, work, settings = borrowed(event), borrowed_work(work), uncounted(settings)
    for first in order:
        if event[TAGS][first, BLOCKED]:
            continue
        n, value = track_from(first, -2, least, event, settings, work, rows, hit_chi2)
        if n < smallest or value < least:
            continue
        for i in range(n):
            label[rows[i]], label_chi2[rows[i]] = next_label, hit_chi2[i]
            event[TAGS][rows[i], BLOCKED] = 1
        next_label += 1
