"""Track candidates from groups of hits; candidates of several groups may share hits."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel, uncounted
from mltrack_plugin.following.complete import complete, fit_without_outliers, significance
from mltrack_plugin.following.search import MAX_HITS, Memory, Search, search_record
from mltrack_plugin.kalman.hit_grid import Event
from mltrack_plugin.kalman.material import Material
from mltrack_plugin.kalman.state import record_type
from mltrack_plugin.repair.core import find_core
from mltrack_plugin.repair.settings import RepairSettings

Array = npt.NDArray[Any]

#: Tracks that one group may turn out to be.
MAX_TRACKS = 6
#: How much a second hit on a layer is claimed less, in chi2.
SECOND_HIT = 8.0
#: What a hit adds to the score of a track, in units of chi2.
HIT_VALUE = 10.0
#: A candidate's hit: strength of the claim on it, smaller = stronger; chi2 given the other hits.
CLAIM = record_type("claim", "chi2")
#: A candidate: what decides which one gets a hit, larger = first; chi2; `complete.significance`.
CANDIDATE = record_type("score", "chi2", "significance")


class Repair(NamedTuple):
    """`RepairSettings` for kernels."""

    search: Search
    min_hits: float
    max_chi2: float
    #: Logarithm of the ratio of likelihoods that is asked for.
    significance: float
    scattering_factor: float


def repair_record(settings: RepairSettings, material: Material, n_groups: int) -> Repair:
    """The settings for an event of so many groups, each of which is a chance, with the material of the layers."""
    significance = 0.0
    if settings.significance is not None:
        significance = math.log(max(n_groups, 1)) + settings.significance
    return Repair(
        search_record(settings, material, settings.own_group_chi2),
        float(settings.min_hits),
        float(settings.max_chi2),
        significance,
        float(settings.scattering_factor),
    )


class Candidates(NamedTuple):
    """Track candidates and their hits."""

    #: (n + 1,) and (n_entries,) int64: candidate i has the hits ``rows[offsets[i]:offsets[i + 1]]``.
    offsets: Array
    rows: Array
    #: (n_entries,) CLAIM.
    hits: Array
    #: (n,) CANDIDATE.
    tracks: Array


@kernel
def enlarged(rows: Array, hits: Array) -> tuple[Array, Array]:
    """The same entries with twice the room."""
    n = len(rows)
    more_rows, more_hits = np.empty(2 * n, dtype=np.int64), np.empty(2 * n, CLAIM)
    for i in range(n):
        more_rows[i], more_hits[i].claim, more_hits[i].chi2 = rows[i], hits[i].claim, hits[i].chi2
    return more_rows, more_hits


@kernel
def claims(
    rows: Array, n: int, group: int, event: Event, search: Search, hit_chi2: Array, claim: Array
) -> None:
    """Turn the chi2 of a candidate's hits into the strength of its claim on them, smaller = stronger.

    Hits of its own group are claimed more, second hits on a layer less.
    """
    for i in range(n):
        tag = event.tags[rows[i]]
        claim[i] = hit_chi2[i]
        for j in range(n):
            if event.tags[rows[j]].layer == tag.layer and (
                hit_chi2[j] < hit_chi2[i] or (hit_chi2[j] == hit_chi2[i] and j < i)
            ):
                claim[i] = hit_chi2[i] + SECOND_HIT
        if tag.group == group:
            claim[i] -= search.own_group_chi2


@kernel
def members(rows: Array, n: int, group: int, event: Event) -> int:
    """How many of the first n rows are of a group."""
    count = 0
    for i in range(n):
        count += event.tags[rows[i]].group == group
    return count


@kernel
def find_candidates(
    offsets: Array, indices: Array, event: Event, repair: Repair, memory: Memory
) -> Candidates:
    """Track candidates from all groups.

    A group of which no helix explains half, or only badly, but which is one track if scattering were larger by
    ``scattering_factor``, is a candidate as it is: electrons that radiate, decays in flight.

    Args:
        offsets, indices: the groups, rows of hits.
    """
    search, factor = repair.search, repair.scattering_factor
    thick = Material(search.material.thickness * (factor * factor), search.material.pt_omega)
    event, memory = uncounted(event), uncounted(memory)
    tags = event.tags
    n_groups = len(offsets) - 1
    out_rows = np.empty(2 * len(indices) + 8 * MAX_HITS, dtype=np.int64)
    out_hits = np.empty(len(out_rows), CLAIM)
    out_offsets = np.zeros(MAX_TRACKS * n_groups + 1, dtype=np.int64)
    out_tracks = np.empty(MAX_TRACKS * n_groups, CANDIDATE)
    rows = np.empty(2 * MAX_HITS + 1, dtype=np.int64)
    hit_chi2 = np.empty(MAX_HITS + 1)
    claim = np.empty(MAX_HITS + 1)
    n_out = 0
    for g in range(n_groups):
        pool = indices[offsets[g] : offsets[g + 1]].copy()
        m = size = len(pool)
        for turn in range(MAX_TRACKS):
            n, chi2 = find_core(pool, m, event, search, memory, rows, hit_chi2)
            if n >= 3:
                n, chi2 = complete(rows, n, chi2, g, event, search, memory, hit_chi2)
            # Now, because another fit may follow.
            clear = significance(rows, n, chi2, event, memory) if math.isfinite(chi2) else 0.0
            as_it_is = False
            bad = 2 * members(rows, n, g, event) < size or chi2 > repair.max_chi2 * (2 * n - 5)
            if turn == 0 and bad and factor > 1.0 and size <= MAX_HITS:
                for i in range(size):
                    rows[MAX_HITS + i] = indices[offsets[g] + i]
                more, more_chi2 = fit_without_outliers(
                    rows[MAX_HITS:], size, size, search.attach_chi2, event, thick, memory, claim
                )
                as_it_is = more >= repair.min_hits and math.isfinite(more_chi2)
                if as_it_is:
                    n, chi2 = more, more_chi2
                    clear = significance(rows[MAX_HITS:], n, chi2, event, memory)
                    for i in range(n):
                        rows[i], hit_chi2[i] = rows[MAX_HITS + i], claim[i]
            if not math.isfinite(chi2):
                break
            start = out_offsets[n_out]
            if start + n > len(out_rows):
                out_rows, out_hits = enlarged(out_rows, out_hits)
            claims(rows, n, g, event, search, hit_chi2, claim)
            score = 0.0
            for i in range(n):
                out_rows[start + i] = rows[i]
                out_hits[start + i].claim, out_hits[start + i].chi2 = claim[i], hit_chi2[i]
                score += HIT_VALUE - claim[i]
            track = out_tracks[n_out]
            track.score, track.chi2, track.significance = score, chi2, clear
            n_out += 1
            out_offsets[n_out] = start + n
            if as_it_is:
                break
            for i in range(n):
                tags[rows[i]].used = 1
            left = 0
            for i in range(m):
                if not tags[pool[i]].used:
                    pool[left] = pool[i]
                    left += 1
            for i in range(n):
                tags[rows[i]].used = 0
            if left == m:
                break
            m = left
    total = out_offsets[n_out]
    return Candidates(out_offsets[: n_out + 1], out_rows[:total], out_hits[:total], out_tracks[:n_out])
