"""Vertices from the two answers of a vertex finder: one primary vertex, and the peaks among all bins."""

from __future__ import annotations

import numpy as np

from mltrack_plugin.event_data import Vertices
from mltrack_plugin.event_data.base import Array


def find_peaks(values: Array, threshold: float) -> Array:
    """Bins that are higher than the bin before them and not lower than the one behind, and reach the threshold.

    Args:
        values: (n,).
        threshold: smallest height of a peak.

    Returns:
        int64 bins, the highest first (equal ones in their order).

    >>> find_peaks(np.array([0.1, 0.9, 0.2, 0.6, 0.6, 0.3]), 0.5)
    array([1, 3])
    """
    edge = np.array([-np.inf])
    before = np.concatenate([edge, values[:-1]])
    behind = np.concatenate([values[1:], edge])
    peaks = np.flatnonzero((values > before) & (values >= behind) & (values >= threshold))
    return peaks[np.argsort(-values[peaks], kind="stable")]


def peak_positions(
    values: Array, peaks: Array, centres: Array, width: float, half: int = 1
) -> tuple[Array, Array]:
    """Position and uncertainty of each peak from the bins around it.

    Args:
        values: (n,) not negative.
        peaks: (m,) bins.
        centres: (n,) of the bins.
        width: of a bin.
        half: bins on either side that count.

    Returns:
        (m,) mean and (m,) standard deviation of the distribution in these bins; the latter includes that of a
        uniform distribution within a bin.
    """
    bins = peaks[:, None] + np.arange(-half, half + 1)
    inside = (bins >= 0) & (bins < len(values))
    bins = np.clip(bins, 0, len(values) - 1)
    weight = np.where(inside, values[bins], 0.0)
    total = weight.sum(axis=1)
    mean = (weight * centres[bins]).sum(axis=1) / total
    variance = (weight * (centres[bins] - mean[:, None]) ** 2).sum(axis=1) / total
    return mean, np.sqrt(variance + width**2 / 12.0)


def vertices_from_bins(primary: Array, vertex: Array, bin_width: float, threshold: float) -> Vertices:
    """The primary vertex, then all further peaks.

    Args:
        primary: (n,) probability of each bin to hold the primary vertex; they sum up to 1.
        vertex: (n,) probability of each bin to hold any vertex.
        bin_width: mm; the bins are centred at z = 0.
        threshold: smallest probability of a further vertex.

    Returns:
        Vertices: the weight of the primary one is its probability within one bin's distance, the weight of the others
        their probability. Peaks next to the primary vertex are itself.
    """
    n = len(primary)
    centres = (np.arange(n) - 0.5 * (n - 1)) * bin_width
    best = int(np.argmax(primary))
    peaks = find_peaks(vertex, threshold)
    peaks = peaks[np.abs(peaks - best) > 1]
    first_z, first_error = peak_positions(primary, np.array([best]), centres, bin_width, half=2)
    z, error = peak_positions(vertex, peaks, centres, bin_width)
    around = primary[max(0, best - 1) : best + 2].sum()
    return Vertices(
        z=np.append(first_z, z),
        z_error=np.append(first_error, error),
        weight=np.append(min(1.0, float(around)), vertex[peaks]),
    )
