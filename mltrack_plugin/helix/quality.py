"""Per-hit membership and per-track quality.

The weight of a hit is that of the deterministic annealing filter at temperature 1 (R. Frühwirth,
A. Strandlie, Comput. Phys. Commun. 120 (1999) 197): a soft version of an outlier cut.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def hit_compatibility(hit_chi2: npt.ArrayLike, cut: float = 16.0) -> Array:
    """Weight of each hit in (0, 1], given its chi2 with two degrees of freedom.

    1 / (1 + exp((chi2 - cut) / 2)): close to 1 for a hit on its track, 1/2 at ``cut``, falling to 0.
    NaN (no fit) gives 1: nothing speaks against the hit.

    Args:
        hit_chi2: (n,).
        cut: chi2 at which a hit is as likely an outlier; 16 keeps 99.97% of true hits above 1/2.
    """
    chi2 = np.asarray(hit_chi2, dtype=np.float64)
    weight = 0.5 - 0.5 * np.tanh((chi2 - cut) / 4)
    return np.where(np.isnan(chi2), 1.0, weight)


def track_quality(
    offsets: npt.ArrayLike,
    membership: npt.ArrayLike,
    chi2: npt.ArrayLike,
    ndf: npt.ArrayLike,
    chi2_scale: float = 1.0,
) -> Array:
    """Confidence (n_tracks,) in [0, 1] that a track is one particle's.

    Mean membership of its hits, times 1 / (1 + exp((chi2 - cut) / 2)) where ``cut`` is the value that
    0.1% of good tracks with this ndf exceed. It rises with every membership and falls with chi2.
    Without a fit (chi2 NaN or ndf 0) the second factor is 1.

    Args:
        offsets: (n_tracks + 1,); track i owns ``membership[offsets[i]:offsets[i + 1]]``, never empty.
        membership: (n_entries,) in [0, 1].
        chi2: (n_tracks,).
        ndf: (n_tracks,).
        chi2_scale: divides chi2; above 1 where the chi2 of true tracks has long tails, as from scattering.
    """
    bounds = np.asarray(offsets, dtype=np.int64)
    freedom = np.asarray(ndf, dtype=np.float64)
    if len(bounds) < 2:
        return np.zeros(0)
    mean = np.add.reduceat(np.asarray(membership, dtype=np.float64), bounds[:-1]) / np.diff(bounds)
    quality = np.minimum(np.maximum(mean, 0.0), 1.0)
    if not (freedom > 0).any():
        return quality
    from scipy.special import chdtri

    values = np.where(freedom > 0, np.asarray(chi2, dtype=np.float64) / chi2_scale, np.nan)
    cut = chdtri(np.maximum(freedom, 1.0), 1e-3)
    return quality * hit_compatibility(values - cut, 0.0)
