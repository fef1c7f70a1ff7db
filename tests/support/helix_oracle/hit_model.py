"""Measurement model of the helix fit: residuals of hits, their derivatives and their covariance.

Scattering is treated as by G. Lutz (NIM A 273 (1988) 349): a track that is deflected by an angle at
one hit is displaced at every later hit in proportion to the distance.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.helix.helix import GEV_PER_TESLA_MM

Array = npt.NDArray[Any]

#: Above this a deflection is no small angle; only wrong candidates get there. Radian.
_LARGEST_ANGLE = 0.1
#: Upper triangle of the products of derivatives and residual, without the square of the residual.
_ROWS, _COLUMNS = (index[:-1].tolist() for index in np.triu_indices(6))


@dataclasses.dataclass(frozen=True)
class HitResolution:
    """Standard deviations of hit positions in mm, for all hits or one per hit (arrays (n,)).

    A barrel module measures r-phi and z at a known r, an endcap module r-phi and r at a known z.
    """

    rphi: npt.ArrayLike
    r: npt.ArrayLike
    z: npt.ArrayLike


@dataclasses.dataclass(frozen=True)
class Scattering:
    """Material that deflects a particle of unit charge at each of its hits."""

    #: Thickness of a detector layer at normal incidence, in radiation lengths; 0 = none.
    thickness: float
    #: Solenoid field in T, which turns curvature into momentum.
    field_z: float

    def angle(self, inner: Array) -> Array:
        """(n_tracks,) standard deviation of the deflection at one layer in a plane (Highland), radian."""
        sin = 1 / np.hypot(1.0, inner[:, 4])
        inverse_momentum = np.abs(inner[:, 2]) * sin / (GEV_PER_TESLA_MM * abs(self.field_z))
        # A layer is taken to be a barrel or an endcap, whichever the track crosses more steeply.
        crossed = self.thickness / np.maximum(sin, np.sqrt(1 - sin**2))
        angle = 0.0136 * inverse_momentum * np.sqrt(crossed) * np.maximum(1 + 0.038 * np.log(crossed), 0.0)
        return np.asarray(np.minimum(angle, _LARGEST_ANGLE))


@dataclasses.dataclass(frozen=True)
class Segments:
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
    #: If there is any, the hits of a track must be in the order in which it passes them.
    scattering: Scattering | None = None

    @classmethod
    def build(cls, positions: Array, rows: Array, counts: Array, resolution: HitResolution) -> Segments:
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

    def subset(self, tracks: Array) -> tuple[Segments, Array]:
        """The hits of some tracks (ascending rows), and the entries they are."""
        bounds = np.append(self.first, len(self.x))
        counts = np.diff(bounds)[tracks]
        entries = entries_of(bounds, tracks)
        part = dataclasses.replace(
            self,
            **self._columns(entries),
            track=np.repeat(np.arange(len(tracks)), counts),
            first=np.concatenate([[0], np.cumsum(counts)[:-1]]),
        )
        return part, entries

    def scattered(self, scattering: Scattering, s: Array) -> tuple[Segments, Array]:
        """The same hits with scattering, those of a track sorted by s; and the entries they were."""
        order = np.lexsort((s, self.track))
        return dataclasses.replace(self, **self._columns(order), scattering=scattering), order

    def before(self, values: Array) -> Array:
        """Sums over the earlier hits of the same track, along the last axis."""
        total = np.cumsum(values, axis=-1) - values
        return np.asarray(total - total[..., self.first][..., self.track])

    def _columns(self, entries: Array) -> dict[str, Any]:
        return {n: getattr(self, n)[entries] for n in ("x", "y", "z", "cxx", "cxy", "cyy", "czz")}


def entries_of(bounds: Array, tracks: Array) -> Array:
    """Concatenated ranges ``bounds[t]:bounds[t + 1]`` of the given tracks."""
    counts = (bounds[1:] - bounds[:-1])[tracks]
    shift = bounds[tracks] - np.concatenate([[0], np.cumsum(counts)[:-1]])
    return np.asarray(np.arange(counts.sum()) + np.repeat(shift, counts))


@dataclasses.dataclass(frozen=True)
class ClosestPoints:
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


def closest_points(hits: Segments, inner: Array) -> ClosestPoints:
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
    return ClosestPoints(
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


@dataclasses.dataclass(frozen=True)
class Whitened:
    """Derivatives (0-4) and residuals (5) of the hits, as independent quantities of unit variance.

    Columns that vanish are absent. With L = ((a, 0), (b, c)) the Cholesky factor of the covariance of
    (u, w), this is the inverse of L times the derivatives of (u, w).
    """

    u: dict[int, Array]
    w: dict[int, Array]
    a: Array
    b: Array
    c: Array
    #: (n_entries,) arc length, mm.
    s: Array


def whitened(hits: Segments, inner: Array) -> Whitened:
    """Derivatives and residuals of hits, each hit weighted on its own."""
    p = closest_points(hits, inner)
    z0, cot = inner.T[3:, hits.track]
    sin, cos, s = p.sin, p.cos, p.s
    # Covariance of (u, w): the position error projected on the normal, and on z minus cot * tangent.
    sin2, sincos = sin**2, sin * cos
    mixed = 2 * hits.cxy * sincos
    nn = hits.cxx * sin2 + hits.cyy * (1 - sin2) - mixed
    tt = hits.cxx * (1 - sin2) + hits.cyy * sin2 + mixed
    nt = (hits.cyy - hits.cxx) * sincos + hits.cxy * (1 - 2 * sin2)
    ww = hits.czz + cot**2 * tt
    if hits.scattering is not None:
        spread = _lever2(hits, s)
        across_u, across_w = scattering_variance(hits.scattering, inner)
        nn += spread * across_u[hits.track]
        ww += spread * across_w[hits.track]
    a = np.sqrt(nn)
    b = -cot * nt / a
    c = np.sqrt(np.maximum(ww - b**2, 1e-12 * ww))
    # The predicted point moves along its normal (u) and its tangent (s) when a parameter changes;
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
    return Whitened(u=u, w=w, a=a, b=b, c=c, s=s)


def linearise(hits: Segments, inner: Array) -> tuple[Array, Array, Array]:
    """Normal matrices (n, 5, 5), gradients (n, 5) and each hit's chi2 (n_entries,)."""
    white = whitened(hits, inner)
    u, w = white.u, white.w
    products = np.empty((len(_ROWS), len(hits.x)))
    for product, i, j in zip(products, _ROWS, _COLUMNS, strict=True):
        np.multiply(w[i], w[j], out=product)
        if i in u and j in u:
            product += u[i] * u[j]
    sums = hits.sum(products).T
    matrix = np.empty((len(inner), 6, 6))
    matrix[:, _ROWS, _COLUMNS] = sums
    matrix[:, _COLUMNS, _ROWS] = sums
    return matrix[:, :5, :5], matrix[:, :5, 5], u[5] ** 2 + w[5] ** 2


def _lever2(hits: Segments, s: Array) -> Array:
    """(n_entries,) mm^2: sum over the earlier hits of the squared distance to them."""
    n, s1, s2 = hits.before(np.stack([np.ones_like(s), s, s**2]))
    return np.asarray(np.maximum(n * s**2 - 2 * s * s1 + s2, 0.0))


def scattering_variance(scattering: Scattering, inner: Array) -> tuple[Array, Array]:
    """(n_tracks,) variance of the change of phi, and of cot theta, at one layer."""
    theta2 = scattering.angle(inner) ** 2
    # d phi = angle / sin theta, d cot theta = angle / sin^2 theta.
    inverse_sin2 = 1 + inner[:, 4] ** 2
    return theta2 * inverse_sin2, theta2 * inverse_sin2**2


def _psi_minus_sin(psi: Array, sin_psi: Array) -> Array:
    """(psi - sin psi) / psi^2, by its series for small angles."""
    small = np.abs(psi) < 1e-2
    return np.where(small, psi / 6 * (1 - psi**2 / 20), (psi - sin_psi) / np.where(small, 1.0, psi**2))
