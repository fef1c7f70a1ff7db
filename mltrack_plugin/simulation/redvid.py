"""REDVID-like events: straight and expanding-helix tracks through an idealised detector.

The REDVID simulator (Odyurt et al., ICCS 2024) is not distributed; this reproduces its published protocol and
counts (7.98 +- 1.90 hits per linear track). Lengths are REDVID's arbitrary units, angles radian.

Detector: short-strip discs at ``|z|`` = 2, 3, 4, 5, 6 (outer radius 3), long-strip discs at ``|z|`` = 7, 8, 9, 10
(outer radius 6), barrels at r = 4, 5, 6, 7 (half-length 6). Tracks start at the origin:

    linear:   r = r_d t,  theta = theta_d,            z = z_d t   (z_d = +-1)
    helical:  r = a t,    theta = d t + theta_0,      z = b t     (d = +-1)

"Last layer hit guarantee": one of five last layers (short discs +-, long discs +-, barrel) is drawn with equal
probability and the track aimed at it: uniform r on the outermost disc of that kind, or uniform z on the outermost
barrel, uniform theta. REDVID's sampling law of the helix is not published. Here the same guarantee holds, with the
turning angle at the last layer uniform in ``turning`` and ``theta_0 = 0`` (unless ``free_start``). The default range is
the one in which the published network, trained on REDVID's own events, works best: it then groups 80% of the hits, its
radial and pitch coefficients correlate with ours at 0.97 and 0.997, and its largest pitch is the published 2.54.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.event import SimulatedEvent

SHORT_DISC_Z = (2.0, 3.0, 4.0, 5.0, 6.0)
SHORT_DISC_RADIUS = 3.0
LONG_DISC_Z = (7.0, 8.0, 9.0, 10.0)
LONG_DISC_RADIUS = 6.0
BARREL_R = (4.0, 5.0, 6.0, 7.0)
BARREL_HALF_LENGTH = 6.0

Array = npt.NDArray[Any]
#: The five layers of the last layer hit guarantee.
LastLayer = Literal["short+", "short-", "long+", "long-", "barrel"]


class RedvidConfig(Config):
    """Parameters of a REDVID-like data set."""

    track_type: Literal["linear", "helical"] = "linear"
    """Shape of the tracks."""
    tracks: tuple[int, int] = (10, 50)
    """Smallest and largest number of tracks in an event, both included."""
    multiplicity: Literal["published", "uniform"] = "published"
    """"published": most events are nearly full, as in the published 10-50 set (mean 43.7, standard deviation 5.8);
    "uniform": every number of tracks is equally likely.
    """
    noise: float = Field(0.0, ge=0.0, le=10.0)
    """Noise hits as a fraction of the track hits; uniform over the detector's layers."""
    sigma_r: float = Field(0.015, ge=0.0)
    """Resolution in r, in length units."""
    sigma_theta: float = Field(0.03, ge=0.0)
    """Resolution in theta, radian."""
    sigma_z: float = Field(0.1, ge=0.0)
    """Resolution in z, in length units."""
    turning: tuple[float, float] = (3.9, 6.28)
    """Helical only: range of the turning angle at the last layer, radian."""
    free_start: bool = False
    """Helical only: helices start at a uniform azimuth instead of theta_0 = 0."""
    last_layers: tuple[LastLayer, ...] = Field(get_args(LastLayer), min_length=1)
    """Last layers that tracks are aimed at, each with equal probability; the sign is that of z."""


@dataclasses.dataclass(frozen=True)
class RedvidEvent:
    """One event; hits in random order.

    Attributes:
        r, theta, z: (n_hits,) float64, cylindrical coordinates with resolution applied, theta in (-pi, pi].
        layer: (n_hits,) int64; 0-8 discs at negative z, 9-17 at positive z (by ``|z|``), 18-21 barrels.
        track: (n_hits,) int64, row of ``parameters``; -1 = noise.
        parameters: (n_tracks, 3) float64; linear (theta_d, r_d, z_d), helical (a, b, d).
        theta_0: (n_tracks,) float64, start azimuth of helices, theta_d of straight lines.
    """

    r: Array
    theta: Array
    z: Array
    layer: Array
    track: Array
    parameters: Array
    theta_0: Array


def _last_layer(n: int, allowed: Sequence[str], rng: np.random.Generator) -> tuple[Array, Array]:
    """(r, z) of n aiming points by the last layer hit guarantee."""
    kind = np.array(allowed)[rng.integers(len(allowed), size=n)]
    barrel = kind == "barrel"
    sign = np.where(np.char.endswith(kind, "-"), -1.0, 1.0)
    long = np.char.startswith(kind, "long")
    disc_r = rng.uniform(0.0, 1.0, n) * np.where(long, LONG_DISC_RADIUS, SHORT_DISC_RADIUS)
    disc_z = sign * np.where(long, LONG_DISC_Z[-1], SHORT_DISC_Z[-1])
    barrel_z = rng.uniform(-BARREL_HALF_LENGTH, BARREL_HALF_LENGTH, n)
    return np.where(barrel, BARREL_R[-1], disc_r), np.where(barrel, barrel_z, disc_z)


def sample_tracks(config: RedvidConfig, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw n tracks: their parameters (n, 3) and start azimuths (n,), as in :class:`RedvidEvent`."""
    r, z = _last_layer(n, config.last_layers, rng)
    if config.track_type == "linear":
        theta = rng.uniform(-np.pi, np.pi, n)
        # z_d = +-1 fixes the parametrisation: t is |z|.
        return np.stack([theta, r / np.abs(z), np.sign(z)], axis=1), theta
    t_end = rng.uniform(*config.turning, n)
    direction = rng.choice([-1.0, 1.0], n)
    theta_0 = rng.uniform(-np.pi, np.pi, n) if config.free_start else np.zeros(n)
    return np.stack([r / t_end, z / t_end, direction], axis=1), theta_0


def sample_multiplicity(config: RedvidConfig, rng: np.random.Generator) -> int:
    """Number of tracks of one event.

    The "published" law is a negative binomial distance from the upper end, scaled to the width of the range and
    redrawn below its lower end: 43.8 +- 5.9 in the range 10-50, where the published set has 43.7 +- 5.8.
    """
    low, high = config.tracks
    if config.multiplicity == "uniform" or low == high:
        return int(rng.integers(low, high + 1))
    shape, mean = 1.45, 6.3 * (high - low) / 40.0
    while True:
        missing = int(rng.negative_binomial(shape, shape / (shape + mean)))
        if missing <= high - low:
            return high - missing


def crossings(
    config: RedvidConfig, parameters: Array, theta_0: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """Where tracks cross the layers: one entry per crossing, by track.

    Args:
        config: the shape of the tracks.
        parameters: (n_tracks, 3), as in :class:`RedvidEvent`.
        theta_0: (n_tracks,).

    Returns:
        track, layer, r, theta (not reduced to a turn) and z of each crossing, (n_hits,) each.
    """
    if config.track_type == "linear":
        slope_r, slope_z, spin = parameters[:, 1], parameters[:, 2], np.zeros(len(parameters))
    else:
        slope_r, slope_z, spin = parameters[:, 0], parameters[:, 1], parameters[:, 2]

    disc_z, disc_radius, barrel_r = _layers()
    with np.errstate(divide="ignore", invalid="ignore"):
        t_disc = disc_z[None, :] / slope_z[:, None]
        on_disc = (t_disc > 0) & (slope_r[:, None] * t_disc <= disc_radius)
        t_barrel = barrel_r[None, :] / slope_r[:, None]
        on_barrel = np.abs(slope_z[:, None] * t_barrel) <= BARREL_HALF_LENGTH
    time = np.concatenate([t_disc, t_barrel], axis=1)
    track, layer = np.nonzero(np.concatenate([on_disc, on_barrel], axis=1))
    t = time[track, layer]
    return track, layer, slope_r[track] * t, theta_0[track] + spin[track] * t, slope_z[track] * t


def _layers() -> tuple[Array, Array, Array]:
    """z and outer radius of the discs, radius of the barrels, in the order of their numbers."""
    disc_z = np.array([-z for z in SHORT_DISC_Z + LONG_DISC_Z] + list(SHORT_DISC_Z + LONG_DISC_Z))
    disc_radius = np.array(
        2 * ([SHORT_DISC_RADIUS] * len(SHORT_DISC_Z) + [LONG_DISC_RADIUS] * len(LONG_DISC_Z))
    )
    return disc_z, disc_radius, np.array(BARREL_R)


def simulate_redvid(config: RedvidConfig, rng: np.random.Generator) -> RedvidEvent:
    """One event: every crossing of a track with a layer is a hit (efficiency 1)."""
    n = sample_multiplicity(config, rng)
    parameters, theta_0 = sample_tracks(config, n, rng)
    track, layer, r, theta, z = crossings(config, parameters, theta_0)
    disc_z, disc_radius, barrel_r = _layers()

    n_noise = round(config.noise * len(r))
    if n_noise:
        noise_layer = rng.integers(len(disc_z) + len(barrel_r), size=n_noise)
        is_barrel = noise_layer >= len(disc_z)
        disc = np.where(is_barrel, 0, noise_layer)
        barrel = np.where(is_barrel, noise_layer - len(disc_z), 0)
        # Uniform over the surface: the square root makes discs uniform in area.
        noise_r = np.where(
            is_barrel, barrel_r[barrel], disc_radius[disc] * np.sqrt(rng.uniform(size=n_noise))
        )
        noise_z = np.where(is_barrel, rng.uniform(-1, 1, n_noise) * BARREL_HALF_LENGTH, disc_z[disc])
        r, z = np.append(r, noise_r), np.append(z, noise_z)
        theta = np.append(theta, rng.uniform(-np.pi, np.pi, n_noise))
        layer, track = np.append(layer, noise_layer), np.append(track, np.full(n_noise, -1))

    r = np.abs(r + rng.normal(0.0, config.sigma_r, len(r)))
    theta = theta + rng.normal(0.0, config.sigma_theta, len(theta))
    theta = np.pi - (np.pi - theta) % (2 * np.pi)
    z = z + rng.normal(0.0, config.sigma_z, len(z))
    order = rng.permutation(len(r))
    return RedvidEvent(r[order], theta[order], z[order], layer[order], track[order], parameters, theta_0)


def redvid_event(config: RedvidConfig, seed: Sequence[int]) -> SimulatedEvent:
    """One event as collections.

    Layers become volume 0 (discs) and 1 (barrels) with the layer index. A particle's "momentum" is its velocity per
    unit of t, (a cos theta_0, a sin theta_0, b), and its "charge" the direction of turning d (0 for straight lines),
    so that pT, pz and q are REDVID's radial, pitch and azimuthal coefficients.

    Args:
        config: the data set.
        seed: entropy of the event; the same numbers give the same event.
    """
    event = simulate_redvid(config, np.random.default_rng(np.random.SeedSequence(list(seed))))
    n_discs = 2 * len(SHORT_DISC_Z + LONG_DISC_Z)
    barrel = event.layer >= n_discs
    hits = Hits(
        hit_id=np.arange(len(event.r), dtype=np.uint64),
        x=event.r * np.cos(event.theta),
        y=event.r * np.sin(event.theta),
        z=event.z,
        volume_id=barrel.astype(np.int32),
        layer_id=np.where(barrel, event.layer - n_discs, event.layer),
    )
    n = len(event.parameters)
    linear = config.track_type == "linear"
    radial, axial = event.parameters[:, 1 if linear else 0], event.parameters[:, 2 if linear else 1]
    zero = np.zeros(n)
    particles = Particles(
        particle_id=np.arange(1, n + 1, dtype=np.uint64),
        vx=zero,
        vy=zero,
        vz=zero,
        px=radial * np.cos(event.theta_0),
        py=radial * np.sin(event.theta_0),
        pz=axial,
        q=zero if linear else event.parameters[:, 2],
        nhits=np.bincount(event.track[event.track >= 0], minlength=n),
    )
    return SimulatedEvent(hits, TruthLinks((event.track + 1).astype(np.uint64)), particles)


def disc_lines(particles: Particles) -> tuple[Array, Array]:
    """Azimuth at z = 0 and its change with z: seen in (z, azimuth), tracks of either shape are straight lines.

    Args:
        particles: of :func:`redvid_event`.

    Returns:
        (n,) float64, radian in [-pi, pi], and (n,) radian per length unit.
    """
    azimuth = np.arctan2(particles.py.astype(np.float64), particles.px.astype(np.float64))
    return azimuth, particles.q / particles.pz.astype(np.float64)
