"""New tracks from hits that are on none: pairs of hits that point to the beam axis, followed outwards."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel, uncounted
from mltrack_plugin.following.complete import complete, fit_without_outliers, significance
from mltrack_plugin.following.follow import follow_end
from mltrack_plugin.following.search import MAX_FOUND, MAX_HITS, Memory, Search, new_memory
from mltrack_plugin.kalman.hit_grid import Event, lookup
from mltrack_plugin.kalman.material import Material, cross_layer
from mltrack_plugin.kalman.navigation import first_ahead, next_layer
from mltrack_plugin.kalman.start import propagate_parameters
from mltrack_plugin.kalman.state import Record, clear_covariance, copy_state

Array = npt.NDArray[Any]

#: Most layers ahead of a hit on which its partner is looked for.
REACH = 2
#: Layers ahead that are looked at, at most.
MAX_AHEAD = 12
#: Significance beyond what is asked for at which no other partner is tried.
CLEAR = 25.0
#: How much further out along the beam axis than the window of vertices a pair may start, mm.
VERTEX_MARGIN = 25.0
#: Chi2 up to which a hit is attached to a seed.
SEED_ATTACH_CHI2 = 20.0
#: Group of a track from a seed: that of no hit.
NO_GROUP = -2


class SeedCuts(NamedTuple):
    """A pass for kernels: see `~mltrack_plugin.following.settings.SeedPass`."""

    #: Smallest `~mltrack_plugin.following.complete.significance` of an accepted track.
    significance: float
    #: Of a seed that is fitted, and of an accepted track.
    min_followed: float
    min_hits: float
    max_holes: float
    max_chi2: float
    direction: float
    vertex: float
    max_partners: float
    enough_partners: float


@kernel
def origin_state(hit: Record, cuts: SeedCuts, state: Record) -> bool:
    """State at a hit that comes straight from the origin, with the errors of such a guess."""
    r = math.sqrt(hit.x * hit.x + hit.y * hit.y)
    if r < 1.0:
        return False
    clear_covariance(state)
    state.x, state.y, state.z = hit.x, hit.y, hit.z
    state.cos_phi, state.sin_phi, state.omega, state.cot = hit.x / r, hit.y / r, 0.0, hit.z / r
    state.phi_phi = cuts.direction**2
    state.cot_cot = (cuts.vertex / r) ** 2
    return True


@kernel
def pair_state(a: Record, b: Record, cuts: SeedCuts, material: Material, state: Record) -> bool:
    """State at the second of two hits of a track from the beam axis; False if the two cannot be one."""
    dx, dy = b.x - a.x, b.y - a.y
    chord = math.sqrt(dx * dx + dy * dy)
    ra, rb = math.sqrt(a.x * a.x + a.y * a.y), math.sqrt(b.x * b.x + b.y * b.y)
    if chord < 1.0 or rb <= ra:
        return False
    # Circle through the axis and both hits.
    omega = 2.0 * (a.x * b.y - a.y * b.x) / (ra * rb * chord)
    half = 0.5 * omega * chord
    if abs(half) > 0.5:
        return False
    cot = (b.z - a.z) / (chord * math.asin(half) / half if abs(half) > 1e-6 else chord)
    if abs(a.z - cot * ra) > cuts.vertex + VERTEX_MARGIN:
        return False
    clear_covariance(state)
    # The direction at the second hit is that of the chord turned by half the angle of the arc.
    phi = math.atan2(dy, dx) + math.asin(half)
    state.x, state.y, state.z = b.x, b.y, b.z
    state.cos_phi, state.sin_phi, state.omega, state.cot = math.cos(phi), math.sin(phi), omega, cot
    # From hit errors, scattering on the first hit's layer and a beam spot of a tenth of a millimetre.
    cross_layer(state, material, False)
    scatter_phi, scatter_cot = state.phi_phi, state.cot_cot
    error = 2.0 * (0.5 * (b.xx + b.yy) + 0.5 * (a.xx + a.yy))
    along = b.zz + a.zz + cot * cot * error
    beam = 0.01 / (ra * ra)
    state.u_u = 0.5 * (b.xx + b.yy)
    state.phi_phi = 2.0 * scatter_phi + 4.0 * (error / (chord * chord) + beam)
    state.omega_omega = 4.0 * (scatter_phi + error / (chord * chord) + beam) / (rb * rb)
    state.w_w = b.zz + cot * cot * 0.5 * (b.xx + b.yy)
    state.cot_cot = 2.0 * scatter_cot + along / (chord * chord)
    return True


@kernel
def is_among(row: int, rows: Array, n: int) -> bool:
    """Whether a row is one of the first n."""
    found = False
    for i in range(n):
        found |= rows[i] == row
    return found


@kernel
def forget_layers(memory: Memory) -> None:
    """No layer has been searched."""
    for k in range(len(memory.searched)):
        memory.searched[k] = False


@kernel
def find_partners(first: int, event: Event, cuts: SeedCuts, memory: Memory, partners: Array) -> int:
    """Free hits on the next layers that a track from near the origin through a hit may have.

    Returns:
        the number of rows in ``partners``.
    """
    state, near, found = memory.trial[0], memory.near[0], memory.found
    if not origin_state(event.hits[first], cuts, state):
        return 0
    forget_layers(memory)
    memory.searched[event.tags[first].layer] = True
    n_partners = 0
    ahead = first_ahead(state, False, event.layers)
    sigma_cot = math.sqrt(state.cot_cot)
    reached = 0
    for _ in range(MAX_AHEAD):
        k, s, _running, ahead = next_layer(state, ahead, sigma_cot, memory.searched, event.layers)
        if k < 0:
            break
        copy_state(state, near)
        propagate_parameters(near, s)
        near.u_u, near.w_w = s * s * state.phi_phi, s * s * state.cot_cot
        n = lookup(near, event, k, 1.0, 60.0, found)
        reached += n > 0
        for i in range(n):
            if not event.tags[found[i]].used:
                partners[n_partners] = found[i]
                n_partners += 1
        if reached >= REACH or n_partners >= cuts.enough_partners:
            break
    return n_partners


@kernel
def best_track_from(
    first: int, event: Event, search: Search, cuts: SeedCuts, memory: Memory, rows: Array, hit_chi2: Array
) -> tuple[int, float]:
    """Most significant track that starts with a hit, into ``rows`` and ``hit_chi2``.

    Returns:
        its number of hits, 0 if there is none, and its significance.
    """
    partners = np.empty(REACH * MAX_FOUND, dtype=np.int64)
    n_partners = find_partners(first, event, cuts, memory, partners)
    if n_partners > cuts.max_partners:
        return 0, 0.0
    best, best_value = 0, 0.0
    trial = np.empty(MAX_HITS + 1, dtype=np.int64)
    trial_chi2 = np.empty(MAX_HITS + 1)
    tag = event.tags[first]
    tag.used = 1
    for i in range(n_partners):
        partner = partners[i]
        if best_value > cuts.significance + CLEAR:
            break
        if is_among(partner, rows, best):
            continue
        if not pair_state(event.hits[first], event.hits[partner], cuts, search.material, memory.trial[0]):
            continue
        n = 2
        trial[0], trial[n - 1] = first, partner
        event.tags[partner].used = 1
        forget_layers(memory)
        memory.searched[tag.layer] = memory.searched[event.tags[partner].layer] = True
        n = follow_end(
            memory.trial[0],
            False,
            trial,
            n,
            NO_GROUP,
            SEED_ATTACH_CHI2,
            cuts.max_holes,
            event,
            search,
            memory,
        )
        for j in range(1, n):
            event.tags[trial[j]].used = 0
        if n < cuts.min_followed:
            continue
        n, chi2 = fit_without_outliers(
            trial, n, 3, search.drop_chi2, event, search.material, memory, trial_chi2
        )
        if not math.isfinite(chi2):
            continue
        tag.used = 0
        n, chi2 = complete(trial, n, chi2, NO_GROUP, event, search, memory, trial_chi2)
        tag.used = 1
        if not chi2 < cuts.max_chi2 * (2 * n - 5):
            continue
        value = significance(trial, n, chi2, event, memory)
        if value > best_value:
            best, best_value = n, value
            for j in range(n):
                rows[j], hit_chi2[j] = trial[j], trial_chi2[j]
    tag.used = 0
    return best, best_value


@kernel
def new_tracks(
    order: Array,
    label: Array,
    label_chi2: Array,
    next_label: int,
    event: Event,
    search: Search,
    cuts: SeedCuts,
) -> None:
    """Tracks of free hits that pass the cuts; sets ``label`` and ``label_chi2`` of their hits.

    Args:
        order: rows of the hits that tracks may start with, in the order in which they are tried.
    """
    # The memory must be held while the search works on it without counts of references.
    memory = new_memory(len(event.layers))
    search_from(order, label, label_chi2, next_label, event, search, cuts, memory)


@kernel
def search_from(
    order: Array,
    label: Array,
    label_chi2: Array,
    next_label: int,
    event: Event,
    search: Search,
    cuts: SeedCuts,
    memory: Memory,
) -> None:
    """As `new_tracks`, with memory."""
    rows = np.empty(MAX_HITS + 1, dtype=np.int64)
    hit_chi2 = np.empty(MAX_HITS + 1)
    event, memory = uncounted(event), uncounted(memory)
    for first in order:
        if event.tags[first].used:
            continue
        n, value = best_track_from(first, event, search, cuts, memory, rows, hit_chi2)
        if n < cuts.min_hits or value < cuts.significance:
            continue
        for i in range(n):
            label[rows[i]], label_chi2[rows[i]] = next_label, hit_chi2[i]
            event.tags[rows[i]].used = 1
        next_label += 1
