"""Least-squares helix fit of all tracks of an event at once.

Start: the direct circle fit of V. Karimäki (NIM A 305 (1991) 187) and a straight line in the s-z
plane. Then Gauss-Newton steps on all five parameters, each hit measured by its distance to the
helix in the transverse plane (u, along the normal) and along z (w), with the full 2 x 2 covariance
of its position error; a step that makes a track much worse is repeated with Levenberg-Marquardt
damping. The covariance of the parameters is the inverse of the normal matrix. Scattering, energy
loss and field inhomogeneity are not modelled: at low momentum the covariance is too small.

There is no Python loop over tracks or hits; sums over the hits of a track are segment sums.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.tracking.helix import perigee_jacobian, to_perigee

Array = npt.NDArray[Any]

_MAX_ITERATIONS = 15
#: A step shorter than this many standard deviations ends a track's iteration.
_SMALL_STEP = 1e-3
#: Added to the diagonal of the normal matrix (scaled to unit diagonal) so that a singular one has an inverse,
_TINY = 1e-14
#: which has diagonal elements above this: the hits do not determine the helix.
_SINGULAR = 1e12


@dataclasses.dataclass(frozen=True)
class HitResolution:
    """Standard deviations of hit positions in mm, for all hits or one per hit (arrays (n,)).

    A barrel module measures r-phi and z at a known r, an endcap module r-phi and r at a known z.
    """

    rphi: npt.ArrayLike
    r: npt.ArrayLike
    z: npt.ArrayLike


@dataclasses.dataclass(frozen=True)
class HelixFit:
    """Result of :func:`fit_helices`; rows of tracks that cannot be fitted are NaN, their ndf 0."""

    #: (n_tracks, 5) float64: d0 [mm], z0 [mm], phi, theta, q/p [e/GeV] at the perigee.
    parameters: Array
    #: (n_tracks, 5, 5) float64, same order and units.
    covariance: Array
    #: (n_tracks,) float64.
    chi2: Array
    #: (n_tracks,) int32: 2 x hits - 5.
    ndf: Array
    #: (n_entries,) float64: each hit's share of chi2 (two degrees of freedom).
    hit_chi2: Array


def fit_helices(
    positions: npt.ArrayLike,
    hit_indices: npt.ArrayLike,
    offsets: npt.ArrayLike,
    resolution: HitResolution,
    field_z: float,
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

    Raises:
        EventDataError: if a resolution is not positive where it must be, or a shape is wrong.
        ValueError: if ``field_z`` is 0 or not finite.
    """
    if not np.isfinite(field_z) or field_z == 0:
        raise ValueError(f"a helix fit needs a solenoid field, got {field_z} T")
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
    entries = _entries(bounds, tracks)
    hits = _Hits.build(all_positions, indices[entries], counts[tracks], resolution)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        start = _start(hits)
        good: Array = np.asarray(np.isfinite(start).all(axis=1))
        inner, normal, shares, good = _gauss_newton(hits, start, good)
        scale = 1.0 / np.sqrt(np.einsum("tii->ti", normal))
        scaled = normal * scale[:, :, None] * scale[:, None, :]
        good &= np.isfinite(scaled).all(axis=(1, 2))
    scaled[~good] = np.eye(5)
    inverse = np.linalg.inv(scaled + _TINY * np.eye(5))
    good &= np.einsum("tii->ti", inverse).max(axis=1) < _SINGULAR
    inverse = inverse[good] * (scale[good, :, None] * scale[good, None, :])
    jacobian = perigee_jacobian(inner[good], field_z)

    fitted = tracks[good]
    parameters[fitted] = to_perigee(inner[good], field_z)
    covariance[fitted] = jacobian @ inverse @ jacobian.transpose(0, 2, 1)
    ndf[fitted] = 2 * counts[fitted] - 5
    chi2[fitted] = hits.sum(shares)[good]
    hit_chi2[entries] = np.where(good[hits.track], shares, np.nan)
    return result


@dataclasses.dataclass(frozen=True)
class _Hits:
    """Hits of the tracks being fitted, as columns sorted by track (all (n_entries,) float64)."""

    x: Array
    y: Array
    z: Array
    #: Transverse covariance (xx, xy, yy) and variance of z, mm^2.
    cxx: Array
    cxy: Array
    cyy: Array
    czz: Array
    #: (n_entries,) row of the track.
    track: Array
    #: (n_tracks,) first entry of each track.
    first: Array

    @classmethod
    def build(cls, positions: Array, rows: Array, counts: Array, resolution: HitResolution) -> _Hits:
        x, y, z = positions[rows].T
        radius = np.hypot(x, y)
        on_axis = radius == 0
        cos = np.where(on_axis, 1.0, x) / np.where(on_axis, 1.0, radius)
        sin = y / np.where(on_axis, 1.0, radius)
        variances = []
        for name in ("rphi", "r", "z"):
            values = np.asarray(getattr(resolution, name), dtype=np.float64)
            if values.ndim > 1 or (values.ndim == 1 and len(values) != len(positions)):
                raise EventDataError(
                    f"resolution {name!r} must be a number or one per hit, got {values.shape}"
                )
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise EventDataError(f"resolution {name!r} must be finite and not negative")
            variances.append(np.broadcast_to(values, len(positions))[rows] ** 2)
        rphi, r, along = variances
        if (rphi <= 0).any() or (r + along <= 0).any():
            raise EventDataError("resolutions: rphi, and r or z, must be larger than 0 for every hit")
        return cls(
            x=x,
            y=y,
            z=z,
            cxx=r * cos**2 + rphi * sin**2,
            cxy=(r - rphi) * cos * sin,
            cyy=r * sin**2 + rphi * cos**2,
            czz=along,
            track=np.repeat(np.arange(len(counts)), counts),
            first=np.concatenate([[0], np.cumsum(counts)[:-1]]),
        )

    def sum(self, values: Array) -> Array:
        """Sums over the hits of each track, along the last axis."""
        return np.asarray(np.add.reduceat(values, self.first, axis=-1))

    def subset(self, tracks: Array) -> tuple[_Hits, Array]:
        """The hits of some tracks (ascending rows), and the entries they are."""
        bounds = np.append(self.first, len(self.x))
        counts = np.diff(bounds)[tracks]
        entries = _entries(bounds, tracks)
        columns = {n: getattr(self, n)[entries] for n in ("x", "y", "z", "cxx", "cxy", "cyy", "czz")}
        track = np.repeat(np.arange(len(tracks)), counts)
        return _Hits(**columns, track=track, first=np.concatenate([[0], np.cumsum(counts)[:-1]])), entries


def _entries(bounds: Array, tracks: Array) -> Array:
    """Concatenated ranges ``bounds[t]:bounds[t + 1]`` of the given tracks."""
    counts = (bounds[1:] - bounds[:-1])[tracks]
    shift = bounds[tracks] - np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray(np.arange(counts.sum()) + np.repeat(shift, counts))


@dataclasses.dataclass(frozen=True)
class _Transverse:
    """Where the circles come closest to the hits, all (n_entries,)."""

    #: Signed distance of the hit, along the left normal, mm.
    u: Array
    #: Transverse arc length from the perigee, mm, and the angle turned there, in (-pi, pi].
    s: Array
    psi: Array
    sin_psi: Array
    cos_psi: Array
    #: Direction of the circle at the closest point.
    sin: Array
    cos: Array
    #: Squared distance from the perigee to the closest point, mm^2.
    chord2: Array


def _start(hits: _Hits) -> Array:
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
    s = _transverse(hits, inner).s
    ms, mz = hits.sum(np.stack([s, hits.z])) / n
    ds, dz = s - ms[hits.track], hits.z - mz[hits.track]
    sz, ss = hits.sum(np.stack([ds * dz, ds * ds]))
    inner[:, 4] = sz / ss
    inner[:, 3] = mz - inner[:, 4] * ms
    return inner


def _transverse(hits: _Hits, inner: Array) -> _Transverse:
    """Closest points of the circles to the hits.

    With G = omega (hit - centre): u = (1 - |G|) / omega, written so that omega = 0 is no exception.
    """
    d0, phi, omega = inner[:, 0], inner[:, 1], inner[:, 2]
    per_track = np.stack([d0, omega, 1 + omega * d0, np.sin(phi), np.cos(phi)])
    d0, omega, lever, sin, cos = per_track[:, hits.track]
    across = hits.x * sin - hits.y * cos
    along = hits.x * cos + hits.y * sin
    ahead = lever + omega * across
    sideways = omega * along
    length = np.sqrt(ahead**2 + sideways**2)
    u = -(omega * (hits.x**2 + hits.y**2) + 2 * lever * across + d0 * (1 + lever)) / (1 + length)
    cos_psi = ahead / length
    sin_psi = sideways / length
    psi = np.arctan2(sin_psi, cos_psi)
    # psi / omega, by its series where omega vanishes.
    small = (np.abs(sin_psi) < 1e-4) & (cos_psi > 0)
    s = np.where(small, along / length * (1 + sin_psi**2 / 6), psi / np.where(small, 1.0, omega))
    return _Transverse(
        u=u,
        s=s,
        psi=psi,
        sin_psi=sin_psi,
        cos_psi=cos_psi,
        sin=sin * cos_psi + cos * sin_psi,
        cos=cos * cos_psi - sin * sin_psi,
        # From the perigee, d0 (-sin phi, cos phi), to the closest point, hit - u (-sin, cos) there.
        chord2=(along - u * sin_psi) ** 2 + (across + u * cos_psi + d0) ** 2,
    )


def _linearise(hits: _Hits, inner: Array) -> tuple[Array, Array, Array]:
    """Normal matrices (n, 5, 5), gradients (n, 5) and each hit's chi2 (n_entries,)."""
    p = _transverse(hits, inner)
    z0, cot = inner.T[3:, hits.track]
    sin, cos, s = p.sin, p.cos, p.s
    # Covariance of (u, w): the position error projected on the normal, and on z minus cot * tangent.
    sin2, sincos = sin**2, sin * cos
    mixed = 2 * hits.cxy * sincos
    nn = hits.cxx * sin2 + hits.cyy * (1 - sin2) - mixed
    tt = hits.cxx * (1 - sin2) + hits.cyy * sin2 + mixed
    nt = (hits.cyy - hits.cxx) * sincos + hits.cxy * (1 - 2 * sin2)
    # Cholesky factor: u / a and (w - b u / a) / c are independent with unit variance.
    a = np.sqrt(nn)
    b = -cot * nt / a
    ww = hits.czz + cot**2 * tt
    c = np.sqrt(np.maximum(ww - b**2, 1e-12 * ww))
    # Derivatives of u and w. The predicted point moves along its normal (u) and its tangent (s);
    # terms of order u * omega are left out, they only matter far from the solution.
    along = hits.x * cos + hits.y * sin
    across = hits.y * cos - hits.x * sin - p.u
    u = {0: -p.cos_psi, 1: -along, 2: -0.5 * p.chord2, 5: p.u}
    w = {
        0: cot * p.sin_psi,
        1: -cot * across,
        2: cot * s**2 * _psi_minus_sin(p.psi, p.sin_psi),
        3: -np.ones_like(s),
        4: -s,
        5: hits.z - z0 - cot * s,
    }
    for k in u:
        u[k] = u[k] / a
    for k in w:
        w[k] = (w[k] - b * u[k]) / c if k in u else w[k] / c
    rows, columns = (index[:-1] for index in np.triu_indices(6))
    products = np.empty((len(rows), len(s)))
    for product, i, j in zip(products, rows.tolist(), columns.tolist(), strict=True):
        np.multiply(w[i], w[j], out=product)
        if i in u and j in u:
            product += u[i] * u[j]
    sums = hits.sum(products).T
    matrix = np.empty((len(inner), 6, 6))
    matrix[:, rows, columns] = sums
    matrix[:, columns, rows] = sums
    return matrix[:, :5, :5], matrix[:, :5, 5], u[5] ** 2 + w[5] ** 2


def _psi_minus_sin(psi: Array, sin_psi: Array) -> Array:
    """(psi - sin psi) / psi^2, by its series for small angles."""
    small = np.abs(psi) < 1e-2
    return np.where(small, psi / 6 * (1 - psi**2 / 20), (psi - sin_psi) / np.where(small, 1.0, psi**2))


def _gauss_newton(hits: _Hits, start: Array, good: Array) -> tuple[Array, Array, Array, Array]:
    """Iterate; returns parameters, normal matrices, the hits' chi2, and which tracks are still finite."""
    inner = np.where(good[:, None], start, 0.0)
    normal, gradient, shares = _linearise(hits, inner)
    chi2 = hits.sum(shares)
    damping = np.zeros(len(inner))
    active = np.flatnonzero(good & np.isfinite(chi2))
    good = good & np.isfinite(chi2)
    for _ in range(_MAX_ITERATIONS):
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
        trial_normal, trial_gradient, trial_shares = _linearise(part, trial)
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
