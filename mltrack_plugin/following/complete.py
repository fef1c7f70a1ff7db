"""Fit a track, take off what does not fit, complete it; and how clear a track is."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from mltrack_plugin.compiled import kernel
from mltrack_plugin.following.follow import (
    ARCS,
    BEND,
    BUFFER,
    DROP_CHI2,
    RECORDS,
    STATE_ROW,
    THICKNESS,
    Work,
    complete,
    random_density,
)
from mltrack_plugin.kalman.hit_grid import DISC, LAYER, LAYERS, RUNNING, TABLE, TAGS, Event
from mltrack_plugin.kalman.state import projected
from mltrack_plugin.kalman.track_fit import fit_track

Array = npt.NDArray[Any]

#: Times that a track is completed, at most.
MAX_TURNS = 3


@kernel
def fit_and_drop(
    rows: Array, n: int, smallest: int, cut: float, event: Event, settings: Array, work: Work, hit_chi2: Array
) -> tuple[int, float]:
    """Fit a track and take off the worst hit as long as its chi2 exceeds ``cut``.

    Returns:
        the number of hits left (dropped rows are moved behind them) and chi2; infinite where no fit was possible or
        fewer than ``smallest`` hits would be left.
    """
    state, s = work[BUFFER][STATE_ROW], work[BUFFER][ARCS]
    while True:
        total = fit_track(
            event[TABLE], rows, n, state, work[RECORDS], hit_chi2, s, settings[THICKNESS], settings[BEND]
        )
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
def significance(rows: Array, n: int, chi2: float, event: Event, settings: Array, work: Work) -> float:
    """How much likelier the hits of a track are the track's than random ones, from the fit in ``work`` with ``chi2``.

    The logarithm of the ratio of likelihoods: the sum over its hits of the logarithm of the density that the fit
    expects at the hit, given the hits before it, over that of random hits; hits where random ones are denser anyway
    count nothing but their chi2. Random hits have a mean ratio of 1, so a wrong start finds hits of this significance
    with a probability of at most about exp(-significance).
    """
    total = 0.0
    for i in range(n):
        record = work[RECORDS][i]
        hit = event[TABLE][rows[i]]
        layer = event[LAYERS][event[TAGS][rows[i], LAYER]]
        nn, nt, tt = projected(record, hit)
        a, b, c = record[8] + nn, record[11] + nt, record[20] + tt
        # One over the largest density of the residual.
        area = 2.0 * math.pi * math.sqrt(max(a * c - b * b, 0.0))
        if layer[DISC] > 0.0:
            area /= max(abs(record[6]), 0.1)
        expected = area * random_density(layer, hit[RUNNING])
        if expected < 1.0:
            total -= math.log(max(expected, 1e-9))
    return total - 0.5 * chi2


@kernel
def completed(
    rows: Array, n: int, chi2: float, mine: int, event: Event, settings: Array, work: Work, hit_chi2: Array
) -> tuple[int, float]:
    """Complete a track that has just been fitted with ``chi2``, until nothing is found; each hit betters the fit.

    Returns:
        as `fit_and_drop`.
    """
    for _ in range(MAX_TURNS):
        before = n
        more = complete(rows, n, mine, event, settings, work)
        if more == n:
            break
        n, chi2 = fit_and_drop(rows, more, 3, settings[DROP_CHI2], event, settings, work, hit_chi2)
        if not math.isfinite(chi2) or n <= before:
            break
    return n, chi2
