"""Events of any density in one data set: for networks that must work from ten particles to full pile-up."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.acts_chain import simulate_primaries
from mltrack_plugin.simulation.bank import (
    ParticleBank,
    bank_from_events,
    compose,
    composed_to_event,
    stored_bank,
)
from mltrack_plugin.simulation.base import SPLITS
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.gun import GunConfig, shoot
from mltrack_plugin.simulation.trackml_like import TrackmlLikeConfig, TrackmlLikeDataset

#: Particles of the gun that are simulated together.
_GUN_EVENT = 20_000


class AnyDensityConfig(TrackmlLikeConfig):
    """Parameters of an any-density data set."""

    tracks: tuple[int, int] = (10, 500)
    """Smallest and largest number of particles in a whole event, both included; uniform in the logarithm."""
    noise_range: tuple[float, float] = (0.0, 0.2)
    """Smallest and largest noise, as a fraction of the particles' hits; uniform. ``noise`` is not used."""
    module_noise: float = Field(0.0, ge=0.0, le=1.0)
    """Share of events whose noise lies anywhere on the modules, as in the full events; that of the others is
    distributed as the hits of particles are.
    """
    dense_share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of events that are cut out of a denser one."""
    dense_tracks: tuple[int, int] = (500, 10000)
    """Smallest and largest number of particles in the event that a cut-out is taken from; uniform in the logarithm."""
    window: int = Field(500, ge=1)
    """Particles in a cut-out."""
    gun_share: float = Field(0.0, ge=0.0, le=1.0)
    """Share of events made of particles from a gun (pions, pT 0.3-10 GeV, |eta| < 3, uniform in log pT and in eta),
    each from a vertex of its own in a long beam spot: what collisions give too few of.
    """
    gun_particles: int = Field(100_000, ge=1)
    """Particles of the gun in a split."""
    gun_sigma_z: float = Field(55.5, ge=0.0)
    """Standard deviation of the gun's vertices in z, mm."""

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name, smallest in (("noise_range", 0.0), ("dense_tracks", 1)):
            low, high = getattr(self, name)
            if not smallest <= low <= high:
                raise ValueError(f"{name} must be two rising numbers from {smallest} on, got {low}-{high}")
        return self


class AnyDensityDataset(TrackmlLikeDataset):
    """Events composed from the particle banks of the TrackML-like data sets."""

    Config: ClassVar[type[Config]] = AnyDensityConfig

    def __init__(self, name: str, tag: int, settings: Any) -> None:
        super().__init__(name, tag, settings)
        self._gun_banks: dict[tuple[str, int], ParticleBank] = {}

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; the first event of a split makes or loads its particle bank."""
        config: AnyDensityConfig = self.config
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy(index, seed, split)))
        dense = rng.random() < config.dense_share
        bank = self.gun_bank(seed, split) if rng.random() < config.gun_share else self.bank(seed, split)
        low, high = config.dense_tracks if dense else config.tracks
        n = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
        source = int(rng.integers(bank.n_sources))
        # A source holds what its collisions made; a denser event cannot be cut from it.
        n = min(n, int(np.diff(bank.source_offsets)[source]))
        composed = compose(
            bank,
            rng,
            (n, n),
            source=source,
            augment=config.augment == "always" or (config.augment == "train" and split == "train"),
            noise=rng.uniform(*config.noise_range),
            # Without it no number is drawn: events stay what they were.
            module_noise=config.module_noise > 0 and bool(rng.random() < config.module_noise),
            window=config.window if dense else None,
        )
        return composed_to_event(composed)

    def gun_bank(self, seed: int, split: str) -> ParticleBank:
        """The gun's particles of a split, from a file in ``bank_dir`` if there is one.

        Raises:
            MissingExtraError: if it must be simulated and pyacts is not installed.
            ConfigurationError: if the file was made with other parameters.
        """
        if (split, seed) not in self._gun_banks:
            config: AnyDensityConfig = self.config
            provenance = json.dumps(
                {"seed": seed, "split": split}
                | {
                    name: getattr(config, name)
                    for name in ("gun_particles", "gun_sigma_z", "resolution", "field")
                }
            )
            self._gun_banks[split, seed] = stored_bank(
                config.bank_dir, f"gun-{split}-{seed}.npz", provenance, lambda: self._shoot(seed, split)
            )
        return self._gun_banks[split, seed]

    def _shoot(self, seed: int, split: str) -> ParticleBank:
        config: AnyDensityConfig = self.config
        rng = np.random.default_rng(np.random.SeedSequence([0, SPLITS[split], seed, 1]))
        events = []
        for start in range(0, config.gun_particles, _GUN_EVENT):
            n = min(_GUN_EVENT, config.gun_particles - start)
            gun = {
                "tracks": (n, n),
                "vertices": (n, n),
                "pt": (0.3, 10.0),
                "beam_sigma_z": config.gun_sigma_z,
            }
            primaries = shoot(GunConfig.model_validate(gun | {"max_eta": 3.0}), rng)
            events.append(
                simulate_primaries(
                    primaries, int(rng.integers(2**62)), field=config.field, resolution=config.resolution
                )
            )
        return bank_from_events(events, min_pt=0.0, max_eta=config.max_eta, min_hits=config.min_hits)
