"""Complete events of top-quark pairs with pile-up in the GenericDetector: Pythia 8, Fatras, noise."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from mltrack_plugin.simulation.bank import stop_hadrons
from mltrack_plugin.simulation.base import Dataset, FullEventConfig
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.full_event import full_event

if TYPE_CHECKING:
    from mltrack_plugin.simulation.pythia import PythiaCollisions


class TtbarConfig(FullEventConfig):
    """Parameters of complete events of top-quark pairs."""

    pileup: int = Field(200, ge=0)
    """Inelastic collisions on top of the top-quark pair."""
    energy: float = Field(14000.0, gt=0.0)
    """Centre-of-mass energy, GeV."""
    min_pt: float = Field(0.1, ge=0.0)
    """Particles below this transverse momentum at production are not simulated, GeV."""
    max_eta: float = Field(4.5, gt=0.0)
    """Particles beyond this absolute pseudorapidity at production are not simulated."""


class TtbarDataset(Dataset):
    """One gg -> tt collision and ``pileup`` inelastic ones per event, with all hits of all particles."""

    Config = TtbarConfig

    def __init__(self, name: str, tag: int, settings: Any) -> None:
        super().__init__(name, tag, settings)
        self._generators: PythiaCollisions | None = None

    @property
    def detector(self) -> str:
        return "generic"

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; the first one prepares Pythia, which takes some seconds."""
        from mltrack_plugin.simulation.acts_chain import require_acts, simulate_primaries

        require_acts()
        config: TtbarConfig = self.config
        collision_seed, seed_of_the_rest = np.random.SeedSequence(self.entropy(index, seed, split)).spawn(2)
        collisions = self._collisions()
        collisions.restart(collision_seed)
        rng = np.random.default_rng(seed_of_the_rest)
        event = simulate_primaries(
            collisions.next(), int(rng.integers(2**62)), field=config.field, resolution=config.resolution
        )
        return full_event(stop_hadrons(event, config.hadron_stop, rng), config.noise, rng)

    def _collisions(self) -> PythiaCollisions:
        if self._generators is None:
            from mltrack_plugin.simulation.pythia import PythiaCollisions

            config: TtbarConfig = self.config
            # The same seed for all events: Pythia integrates cross sections with it before the first one.
            self._generators = PythiaCollisions(
                np.random.SeedSequence(self.tag),
                pileup=config.pileup,
                energy=config.energy,
                beam_spot=(config.beam_sigma_xy, config.beam_sigma_xy, config.beam_sigma_z),
                min_pt=config.min_pt,
                max_eta=config.max_eta,
            )
        return self._generators
