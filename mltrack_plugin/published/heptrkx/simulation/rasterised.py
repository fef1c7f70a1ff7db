"""Events of any detector as images of its planes, with the pixels of every track.

Toy detector planes are simulated as pixels (`toy_planes`); here the hits of other data
sets become pixels: the discs of REDVID's detector, or the unrolled barrel layers of the GenericDetector, each a row
over azimuth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.models.plane_raster import PlaneRaster
from mltrack_plugin.published.heptrkx.images.raster import plane_pixels
from mltrack_plugin.published.heptrkx.simulation.toy_planes import PlaneEvents
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.redvid import disc_lines


def rasterised(
    events: Sequence[SimulatedEvent], raster: PlaneRaster, seed_planes: int, rng: np.random.Generator
) -> PlaneEvents:
    """Images of events.

    Args:
        events: with truth.
        raster: how hits become pixels.
        seed_planes: in the first planes only track 0 is seen, a random one of those that have a hit in each of them;
            events without such a track are left out. 0: all tracks are seen everywhere, in the order of the particles.
        rng: picks the tracks.

    Returns:
        the events; where tracks are no straight lines in (plane, place), intercepts and slopes are of no use (see
        :func:`straight`).

    Raises:
        ConfigurationError: if no event has a track with a hit in each of the first planes.
    """
    parts = [one for event in events if (one := _tracks(event, raster, seed_planes, rng)) is not None]
    if not parts:
        raise ConfigurationError(
            f"none of {len(events)} events has a track with a hit in each of the first {seed_planes} planes"
        )
    most = max(1, max(len(pixel) for pixel, *_ in parts))

    def padded(columns: Sequence[Array], fill: float) -> Array:
        missing = [(most - len(c), *c.shape[1:]) for c in columns]
        return np.stack(
            [np.concatenate([c, np.full(m, fill, c.dtype)]) for c, m in zip(columns, missing, strict=True)]
        )

    pixels, intercepts, slopes, noise = zip(*parts, strict=True)
    return PlaneEvents(
        intercept=padded(intercepts, 0.0),
        slope=padded(slopes, 0.0),
        n_tracks=np.array([len(pixel) for pixel in pixels]),
        track_pixel=padded(pixels, -1),
        noise=np.stack(noise),
    )


def _tracks(
    event: SimulatedEvent, raster: PlaneRaster, seed_planes: int, rng: np.random.Generator
) -> tuple[Array, Array, Array, Array] | None:
    """(K, P) pixels, (K,) intercepts, (K,) slopes and (P, W) noise of an event; ``None`` without a seed."""
    plane, pixel, inside = plane_pixels(event.hits, raster)
    particles = event.particles
    row = particles.rows(event.truth_links.particle_id)
    known = row >= 0
    track_pixel = np.full((len(particles), raster.planes), -1, dtype=np.int64)
    # Written backwards, so that of several hits in a plane the first one stays.
    mine = np.flatnonzero(inside & known)[::-1]
    track_pixel[row[mine], plane[mine]] = pixel[mine]
    noise = np.zeros((raster.planes, raster.pixels), dtype=bool)
    noise[plane[inside & ~known], pixel[inside & ~known]] = True
    azimuth, slope = disc_lines(particles) if straight(raster) else np.zeros((2, len(particles)))
    intercept = (azimuth + slope * raster.start + np.pi) % (2.0 * np.pi)
    if seed_planes:
        whole = np.flatnonzero((track_pixel[:, :seed_planes] >= 0).all(axis=1))
        if not len(whole):
            return None
        seed = rng.choice(whole)
        first = np.concatenate([[seed], np.delete(np.arange(len(particles)), seed)])
        track_pixel, intercept, slope = track_pixel[first], intercept[first], slope[first]
        track_pixel[1:, :seed_planes] = -1
        noise[:seed_planes] = False
    return track_pixel, intercept, slope, noise


def straight(raster: PlaneRaster) -> bool:
    """Whether the planes are REDVID's discs, where azimuths are linear in the number of the plane."""
    return raster.coordinate == "phi" and bool(raster.layers) and all(v == 0 for v, _ in raster.layers)
