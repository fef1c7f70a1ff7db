"""Prompt tracks in the barrel of the GenericDetector, composed from a bank of gun particles.

The HEP.TrkX recurrent networks were trained on tracks above 1 GeV that cross the barrel of the ACTS generic detector.
Here particles from a gun (uniform in pseudorapidity and in the logarithm of pT) go through Fatras and the
digitisation once, thousands at a time; events of any multiplicity are put together from them.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.published.heptrkx.graphs.layers import BARREL_VOLUMES
from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.acts_chain import DetectorEvent, simulate_primaries
from mltrack_plugin.simulation.bank import ParticleBank, bank_from_events, compose, composed_to_event
from mltrack_plugin.simulation.base import SPLITS, Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.gun import GunConfig, shoot


class BarrelTracksConfig(Config):
    """Parameters of the barrel tracks."""

    tracks: tuple[int, int] = (10, 50)
    """Smallest and largest number of particles in an event, both included; uniform."""
    noise: float = Field(0.0, ge=0.0, le=10.0)
    """Noise hits as a fraction of the particles' hits."""
    augment: Literal["train", "always", "never"] = "train"
    """Turn and mirror events at random: "train" in the training split only, "always", "never"."""
    sources: int = Field(5, ge=1)
    """Simulated groups of particles, of which an event takes its particles from one."""
    train_sources: int | None = Field(None, ge=1)
    """Groups in the training split, if not as many as in the others."""
    particles: int = Field(2000, ge=1)
    """Particles of a group."""
    vertices: int = Field(100, ge=1)
    """Vertices of a group, which its particles are shared among."""
    species: Literal["pion", "muon", "electron"] = "pion"
    """Kind of particle; both charges are equally likely."""
    pt: tuple[float, float] = (1.0, 10.0)
    """Range of the transverse momentum, GeV; uniform in its logarithm."""
    max_eta: float = Field(0.9, gt=0.0)
    """Largest absolute pseudorapidity; uniform below. From 0.9 on, tracks leave the barrel through its ends."""
    endcaps: bool = False
    """Keep the hits of the endcaps, too."""
    beam_sigma_z: float = Field(55.5, ge=0.0)
    """Standard deviation of the vertices in z, mm."""
    resolution: float = Field(1.0, ge=0.0)
    """Hit resolution in units of the pitch / sqrt(12)."""
    field: float = Field(2.0, gt=0.0)
    """Solenoid field, T."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, smallest in (("tracks", 1), ("pt", 1e-3)):
            low, high = getattr(self, name)
            if not smallest <= low <= high:
                raise ValueError(f"{name} must be two rising numbers from {smallest} on, got {low}-{high}")
        if self.tracks[0] > self.particles:
            raise ValueError(
                f"{self.tracks[0]} tracks cannot be picked from groups of {self.particles} particles"
            )
        return self

    def gun(self) -> GunConfig:
        """The gun that makes one group."""
        return GunConfig.model_validate(
            {
                "tracks": (self.particles, self.particles),
                "vertices": (self.vertices, self.vertices),
                "species": self.species,
                "pt": self.pt,
                "max_eta": self.max_eta,
                "beam_sigma_z": self.beam_sigma_z,
            }
        )


class BarrelTracksDataset(Dataset):
    """Events composed from a bank of gun particles, one bank per split and seed."""

    Config = BarrelTracksConfig

    @property
    def detector(self) -> str:
        return "generic"

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; the first event of a split simulates its bank."""
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy(index, seed, split)))
        augment = self.config.augment == "always" or (self.config.augment == "train" and split == "train")
        bank = self.bank(seed, split)
        composed = compose(bank, rng, self.config.tracks, augment=augment, noise=self.config.noise)
        return composed_to_event(composed)

    def bank(self, seed: int, split: str) -> ParticleBank:
        """The particles of a split.

        Raises:
            MissingExtraError: if pyacts is not installed.
        """
        self.entropy(0, seed, split)
        # What the events are made of does not depend on how many there are of it in an event.
        config = self.config.model_copy(update={"tracks": (1, 1), "noise": 0.0, "augment": "never"})
        return simulated_bank(config, self.tag, split, seed)


@functools.lru_cache(maxsize=4)
def simulated_bank(config: BarrelTracksConfig, tag: int, split: str, seed: int) -> ParticleBank:
    """The particles of a split; kept, because simulating them takes a minute."""
    n = config.train_sources or config.sources if split == "train" else config.sources
    # The fifth word keeps these seeds apart from those of events.
    seeds = np.random.SeedSequence([tag, SPLITS[split], seed, 0, 1]).spawn(n)
    return bank_from_events([_simulate(config, np.random.default_rng(s)) for s in seeds], min_pt=0.0)


def _simulate(config: BarrelTracksConfig, rng: np.random.Generator) -> DetectorEvent:
    """One group of particles with their hits."""
    primaries = shoot(config.gun(), rng)
    event = simulate_primaries(
        primaries, int(rng.integers(2**62)), field=config.field, resolution=config.resolution
    )
    if config.endcaps:
        return event
    keep = np.isin(split_geometry_id(event.geometry_id)[0], BARREL_VOLUMES)
    hits = {name: getattr(event, name)[keep] for name in ("position", "time", "geometry_id", "particle")}
    return dataclasses.replace(event, **hits)
