"""Last step of the helix fit where scattering matters: least squares with correlated hits.

A deflection at one hit displaces all later hits of the track together. With the full covariance of a
track's hits the estimate is the best linear one, its covariance is right, and chi2 has the
distribution that its name promises.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from helix_oracle.hit_model import Segments, scattering_variance, whitened

Array = npt.NDArray[Any]

#: Tracks with more hits keep the weights of single hits: the matrices grow with the square.
MAX_CORRELATED_HITS = 64
#: Matrix elements that are worked on at a time.
_BLOCK = 2_000_000


@dataclasses.dataclass(frozen=True)
class CorrelatedStep:
    """A step of the parameters and what the fit is after it; rows of tracks that were left alone are NaN."""

    #: (n_tracks, 5) to be added to the inner parameters.
    step: Array
    #: (n_tracks, 5, 5).
    covariance: Array
    #: (n_entries,) each hit's share of chi2: its residual given the earlier hits.
    hit_chi2: Array


def correlated_step(hits: Segments, inner: Array) -> CorrelatedStep:
    """One least-squares step from parameters that are already close.

    Args:
        hits: with scattering, those of a track in the order in which it passes them.
        inner: (n_tracks, 5), finite.
    """
    counts = np.diff(np.append(hits.first, len(hits.x)))
    result = CorrelatedStep(
        step=np.full((len(inner), 5), np.nan),
        covariance=np.full((len(inner), 5, 5), np.nan),
        hit_chi2=np.full(len(hits.x), np.nan),
    )
    # Tracks of similar length are padded to the same one, so that they are one array.
    size = 4
    while size <= MAX_CORRELATED_HITS:
        tracks = np.flatnonzero((counts <= size) & (counts > size // 2 if size > 4 else counts > 0))
        block = max(1, _BLOCK // (2 * size) ** 2)
        for start in range(0, len(tracks), block):
            chosen = tracks[start : start + block]
            part, entries = hits.subset(chosen)
            slot = np.arange(len(entries)) - part.first[part.track]
            _solve(part, inner[chosen], slot, size, chosen, entries, result)
        size *= 2
    return result


def _solve(
    hits: Segments,
    inner: Array,
    slot: Array,
    size: int,
    tracks: Array,
    entries: Array,
    result: CorrelatedStep,
) -> None:
    """Fill the rows of ``tracks`` (and ``entries``), whose hits go to ``slot`` of ``size``."""
    assert hits.scattering is not None
    white = whitened(dataclasses.replace(hits, scattering=None), inner)
    n = len(inner)
    at = (hits.track, slot)

    # Row 2 i is u of hit i, row 2 i + 1 its w; unused slots have unit variance and zeros.
    system: Array = np.zeros((n, 2 * size, 6))
    for k in range(6):
        u = white.u.get(k, np.zeros_like(white.s))
        system[hits.track, 2 * slot, k] = white.a * u
        system[hits.track, 2 * slot + 1, k] = white.b * u + white.c * white.w[k]

    s = np.zeros((n, size))
    used = np.zeros((n, size))
    s[at], used[at] = white.s, 1.0
    # Sums of 1, s, s^2 over the deflections before a hit give the covariance of two hits' displacements.
    s1, s2 = (np.cumsum(x, axis=1) - x for x in (s, s**2))
    earlier = np.minimum.outer(np.arange(size), np.arange(size))
    sums = s[:, :, None] + s[:, None, :]
    displacement = earlier * s[:, :, None] * s[:, None, :] - sums * s1[:, earlier] + s2[:, earlier]
    displacement *= used[:, :, None] * used[:, None, :]
    covariance = np.zeros((n, 2 * size, 2 * size))
    variance_u, variance_w = scattering_variance(hits.scattering, inner)
    covariance[:, ::2, ::2] = displacement * variance_u[:, None, None]
    covariance[:, 1::2, 1::2] = displacement * variance_w[:, None, None]
    diagonal = np.ones((n, 2 * size))
    diagonal[hits.track, 2 * slot] = white.a**2
    diagonal[hits.track, 2 * slot + 1] = white.b**2 + white.c**2
    covariance[:, range(2 * size), range(2 * size)] += diagonal
    covariance[hits.track, 2 * slot, 2 * slot + 1] = white.a * white.b
    covariance[hits.track, 2 * slot + 1, 2 * slot] = white.a * white.b

    factor, solvable = _cholesky(covariance)
    # As general matrices: several times faster than substitution row by row, for all tracks at once.
    system = np.linalg.solve(factor, system)
    normal = system.transpose(0, 2, 1) @ system
    scale = 1.0 / np.sqrt(np.einsum("tii->ti", normal)[:, :5])
    scaled = normal[:, :5, :5] * scale[:, :, None] * scale[:, None, :] + 1e-14 * np.eye(5)
    inverse = np.linalg.inv(scaled) * scale[:, :, None] * scale[:, None, :]
    step = -np.einsum("tij,tj->ti", inverse, normal[:, :5, 5])
    left = system[:, :, 5] + np.einsum("trk,tk->tr", system[:, :, :5], step)
    result.step[tracks[solvable]] = step[solvable]
    result.covariance[tracks[solvable]] = inverse[solvable]
    result.hit_chi2[entries] = (left[:, ::2] ** 2 + left[:, 1::2] ** 2)[at]


def _cholesky(matrices: Array) -> tuple[Array, Array]:
    """Lower factors, and which matrices have one: rounding can spoil tracks of absurd curvature."""
    solvable = np.ones(len(matrices), dtype=bool)
    try:
        return np.linalg.cholesky(matrices), solvable
    except np.linalg.LinAlgError:
        lowest, highest = np.linalg.eigvalsh(matrices)[:, [0, -1]].T
        solvable = lowest > 1e-14 * highest
        repaired = np.where(solvable[:, None, None], matrices, np.eye(matrices.shape[1]))
        return np.linalg.cholesky(repaired), solvable
