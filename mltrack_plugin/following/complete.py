"""Fit a track without its outliers, complete it with further hits; and how significant a track is."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from mltrack_plugin.compiled import kernel
from mltrack_plugin.following.follow import attach_hits
from mltrack_plugin.following.search import Memory, Search, random_density
from mltrack_plugin.kalman.hit_grid import Event
from mltrack_plugin.kalman.material import Material
from mltrack_plugin.kalman.state import residual_covariance
from mltrack_plugin.kalman.track_fit import fit_track

Array = npt.NDArray[Any]

#: Times that a track is completed, at most.
MAX_TURNS = 3


@kernel
def fit_without_outliers(
    rows: Array,
    n: int,
    smallest: int,
    cut: float,
    event: Event,
    material: Material,
    memory: Memory,
    hit_chi2: Array,
) -> tuple[int, float]:
    """Fit a track and drop the worst outlier as long as its chi2 exceeds ``cut``.

    Returns:
        the number of hits left (dropped rows are put behind them) and chi2; infinite where no fit was possible or
        fewer than ``smallest`` hits would be left.
    """
    while True:
        total = fit_track(event.hits, rows, n, memory.fit, hit_chi2, material)
        if not math.isfinite(total):
            return n, math.inf
        worst = 0
        for i in range(1, n):
            if hit_chi2[i] > hit_chi2[worst]:
                worst = i
        if not hit_chi2[worst] > cut:
            return n, total
        if n - 1 < smallest:
            return n, math.inf
        row = rows[worst]
        for i in range(worst, n - 1):
            rows[i] = rows[i + 1]
        rows[n - 1] = row
        n -= 1


@kernel
def significance(rows: Array, n: int, chi2: float, event: Event, memory: Memory) -> float:
    """How much likelier the hits of a track are the track's than random ones, from its fit in ``memory`` with ``chi2``.

    The logarithm of the ratio of likelihoods: the sum over its hits of the logarithm of the density that the fit
    expects at the hit, given the hits before it, over that of random hits; hits where random ones are denser anyway
    count nothing but their chi2. Random hits have a mean ratio of 1, so a wrong start finds hits of this significance
    with a probability of at most about exp(-significance).
    """
    total = 0.0
    for i in range(n):
        predicted = memory.fit.predicted[i]
        tag = event.tags[rows[i]]
        layer = event.layers[tag.layer]
        a, b, c = residual_covariance(predicted, event.hits[rows[i]])
        # One over the largest density of the residual.
        area = 2.0 * math.pi * math.sqrt(max(a * c - b * b, 0.0))
        if layer.disc:
            area /= max(abs(predicted.cot), 0.1)
        expected = area * random_density(layer, tag.running)
        if expected < 1.0:
            total -= math.log(max(expected, 1e-9))
    return total - 0.5 * chi2


@kernel
def complete(
    rows: Array,
    n: int,
    chi2: float,
    group: int,
    event: Event,
    search: Search,
    memory: Memory,
    hit_chi2: Array,
) -> tuple[int, float]:
    """Attach hits to a track that has just been fitted with ``chi2``, until none is found; each improves the fit.

    Returns:
        as `fit_without_outliers`.
    """
    for _ in range(MAX_TURNS):
        before = n
        more = attach_hits(rows, n, group, event, search, memory)
        if more == n:
            break
        n, chi2 = fit_without_outliers(
            rows, more, 3, search.drop_chi2, event, search.material, memory, hit_chi2
        )
        if not math.isfinite(chi2) or n <= before:
            break
    return n, chi2
