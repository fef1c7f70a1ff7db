"""Uncertainties: binomial intervals for counts, a bootstrap over events for scores."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mltrack_plugin.evaluation.matching import Array

#: Central probability of one standard deviation of a normal distribution.
ONE_SIGMA = 0.6826894921370859
#: Seed of the bootstrap: the same result from the same events.
BOOTSTRAP_SEED = 20180501
BOOTSTRAP_RESAMPLES = 1000


def clopper_pearson(
    passed: npt.ArrayLike, total: npt.ArrayLike, level: float = ONE_SIGMA
) -> tuple[Array, Array]:
    """Central Clopper-Pearson interval of a binomial fraction, from quantiles of the beta distribution.

    It covers at least ``level`` for every true fraction. Peer: the default of ROOT's ``TEfficiency``.

    Args:
        passed: (n,) counts, 0 <= passed <= total.
        total: (n,) counts.
        level: central probability.

    Returns:
        (n,) lower and (n,) upper ends in [0, 1]; NaN where ``total`` is 0.

    >>> low, high = clopper_pearson([8], [10])
    >>> float(low[0].round(3)), float(high[0].round(3))
    (0.595, 0.928)
    """
    from scipy.special import betaincinv

    k, n = np.broadcast_arrays(np.asarray(passed, dtype=np.float64), np.asarray(total, dtype=np.float64))
    tail = (1 - level) / 2
    # The ends 0 and 1 are no beta quantiles; the arguments are kept valid there and the result replaced.
    low = np.where(k > 0, betaincinv(np.maximum(k, 1), np.maximum(n - k, 0) + 1, tail), 0.0)
    high = np.where(k < n, betaincinv(k + 1, np.maximum(n - k, 1), 1 - tail), 1.0)
    empty = n == 0
    return np.where(empty, np.nan, low), np.where(empty, np.nan, high)


def bootstrap_fractions(
    numerators: Array,
    denominators: Array,
    level: float = ONE_SIGMA,
    resamples: int = BOOTSTRAP_RESAMPLES,
    seed: int = BOOTSTRAP_SEED,
) -> tuple[Array, Array]:
    """Percentile bootstrap over events of sum(numerators) / sum(denominators).

    Events, not hits, are drawn with replacement, because the hits of one event are not independent. The
    order of the events has no influence: they are sorted first.

    Args:
        numerators: (n_events, k).
        denominators: (n_events, k).
        level: central probability.
        resamples: number of bootstrap samples.
        seed: of the random generator.

    Returns:
        (k,) lower and (k,) upper ends; NaN with fewer than two events (no spread to see) or where every
        denominator is 0.
    """
    n, k = numerators.shape
    if n < 2:
        return np.full(k, np.nan), np.full(k, np.nan)
    sums = resampled_sums(np.concatenate([numerators, denominators], axis=1), resamples, seed)
    return central_interval(sums[:, :k], sums[:, k:], level)


def resampled_sums(rows: Array, resamples: int = BOOTSTRAP_RESAMPLES, seed: int = BOOTSTRAP_SEED) -> Array:
    """Sums of the rows of as many events as there are, drawn with replacement.

    All columns of an event are drawn together, so quantities that are correlated within events stay so, e.g. in
    the difference of two ratios. The order of the events has no influence: they are sorted first.

    Args:
        rows: (n_events, k) with at least one event.
        resamples: number of bootstrap samples.
        seed: of the random generator.

    Returns:
        (resamples, k) float64.
    """
    n = len(rows)
    ordered = rows[np.lexsort(rows.T)]
    rng = np.random.default_rng(seed)
    draws = (np.bincount(rng.integers(0, n, n), minlength=n).astype(np.float64) for _ in range(resamples))
    return np.stack([draw @ ordered for draw in draws])


def central_interval(numerators: Array, denominators: Array, level: float = ONE_SIGMA) -> tuple[Array, Array]:
    """Central interval of the quotients of bootstrap samples.

    Args:
        numerators: (resamples, k).
        denominators: (resamples, k); samples in which it is 0 have no quotient and are left out.
        level: central probability.

    Returns:
        (k,) lower and (k,) upper ends; NaN where every denominator is 0.
    """
    k = numerators.shape[1]
    low, high = np.full(k, np.nan), np.full(k, np.nan)
    tail = (1 - level) / 2
    for i in range(k):
        filled = denominators[:, i] > 0
        if filled.any():
            values = numerators[filled, i] / denominators[filled, i]
            low[i], high[i] = np.quantile(values, [tail, 1 - tail])
    return low, high
