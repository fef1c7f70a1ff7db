"""Least-squares helix fit of all tracks of an event at once.

Start: the direct circle fit of V. Karimäki (NIM A 305 (1991) 187) and a straight line in the s-z
plane. Then Gauss-Newton steps on all five parameters, each hit measured by its distance to the
helix in the transverse plane (u, along the normal) and along z (w), with the full 2 x 2 covariance
of its position error; a step that makes a track much worse is repeated with Levenberg-Marquardt
damping. The covariance of the parameters is the inverse of the normal matrix.

With ``thickness`` the steps weigh hits less the more scattering at earlier hits has displaced them,
and a last step takes into account that these displacements are common to all later hits. Material
before the first hit, energy loss and field inhomogeneity are not modelled.

There is no Python loop over tracks or hits; sums over the hits of a track are segment sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from helix_oracle.hit_model import (
    HitResolution,
    Scattering,
    Segments,
    closest_points,
    entries_of,
    linearise,
)
from helix_oracle.scattering_fit import correlated_step
from mltrack_plugin.errors import EventDataError
from mltrack_plugin.helix.helix import perigee_jacobian, to_perigee
from mltrack_plugin.helix.helix_fit import HelixFit

Array = npt.NDArray[Any]

_MAX_ITERATIONS = 15
#: Hits that are not one particle's have no minimum to find. After so many iterations a track with a larger
#: chi2 per degree of freedom stays as it is; particles are close to their minimum after three.
_PATIENCE, _HOPELESS = 7, 100.0
#: A step shorter than this many standard deviations ends a track's iteration.
_SMALL_STEP = 1e-3
#: Added to the diagonal of the normal matrix (scaled to unit diagonal) so that a singular one has an inverse,
_TINY = 1e-14
#: which has diagonal elements above this: the hits do not determine the helix.
_SINGULAR = 1e12


def fit_helices(
    positions: npt.ArrayLike,
    hit_indices: npt.ArrayLike,
    offsets: npt.ArrayLike,
    resolution: HitResolution,
    field_z: float,
    thickness: float = 0.0,
) -> HelixFit:
    """Fit a helix to each track and give its parameters at the perigee to the z axis.

    The momentum points away from the z axis: hits lie at positive arc length on average, and within
    half a turn. Tracks with fewer than three distinct hits, or all of whose hits have the same
    radius, are not fitted (NaN). Collinear hits give q/p = 0.

    Args:
        positions: (n_hits, 3), mm.
        hit_indices: (n_entries,) rows of ``positions``, track after track.
        offsets: (n_tracks + 1,); track i owns ``hit_indices[offsets[i]:offsets[i + 1]]``, never empty.
        resolution: standard deviations of the positions, rows as in ``positions``.
        field_z: solenoid field along z in T, not 0.
        thickness: material of a detector layer at normal incidence in radiation lengths; 0 = no scattering.

    Raises:
        EventDataError: if a resolution is not positive where it must be, or a shape is wrong.
        ValueError: if ``field_z`` is 0 or not finite, or ``thickness`` is negative.
    """
    if not np.isfinite(field_z) or field_z == 0:
        raise ValueError(f"a helix fit needs a solenoid field, got {field_z} T")
    if not 0 <= thickness < 1:
        raise ValueError(f"thickness must be in [0, 1) radiation lengths, got {thickness}")
    all_positions = np.asarray(positions, dtype=np.float64)
    if all_positions.ndim != 2 or all_positions.shape[1] != 3:
        raise EventDataError(f"positions must have shape (n, 3), got {all_positions.shape}")
    indices = np.asarray(hit_indices, dtype=np.int64)
    bounds = np.asarray(offsets, dtype=np.int64)
    counts = np.diff(bounds)
    n_tracks = len(counts)
    parameters = np.full((n_tracks, 5), np.nan)
    covariance = np.full((n_tracks, 5, 5), np.nan)
    chi2 = np.full(n_tracks, np.nan)
    ndf = np.zeros(n_tracks, dtype=np.int32)
    hit_chi2 = np.full(len(indices), np.nan)
    result = HelixFit(parameters, covariance, chi2, ndf, hit_chi2)

    tracks = np.flatnonzero(counts >= 3)
    if not len(tracks):
        return result
    entries = entries_of(bounds, tracks)
    hits = Segments.build(all_positions, indices[entries], counts[tracks], resolution)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        start = _start(hits)
        good: Array = np.asarray(np.isfinite(start).all(axis=1))
        if thickness:
            s = closest_points(hits, np.where(good[:, None], start, 0.0)).s
            hits, order = hits.scattered(Scattering(thickness, field_z), s)
            entries = entries[order]
        inner, normal, shares, good = _gauss_newton(hits, start, good)
        scale = 1.0 / np.sqrt(np.einsum("tii->ti", normal))
        scaled = normal * scale[:, :, None] * scale[:, None, :]
        good = np.asarray(good & np.isfinite(scaled).all(axis=(1, 2)))
    scaled[~good] = np.eye(5)
    inverse = np.linalg.inv(scaled + _TINY * np.eye(5))
    good = np.asarray(good & (np.einsum("tii->ti", inverse).max(axis=1) < _SINGULAR))
    inverse = inverse[good] * (scale[good, :, None] * scale[good, None, :])
    best, shares = inner[good], np.where(good[hits.track], shares, np.nan)
    if thickness and good.any():
        part, used = hits.subset(np.flatnonzero(good))
        refined = correlated_step(part, best)
        known: Array = np.asarray(np.isfinite(refined.step).all(axis=1))
        best[known] += refined.step[known]
        inverse[known] = refined.covariance[known]
        shares[used] = np.where(known[part.track], refined.hit_chi2, shares[used])
    jacobian = perigee_jacobian(best, field_z)

    fitted = tracks[good]
    parameters[fitted] = to_perigee(best, field_z)
    covariance[fitted] = jacobian @ inverse @ jacobian.transpose(0, 2, 1)
    ndf[fitted] = 2 * counts[fitted] - 5
    chi2[fitted] = hits.sum(shares)[good]
    hit_chi2[entries] = shares
    return result


def _start(hits: Segments) -> Array:
    """(n_tracks, 5) from Karimäki's circle fit and a line in s-z; not finite where that is impossible."""
    n = hits.sum(np.ones_like(hits.x))
    r2 = hits.x**2 + hits.y**2
    means = hits.sum(np.stack([hits.x, hits.y, r2])) / n
    mx, my, mr = means
    dx, dy, dr = np.stack([hits.x, hits.y, r2]) - means[:, hits.track]
    xx, xy, yy, xr, yr, rr = hits.sum(np.stack([dx * dx, dx * dy, dy * dy, dx * dr, dy * dr, dr * dr]))
    # f = kappa r^2 + x sin phi - y cos phi + delta vanishes on the circle; minimise sum f^2.
    phi = 0.5 * np.arctan2(2 * (xy - xr * yr / rr), (xx - xr**2 / rr) - (yy - yr**2 / rr))
    # Of the two directions, the one in which the hits lie ahead of the perigee.
    phi = np.where(mx * np.cos(phi) + my * np.sin(phi) < 0, phi + np.pi, phi)
    sin, cos = np.sin(phi), np.cos(phi)
    kappa = (cos * yr - sin * xr) / rr
    delta = cos * my - sin * mx - kappa * mr
    root = np.sqrt(1 - 4 * kappa * delta)
    inner = np.zeros((len(n), 5))
    inner[:, 0] = 2 * delta / (1 + root)
    inner[:, 1] = phi
    inner[:, 2] = 2 * kappa / root
    s = closest_points(hits, inner).s
    ms, mz = hits.sum(np.stack([s, hits.z])) / n
    ds, dz = s - ms[hits.track], hits.z - mz[hits.track]
    sz, ss = hits.sum(np.stack([ds * dz, ds * ds]))
    inner[:, 4] = sz / ss
    inner[:, 3] = mz - inner[:, 4] * ms
    return inner


def _gauss_newton(hits: Segments, start: Array, good: Array) -> tuple[Array, Array, Array, Array]:
    """Iterate; returns parameters, normal matrices, the hits' chi2, and which tracks are still finite."""
    inner = np.where(good[:, None], start, 0.0)
    normal, gradient, shares = linearise(hits, inner)
    chi2 = hits.sum(shares)
    damping = np.zeros(len(inner))
    active = np.flatnonzero(good & np.isfinite(chi2))
    good = good & np.isfinite(chi2)
    hopeless = _HOPELESS * (2 * np.diff(np.append(hits.first, len(hits.x))) - 5)
    for iteration in range(_MAX_ITERATIONS):
        if iteration == _PATIENCE:
            active = active[chi2[active] < hopeless[active]]
        if not len(active):
            break
        matrix, slope = normal[active], gradient[active]
        scale = 1.0 / np.sqrt(np.einsum("tii->ti", matrix))
        scaled = matrix * scale[:, :, None] * scale[:, None, :]
        usable = np.isfinite(scaled).all(axis=(1, 2))
        scaled[~usable] = np.eye(5)
        scaled[:, range(5), range(5)] += (damping[active] + _TINY)[:, None]
        step = -np.linalg.solve(scaled, (slope * scale)[:, :, None])[:, :, 0] * scale
        usable &= np.isfinite(step).all(axis=1)
        good[active[~usable]] = False
        active, step, slope = active[usable], step[usable], slope[usable]
        if not len(active):
            break

        part, entries = hits.subset(active) if len(active) < len(inner) else (hits, np.arange(len(hits.x)))
        trial = inner[active] + step
        trial_normal, trial_gradient, trial_shares = linearise(part, trial)
        trial_chi2 = part.sum(trial_shares)
        # The weights move with the track, so chi2 need not fall at every step: only refuse real damage.
        accept = trial_chi2 < 1.1 * chi2[active] + 0.1
        moved = active[accept]
        inner[moved], chi2[moved] = trial[accept], trial_chi2[accept]
        normal[moved], gradient[moved] = trial_normal[accept], trial_gradient[accept]
        taken = accept[part.track]
        shares[entries[taken]] = trial_shares[taken]
        damping[active] = np.where(accept, damping[active] / 10, np.maximum(damping[active] * 10, 1e-3))
        # -step . slope is the squared step in standard deviations.
        small = -np.einsum("ti,ti->t", step, slope) < _SMALL_STEP**2
        active = active[~(small & accept)]
    return inner, normal, shares, good
