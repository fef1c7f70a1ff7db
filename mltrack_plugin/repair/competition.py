"""Repair of all groups of an event."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel, uncounted
from mltrack_plugin.following.complete import completed, fit_and_drop, significance
from mltrack_plugin.following.follow import (
    ATTACH_CHI2,
    DROP_CHI2,
    LOOSE,
    LOYALTY,
    MAX_CHI2,
    MAX_HITS,
    MIN_HITS,
    SIGNIFICANCE,
    THICKNESS,
    Work,
    borrowed_work,
)
from mltrack_plugin.kalman.hit_grid import BLOCKED, GROUP, LAYER, TAGS, Event, borrowed
from mltrack_plugin.repair.core import find_core

Array = npt.NDArray[Any]

#: Tracks that one group may turn out to be.
MAX_TRACKS = 6
#: How much a second hit on a layer is claimed less, in chi2.
SECOND_HIT = 8.0
#: A hit changes hands for a claim that is stronger by this chi2.
CLEARLY = 6.0
#: Columns of a candidate's hits: strength of the claim, smaller = stronger; chi2 given the other hits.
CLAIM, CHI2 = 0, 1
#: Further column of a candidate's totals: its significance.
CLEAR = 2
#: What a hit adds to the score of a track, in units of chi2.
HIT_VALUE = 10.0


@kernel
def doubled(rows: Array, values: Array) -> tuple[Array, Array]:
    """The same entries with twice the room."""
    n = len(rows)
    more_rows, more_values = np.empty(2 * n, dtype=np.int64), np.empty((2 * n, 2))
    for i in range(n):
        more_rows[i], more_values[i, CLAIM], more_values[i, CHI2] = rows[i], values[i, CLAIM], values[i, CHI2]
    return more_rows, more_values


@kernel
def claims(
    rows: Array, n: int, mine: int, event: Event, settings: Array, hit_chi2: Array, claim: Array
) -> None:
    """Turn the chi2 of a candidate's hits into the strength of its claim on them, smaller = stronger.

    Hits of its own group are claimed more, second hits on a layer less.
    """
    for i in range(n):
        layer = event[TAGS][rows[i], LAYER]
        claim[i] = hit_chi2[i]
        for j in range(n):
            if event[TAGS][rows[j], LAYER] == layer and (
                hit_chi2[j] < hit_chi2[i] or (hit_chi2[j] == hit_chi2[i] and j < i)
            ):
                claim[i] = hit_chi2[i] + SECOND_HIT
        if event[TAGS][rows[i], GROUP] == mine:
            claim[i] -= settings[LOYALTY]


@kernel
def members(rows: Array, n: int, mine: int, event: Event) -> int:
    """How many of the first n rows are of a group."""
    count = 0
    for i in range(n):
        count += event[TAGS][rows[i], GROUP] == mine
    return count


@kernel
def candidates(
    offsets: Array, indices: Array, event: Event, settings: Array, work: Work
) -> tuple[Array, Array, Array, Array]:
    """Track candidates from all groups; they may share hits.

    A group of which no helix explains half, or only badly, but which is one track if scattering were larger by the
    setting ``loose``, is a candidate as it is: electrons that radiate, decays in flight.

    Args:
        offsets, indices: the groups, rows of hits.

    Returns:
        offsets of the candidates, their rows, (n_rows, 2) CLAIM and CHI2 of each hit, (n_candidates, 3) score,
        CHI2 and CLEAR.
    """
    loose = settings.copy()
    loose[THICKNESS] *= settings[LOOSE] * settings[LOOSE]
    event, work, settings = borrowed(event), borrowed_work(work), uncounted(settings)
    tags = event[TAGS]
    out_rows = np.empty(2 * len(indices) + 8 * MAX_HITS, dtype=np.int64)
    out_values = np.empty((len(out_rows), 2))
    n_groups = len(offsets) - 1
    out_offsets = np.zeros(MAX_TRACKS * n_groups + 1, dtype=np.int64)
    out_totals = np.empty((MAX_TRACKS * n_groups, 3))
    rows = np.empty(2 * MAX_HITS + 1, dtype=np.int64)
    hit_chi2 = np.empty(MAX_HITS + 1)
    claim = np.empty(MAX_HITS + 1)
    n_out = 0
    for g in range(n_groups):
        pool = indices[offsets[g] : offsets[g + 1]].copy()
        m = size = len(pool)
        for turn in range(MAX_TRACKS):
            n, chi2 = find_core(pool, m, event, settings, work, rows, hit_chi2)
            if n >= 3:
                n, chi2 = completed(rows, n, chi2, g, event, settings, work, hit_chi2)
            # Now, because another fit may follow.
            clear = significance(rows, n, chi2, event, settings, work) if math.isfinite(chi2) else 0.0
            as_it_is = False
            bad = 2 * members(rows, n, g, event) < size or chi2 > settings[MAX_CHI2] * (2 * n - 5)
            if turn == 0 and bad and settings[LOOSE] > 1.0 and size <= MAX_HITS:
                for i in range(size):
                    rows[MAX_HITS + i] = indices[offsets[g] + i]
                more, more_chi2 = fit_and_drop(
                    rows[MAX_HITS:], size, size, settings[ATTACH_CHI2], event, loose, work, claim
                )
                as_it_is = more >= settings[MIN_HITS] and math.isfinite(more_chi2)
                if as_it_is:
                    n, chi2 = more, more_chi2
                    clear = significance(rows[MAX_HITS:], n, chi2, event, loose, work)
                    for i in range(n):
                        rows[i], hit_chi2[i] = rows[MAX_HITS + i], claim[i]
            if not math.isfinite(chi2):
                break
            start = out_offsets[n_out]
            if start + n > len(out_rows):
                out_rows, out_values = doubled(out_rows, out_values)
            claims(rows, n, g, event, settings, hit_chi2, claim)
            score = 0.0
            for i in range(n):
                out_rows[start + i] = rows[i]
                out_values[start + i, CLAIM], out_values[start + i, CHI2] = claim[i], hit_chi2[i]
                score += HIT_VALUE - claim[i]
            out_totals[n_out, CLAIM], out_totals[n_out, CHI2] = score, chi2
            out_totals[n_out, CLEAR] = clear
            n_out += 1
            out_offsets[n_out] = start + n
            if as_it_is:
                break
            for i in range(n):
                tags[rows[i], BLOCKED] = 1
            left = 0
            for i in range(m):
                if not tags[pool[i], BLOCKED]:
                    pool[left] = pool[i]
                    left += 1
            for i in range(n):
                tags[rows[i], BLOCKED] = 0
            if left == m:
                break
            m = left
    total = out_offsets[n_out]
    return out_offsets[: n_out + 1], out_rows[:total], out_values[:total], out_totals[:n_out]


@kernel
def compete(
    offsets: Array, rows: Array, values: Array, order: Array, n_hits: int, min_hits: int
) -> tuple[Array, Array]:
    """Share hits among candidates in their ``order``; a hit changes hands if it fits the later one clearly better.

    Returns:
        owner (n_hits,) of each hit, -1 = none, and which candidates are accepted.
    """
    owner = np.full(n_hits, -1, dtype=np.int64)
    strongest = np.zeros(n_hits)
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
            if owner[row] < 0 or values[i, CLAIM] + CLEARLY < strongest[row]:
                owner[row] = c
                strongest[row] = values[i, CLAIM]
    return owner, accepted


@kernel
def finish(
    owner: Array,
    accepted: Array,
    taken: Array,
    offsets: Array,
    rows: Array,
    values: Array,
    totals: Array,
    event: Event,
    settings: Array,
    work: Work,
) -> tuple[Array, Array]:
    """Last fit of those accepted candidates that lost hits to others, with free hits attached; and the last cuts.

    Returns:
        label (n_hits,) of each hit, -1 = none, and its chi2 given the other hits of the track.
    """
    event, work, settings = borrowed(event), borrowed_work(work), uncounted(settings)
    n_hits = len(owner)
    label = np.full(n_hits, -1, dtype=np.int64)
    label_chi2 = np.zeros(n_hits)
    for row in range(n_hits):
        event[TAGS][row, GROUP] = owner[row]
        event[TAGS][row, BLOCKED] = 1 if owner[row] >= 0 or taken[row] else 0
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
        chi2, clear = totals[c, CHI2], totals[c, CLEAR]
        if n == offsets[c + 1] - offsets[c]:
            for i in range(n):
                hit_chi2[i] = values[offsets[c] + i, CHI2]
        else:
            if n < 3:
                continue
            n, chi2 = fit_and_drop(track, n, 3, settings[DROP_CHI2], event, settings, work, hit_chi2)
            if not math.isfinite(chi2):
                continue
            n, chi2 = completed(track, n, chi2, c, event, settings, work, hit_chi2)
            clear = significance(track, n, chi2, event, settings, work)
        if not math.isfinite(chi2) or n < settings[MIN_HITS] or chi2 > settings[MAX_CHI2] * (2 * n - 5):
            continue
        if clear < settings[SIGNIFICANCE]:
            continue
        for i in range(n):
            label[track[i]] = c
            label_chi2[track[i]] = hit_chi2[i]
            event[TAGS][track[i], BLOCKED] = 1
    return label, label_chi2


def repair_event(
    offsets: Array, indices: Array, taken: Array, event: Event, settings: Array, work: Work
) -> tuple[Array, Array]:
    """Better groups from groups.

    Args:
        offsets, indices: the groups, rows of hits.
        taken: (n_hits,) bool: hits that are not to be had; on no group.

    Returns:
        as `finish`.
    """
    event[TAGS][indices, GROUP] = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    c_offsets, c_rows, values, totals = candidates(offsets, indices, event, settings, work)
    order = np.argsort(-totals[:, CLAIM], kind="stable")
    owner, accepted = compete(c_offsets, c_rows, values, order, len(event[TAGS]), int(settings[MIN_HITS]))
    return finish(owner, accepted, taken, c_offsets, c_rows, values, totals, event, settings, work)
