"""Toy detector planes: straight tracks and noise in a stack of pixel rows.

The toy data of the HEP.TrkX image studies (Farrell et al., "The HEP.TrkX Project: deep neural networks for HL-LHC
online and offline tracking", CTD/WIT 2017): planes one behind the other, each a row of pixels; a track enters the
first plane and leaves the last one at uniformly distributed places, and a pixel is hit or not.

Coordinates: plane p lies at x = p x spacing, pixel i of a plane covers y from i to i + 1 times pitch, z = 0. A track
is y = intercept + slope x.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent


class ToyPlanesConfig(Config):
    """Parameters of toy detector planes."""

    planes: int = Field(50, ge=3)
    """Detector planes."""
    pixels: int = Field(50, ge=3)
    """Pixels of a plane."""
    pitch: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Width of a pixel, mm."""
    spacing: float = Field(1.0, gt=0, allow_inf_nan=False)
    """Distance of neighbouring planes, mm."""
    tracks: tuple[int, int] = (1, 6)
    """Smallest and largest number of tracks, both included; uniform."""
    mean_tracks: float | None = Field(None, gt=0, allow_inf_nan=False)
    """Mean of a Poisson distribution of the number of tracks instead; numbers outside ``tracks`` become its ends."""
    noise: tuple[float, float] = (0.0, 0.0)
    """Smallest and largest probability of a noise hit in a pixel; uniform."""
    clean_planes: int = Field(0, ge=0)
    """The first planes show the first track alone: the seed of the seeded-track problem of HEP.TrkX."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        if not 0 <= self.tracks[0] <= self.tracks[1]:
            raise ValueError(f"tracks must be two rising numbers from 0 on, got {self.tracks}")
        if not 0 <= self.noise[0] <= self.noise[1] <= 1:
            raise ValueError(f"noise must be two rising probabilities, got {self.noise}")
        if self.clean_planes > self.planes:
            raise ValueError(f"clean_planes is {self.clean_planes}, the detector has {self.planes} planes")
        if self.clean_planes and not self.tracks[0]:
            raise ValueError("clean_planes need a first track in every event: tracks must begin at 1 or more")
        return self


@dataclasses.dataclass(frozen=True)
class PlaneEvents:
    """E events on P planes of W pixels with up to K tracks each.

    Attributes:
        intercept: (E, K) float64, mm: y in the first plane.
        slope: (E, K) float64: dy/dx.
        n_tracks: (E,) int64; track k of an event exists if k < n_tracks.
        track_pixel: (E, K, P) int64: pixel of each track in each plane; -1 = not seen there.
        noise: (E, P, W) bool: pixels that fire by themselves.
    """

    intercept: Array
    slope: Array
    n_tracks: Array
    track_pixel: Array
    noise: Array

    @property
    def images(self) -> Array:
        """(E, P, W) float32: 1 where a track or noise has left a hit."""
        images = self.noise.astype(np.float32)
        event, track, plane = np.nonzero(self.track_pixel >= 0)
        images[event, plane, self.track_pixel[event, track, plane]] = 1.0
        return images


def simulate_planes(config: ToyPlanesConfig, n_events: int, rng: np.random.Generator) -> PlaneEvents:
    """``n_events`` independent events at once."""
    low, high = config.tracks
    if config.mean_tracks is None:
        n_tracks = rng.integers(low, high + 1, n_events)
    else:
        n_tracks = np.clip(rng.poisson(config.mean_tracks, n_events), low, high)
    entry, leave = rng.uniform(0.0, config.pixels, (2, n_events, high))
    # The track leaves one spacing behind the last plane, as in the original.
    rise = (leave - entry) / config.planes
    plane = np.arange(config.planes)
    pixel = np.floor(entry[:, :, None] + rise[:, :, None] * plane).astype(np.int64)
    pixel = np.clip(pixel, 0, config.pixels - 1)
    pixel[np.arange(high) >= n_tracks[:, None]] = -1
    pixel[:, 1:, : config.clean_planes] = -1
    probability = rng.uniform(config.noise[0], config.noise[1], n_events)
    if config.noise[1] > 0:
        shape = (n_events, config.planes, config.pixels)
        noise = rng.random(shape, dtype=np.float32) < probability[:, None, None]
        noise[:, : config.clean_planes] = False
    else:
        noise = np.zeros((n_events, config.planes, config.pixels), dtype=bool)
    return PlaneEvents(entry * config.pitch, rise * config.pitch / config.spacing, n_tracks, pixel, noise)


def planes_event(config: ToyPlanesConfig, events: PlaneEvents, row: int) -> SimulatedEvent:
    """One event as collections, hits ordered by plane and pixel.

    A pixel is one hit: where tracks share it, it is the first track's; where noise and a track share it, the track's.
    ``layer_id`` is the plane. A particle starts at (0, intercept, 0) and flies along (1, slope, 0), which stands in
    the columns of the momentum as in other data without momenta; its charge is 0.
    """
    n = int(events.n_tracks[row])
    owner = np.where(events.noise[row], 0, -1)
    for track in range(n - 1, -1, -1):
        pixel = events.track_pixel[row, track]
        seen = np.flatnonzero(pixel >= 0)
        owner[seen, pixel[seen]] = track + 1
    plane, pixel = np.nonzero(owner >= 0)
    truth = owner[plane, pixel].astype(np.uint64)
    zero = np.zeros(len(plane))
    hits = Hits(
        hit_id=np.arange(1, len(plane) + 1, dtype=np.uint64),
        x=plane * config.spacing,
        y=(pixel + 0.5) * config.pitch,
        z=zero,
        layer_id=plane,
    )
    nothing = np.zeros(n)
    particles = Particles(
        particle_id=np.arange(1, n + 1, dtype=np.uint64),
        vx=nothing,
        vy=events.intercept[row, :n],
        vz=nothing,
        px=np.ones(n),
        py=events.slope[row, :n],
        pz=nothing,
        q=nothing,
        nhits=np.bincount(truth.astype(np.int64), minlength=n + 1)[1:],
    )
    return SimulatedEvent(hits, TruthLinks(truth), particles)


class ToyPlanesDataset(Dataset):
    """Straight tracks and noise on toy detector planes."""

    Config = ToyPlanesConfig

    def __init__(self, name: str, tag: int, settings: Mapping[str, Any]) -> None:
        super().__init__(name, tag, settings)

    @property
    def detector(self) -> str:
        return "toy-planes"

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``."""
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy(index, seed, split)))
        return planes_event(self.config, simulate_planes(self.config, 1, rng), 0)

    def batch(self, number: int, size: int, *, seed: int, split: str) -> PlaneEvents:
        """``size`` events as arrays, ten times faster than one by one; other events than ``event`` gives."""
        entropy = [*self.entropy(number, seed, split), size]
        return simulate_planes(self.config, size, np.random.default_rng(np.random.SeedSequence(entropy)))
