"""Repair of all groups of an event."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.repair.core import find_core
from mltrack_plugin.repair.follow import (
    DROP_CHI2,
    LOYALTY,
    MAX_CHI2,
    MAX_HITS,
    MIN_HITS,
    Work,
    complete,
    fit_and_drop,
)
from mltrack_plugin.repair.kernels import kernel
from mltrack_plugin.repair.layers import BLOCKED, GROUP, LAYER, TABLE, TAGS, Event
from mltrack_plugin.repair.leftover import new_tracks

Array = npt.NDArray[Any]

#: Tracks that one group may turn out to be.
MAX_TRACKS = 6
#: How much a second hit on a layer is claimed less, in chi2.
SECOND_HIT = 8.0
#: What a hit adds to the score of a track, in units of half its chi2.
HIT_VALUE = 10.0


@kernel
def doubled(rows: Array, chi2: Array) -> tuple[Array, Array]:
    """The same entries with twice the room."""
    more_rows, more_chi2 = np.empty(2 * len(rows), dtype=np.int64), np.empty(2 * len(rows))
    for i in range(len(rows)):
        more_rows[i], more_chi2[i] = rows[i], chi2[i]
    return more_rows, more_chi2


@kernel
def claims(
    rows: Array, n: int, mine: int, event: Event, settings: Array, hit_chi2: Array, strength: Array
) -> None:
    """Turn the chi2 of a candidate's hits into the strength of its claim on them, smaller = stronger.

    Hits of its own group are claimed more, second hits on a layer less.
    """
    for i in range(n):
        layer = event[TAGS][rows[i], LAYER]
        strength[i] = hit_chi2[i]
        for j in range(n):
            if event[TAGS][rows[j], LAYER] == layer and (
                hit_chi2[j] < hit_chi2[i] or (hit_chi2[j] == hit_chi2[i] and j < i)
            ):
                strength[i] = hit_chi2[i] + SECOND_HIT
        if event[TAGS][rows[i], GROUP] == mine:
            strength[i] -= settings[LOYALTY]


@kernel
def candidates(
    offsets: Array, indices: Array, event: Event, settings: Array, work: Work
) -> tuple[Array, Array, Array, Array]:
    """Track candidates from all groups; they may share hits.

    Args:
        offsets, indices: the groups, rows of hits.

    Returns:
        offsets of the candidates, their rows, chi2 of each hit given the others, score of each candidate.
    """
    size = 2 * len(indices) + 8 * MAX_HITS
    out_rows = np.empty(size, dtype=np.int64)
    out_chi2 = np.empty(size)
    n_groups = len(offsets) - 1
    out_offsets = np.zeros(MAX_TRACKS * n_groups + 1, dtype=np.int64)
    out_score = np.empty(MAX_TRACKS * n_groups)
    rows = np.empty(MAX_HITS + 1, dtype=np.int64)
    hit_chi2 = np.empty(MAX_HITS + 1)
    strength = np.empty(MAX_HITS + 1)
    n_out = 0
    for g in range(n_groups):
        pool = indices[offsets[g] : offsets[g + 1]].copy()
        m = len(pool)
        for _ in range(MAX_TRACKS):
            n = find_core(pool, m, event, settings, work, rows, hit_chi2)
            if n < 3:
                break
            n = complete(rows, n, g, event, settings, work)
            n, chi2 = fit_and_drop(rows, n, 3, settings[DROP_CHI2], event, settings, work, hit_chi2)
            if not math.isfinite(chi2):
                break
            start = out_offsets[n_out]
            if start + n > len(out_rows):
                out_rows, out_chi2 = doubled(out_rows, out_chi2)
            claims(rows, n, g, event, settings, hit_chi2, strength)
            value = 0.0
            for i in range(n):
                out_rows[start + i], out_chi2[start + i] = rows[i], strength[i]
                value += HIT_VALUE - strength[i]
            out_score[n_out] = value
            n_out += 1
            out_offsets[n_out] = start + n
            for i in range(n):
                event[TAGS][rows[i], BLOCKED] = 1
            left = 0
            for i in range(m):
                if not event[TAGS][pool[i], BLOCKED]:
                    pool[left] = pool[i]
                    left += 1
            for i in range(n):
                event[TAGS][rows[i], BLOCKED] = 0
            if left == m:
                break
            m = left
    total = out_offsets[n_out]
    return out_offsets[: n_out + 1], out_rows[:total], out_chi2[:total], out_score[:n_out]


@kernel
def compete(
    offsets: Array, rows: Array, hit_chi2: Array, order: Array, n_hits: int, min_hits: int
) -> tuple[Array, Array]:
    """Share hits among candidates in their ``order``; a hit changes hands if it fits the later one clearly better.

    Returns:
        owner (n_hits,) of each hit, -1 = none, and which candidates are accepted.
    """
    owner = np.full(n_hits, -1, dtype=np.int64)
    owner_chi2 = np.zeros(n_hits)
    accepted = np.zeros(len(order), dtype=np.bool_)
    for c in order:
        free = 0
        for i in range(offsets[c], offsets[c + 1]):
            free += owner[rows[i]] < 0
        n = offsets[c + 1] - offsets[c]
        if free < min_hits or 2 * free <= n:
            continue
        accepted[c] = True
        for i in range(offsets[c], offsets[c + 1]):
            row = rows[i]
            if owner[row] < 0 or hit_chi2[i] + 6.0 < owner_chi2[row]:
                owner[row] = c
                owner_chi2[row] = hit_chi2[i]
    return owner, accepted


@kernel
def finish(
    owner: Array,
    accepted: Array,
    offsets: Array,
    rows: Array,
    event: Event,
    settings: Array,
    work: Work,
) -> tuple[Array, Array]:
    """Last fit of the accepted candidates, with free hits attached.

    Returns:
        label (n_hits,) of each hit, -1 = none, and its chi2 given the other hits of the track.
    """
    n_hits = len(owner)
    label = np.full(n_hits, -1, dtype=np.int64)
    label_chi2 = np.zeros(n_hits)
    for row in range(n_hits):
        event[TAGS][row, GROUP] = owner[row]
        event[TAGS][row, BLOCKED] = 1 if owner[row] >= 0 else 0
    track = np.empty(MAX_HITS + 1, dtype=np.int64)
    hit_chi2 = np.empty(MAX_HITS + 1)
    for c in range(len(accepted)):
        if not accepted[c]:
            continue
        n = 0
        for i in range(offsets[c], offsets[c + 1]):
            if owner[rows[i]] == c:
                track[n] = rows[i]
                n += 1
        if n < 3:
            continue
        n, chi2 = fit_and_drop(track, n, 3, settings[DROP_CHI2], event, settings, work, hit_chi2)
        if not math.isfinite(chi2):
            continue
        more = complete(track, n, c, event, settings, work)
        if more > n:
            n, chi2 = fit_and_drop(track, more, 3, settings[DROP_CHI2], event, settings, work, hit_chi2)
        if not math.isfinite(chi2) or n < settings[MIN_HITS] or chi2 > settings[MAX_CHI2] * (2 * n - 5):
            continue
        for i in range(n):
            label[track[i]] = c
            label_chi2[track[i]] = hit_chi2[i]
            event[TAGS][track[i], BLOCKED] = 1
    return label, label_chi2


def repair_event(
    offsets: Array, indices: Array, event: Event, settings: Array, work: Work, seed_hits: int
) -> tuple[Array, Array]:
    """Better groups from groups, and new tracks of ``seed_hits`` or more hits that are left over (0 = none).

    Returns:
        as `finish`.
    """
    event[TAGS][indices, GROUP] = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    c_offsets, c_rows, c_chi2, score = candidates(offsets, indices, event, settings, work)
    order = np.argsort(-score, kind="stable")
    owner, accepted = compete(c_offsets, c_rows, c_chi2, order, len(event[TAGS]), int(settings[MIN_HITS]))
    label, label_chi2 = finish(owner, accepted, c_offsets, c_rows, event, settings, work)
    if seed_hits:
        free = np.flatnonzero(label < 0)
        event[TAGS][:, BLOCKED] = label >= 0
        distance = (event[TABLE][free, :3] ** 2).sum(axis=1)
        start = free[np.argsort(distance, kind="stable")]
        new_tracks(start, label, label_chi2, len(accepted), seed_hits, event, settings, work)
    return label, label_chi2
