"""Particle gun events in the GenericDetector."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.simulation.acts_chain import Primaries, simulate_primaries
from mltrack_plugin.simulation.bank import stop_hadrons
from mltrack_plugin.simulation.base import Dataset, FullEventConfig
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.full_event import full_event

#: PDG code of the positive particle, mass in GeV.
SPECIES = {"pion": (211, 0.13957039), "muon": (-13, 0.1056583755), "electron": (-11, 0.00051099895)}


class GunConfig(FullEventConfig):
    """Parameters of the particle gun."""

    tracks: tuple[int, int] = (10, 50)
    """Smallest and largest number of particles in an event, both included; uniform."""
    vertices: tuple[int, int] = (1, 5)
    """Smallest and largest number of vertices that the particles are shared among; uniform."""
    species: Literal["pion", "muon", "electron"] = "pion"
    """Kind of particle; both charges are equally likely."""
    pt: tuple[float, float] = (0.5, 10.0)
    """Range of the transverse momentum, GeV; uniform in its logarithm."""
    max_eta: float = Field(3.0, gt=0.0)
    """Largest absolute pseudorapidity; uniform below."""
    hadron_stop: float = Field(0.0, ge=0.0, lt=1.0)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, smallest in (("tracks", 1), ("vertices", 1), ("pt", 1e-3)):
            low, high = getattr(self, name)
            if not smallest <= low <= high:
                raise ValueError(f"{name} must be two rising numbers from {smallest} on, got {low}-{high}")
        return self


class GunDataset(Dataset):
    """Particles from a gun, simulated one event at a time."""

    Config = GunConfig

    @property
    def detector(self) -> str:
        return "generic"

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``."""
        config: GunConfig = self.config
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy(index, seed, split)))
        primaries = shoot(config, rng)
        event = simulate_primaries(
            primaries, int(rng.integers(2**62)), field=config.field, resolution=config.resolution
        )
        return full_event(stop_hadrons(event, config.hadron_stop, rng), config.noise, rng)


def shoot(config: GunConfig, rng: np.random.Generator) -> Primaries:
    """The particles of one event."""
    n = int(rng.integers(config.tracks[0], config.tracks[1] + 1))
    n_vertices = int(rng.integers(config.vertices[0], config.vertices[1] + 1))
    sigma = (config.beam_sigma_xy, config.beam_sigma_xy, config.beam_sigma_z)
    vertices = rng.normal(0.0, sigma, (n_vertices, 3))
    position = np.zeros((n, 4))
    position[:, :3] = vertices[rng.integers(n_vertices, size=n)]
    pt = np.exp(rng.uniform(np.log(config.pt[0]), np.log(config.pt[1]), n))
    eta = rng.uniform(-config.max_eta, config.max_eta, n)
    phi = rng.uniform(-np.pi, np.pi, n)
    charge = rng.choice([-1.0, 1.0], n)
    pdg, mass = SPECIES[config.species]
    return Primaries(
        pdg=(pdg * charge).astype(np.int64),
        charge=charge,
        mass=np.full(n, mass),
        position=position,
        momentum=np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1),
    )
