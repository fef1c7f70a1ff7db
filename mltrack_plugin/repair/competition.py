"""Ambiguity resolution: track candidates from all groups compete for hits, and the winners are fitted."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel, uncounted
from mltrack_plugin.following.complete import complete, fit_without_outliers, significance
from mltrack_plugin.following.search import MAX_HITS, Memory, new_memory
from mltrack_plugin.kalman.hit_grid import Event
from mltrack_plugin.repair.candidates import Candidates, Repair, find_candidates

Array = npt.NDArray[Any]

#: A hit changes hands for a claim that is stronger by this chi2.
CLEARLY = 6.0


@kernel
def compete(found: Candidates, order: Array, n_hits: int, min_hits: float) -> tuple[Array, Array]:
    """Share hits among candidates in their ``order``; a hit changes hands if it fits the later one clearly better.

    Returns:
        owner (n_hits,) of each hit, -1 = none, and which candidates are accepted.
    """
    owner = np.full(n_hits, -1, dtype=np.int64)
    strongest = np.zeros(n_hits)
    accepted = np.zeros(len(order), dtype=np.bool_)
    offsets, rows, hits = found.offsets, found.rows, found.hits
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
            if owner[row] < 0 or hits[i].claim + CLEARLY < strongest[row]:
                owner[row] = c
                strongest[row] = hits[i].claim
    return owner, accepted


@kernel
def finish(
    owner: Array,
    accepted: Array,
    taken: Array,
    found: Candidates,
    event: Event,
    repair: Repair,
    memory: Memory,
) -> tuple[Array, Array]:
    """Last fit of those accepted candidates that lost hits to others, with free hits attached; and the last cuts.

    Returns:
        label (n_hits,) of each hit, -1 = none, and its chi2 given the other hits of the track.
    """
    event, memory = uncounted(event), uncounted(memory)
    search, offsets, rows = repair.search, found.offsets, found.rows
    n_hits = len(owner)
    label = np.full(n_hits, -1, dtype=np.int64)
    label_chi2 = np.zeros(n_hits)
    for row in range(n_hits):
        tag = event.tags[row]
        tag.group = owner[row]
        tag.used = 1 if owner[row] >= 0 or taken[row] else 0
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
        chi2, clear = found.tracks[c].chi2, found.tracks[c].significance
        if n == offsets[c + 1] - offsets[c]:
            for i in range(n):
                hit_chi2[i] = found.hits[offsets[c] + i].chi2
        else:
            if n < 3:
                continue
            n, chi2 = fit_without_outliers(
                track, n, 3, search.drop_chi2, event, search.material, memory, hit_chi2
            )
            if not math.isfinite(chi2):
                continue
            n, chi2 = complete(track, n, chi2, c, event, search, memory, hit_chi2)
            clear = significance(track, n, chi2, event, memory)
        if not math.isfinite(chi2) or n < repair.min_hits or chi2 > repair.max_chi2 * (2 * n - 5):
            continue
        if clear < repair.significance:
            continue
        for i in range(n):
            label[track[i]] = c
            label_chi2[track[i]] = hit_chi2[i]
            event.tags[track[i]].used = 1
    return label, label_chi2


@kernel
def repair_event(
    offsets: Array, indices: Array, taken: Array, event: Event, repair: Repair
) -> tuple[Array, Array]:
    """Better groups from groups.

    Args:
        offsets, indices: the groups, rows of hits.
        taken: (n_hits,) bool: hits that take no part; on no group.

    Returns:
        as `finish`.
    """
    for g in range(len(offsets) - 1):
        for row in indices[offsets[g] : offsets[g + 1]]:
            event.tags[row].group = g
    memory = new_memory(len(event.layers))
    found = find_candidates(offsets, indices, event, repair, memory)
    n = len(found.tracks)
    score = np.empty(n)
    for c in range(n):
        score[c] = -found.tracks[c].score
    order = np.argsort(score, kind="mergesort")
    owner, accepted = compete(found, order, len(event.tags), repair.min_hits)
    return finish(owner, accepted, taken, found, event, repair, memory)
