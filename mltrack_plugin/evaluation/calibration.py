"""Whether probabilities are what they say: reliability and expected calibration error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Predicted probability and observed frequency in bins of the predicted one; NaN in empty bins."""

    #: (bins + 1,) float64: borders of the bins, from 0 to 1.
    edges: Array
    #: (bins,) int64: predictions in each bin.
    count: Array
    #: (bins,) float64: mean predicted probability.
    predicted: Array
    #: (bins,) float64: fraction of the predictions that came true.
    observed: Array


def reliability(probability: npt.ArrayLike, outcome: npt.ArrayLike, bins: int = 20) -> Reliability:
    """Reliability of probabilities in bins of equal width; the last one includes 1.

    Args:
        probability: (n,) predictions in [0, 1].
        outcome: (n,) bool: whether what was predicted is true.
        bins: number of bins.

    Raises:
        EventDataError: if the lengths differ, or a probability is not in [0, 1].
        ValueError: if ``bins`` is not positive.

    >>> r = reliability([0.1, 0.2, 0.9, 1.0], [False, True, True, True], bins=2)
    >>> r.count.tolist(), r.predicted.round(2).tolist(), r.observed.tolist()
    ([2, 2], [0.15, 0.95], [0.5, 1.0])
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins}")
    values = np.asarray(probability, dtype=np.float64)
    true = np.asarray(outcome, dtype=bool)
    if values.ndim != 1 or values.shape != true.shape:
        raise EventDataError(
            f"one outcome per probability is needed; got shapes {values.shape} and {true.shape}"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise EventDataError("probabilities must be in [0, 1]")
    of_bin = np.minimum((values * bins).astype(np.int64), bins - 1)
    count = np.bincount(of_bin, minlength=bins)
    with np.errstate(invalid="ignore"):
        predicted = np.bincount(of_bin, values, bins) / count
        observed = np.bincount(of_bin, true, bins) / count
    return Reliability(np.linspace(0.0, 1.0, bins + 1), count, predicted, observed)


def expected_calibration_error(probability: npt.ArrayLike, outcome: npt.ArrayLike, bins: int = 20) -> float:
    """Mean over the predictions of |observed frequency - mean predicted probability| of their bin; NaN for none.

    Guo et al., "On calibration of modern neural networks" (2017), with bins of equal width. 0 = calibrated. A perfect
    model has a finite error, too, from the statistics of its bins: about the square root of bins / n.

    Args:
        probability, outcome, bins: as for :func:`reliability`, which raises the same errors.

    >>> round(expected_calibration_error([0.1, 0.2, 0.9, 1.0], [False, True, True, True], bins=2), 3)
    0.2
    """
    found = reliability(probability, outcome, bins)
    filled = found.count > 0
    if not filled.any():
        return float("nan")
    gap = np.abs(found.observed - found.predicted)[filled]
    return float(np.average(gap, weights=found.count[filled]))
