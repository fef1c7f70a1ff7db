"""TrackML-like data sets: particles picked at random from full events, with all their hits.

The recipe is that of the published subsets: a number of particles, uniform in the range, picked at random
from one event, with all their hits in all volumes; noise drops out. The full events come from Pythia and
Fatras, or from a directory of real TrackML events (parameter ``from_dir``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.bank import (
    ParticleBank,
    bank_from_events,
    compose,
    composed_to_event,
    stop_hadrons,
    stored_bank,
)
from mltrack_plugin.simulation.base import SPLITS, Dataset, DetectorConfig
from mltrack_plugin.simulation.event import SimulatedEvent


class TrackmlLikeConfig(DetectorConfig):
    """Parameters of a TrackML-like data set."""

    tracks: tuple[int, int] = (10, 50)
    """Smallest and largest number of particles in an event, both included; uniform."""
    noise: float = Field(0.0, ge=0.0, le=10.0)
    """Noise hits as a fraction of the particles' hits."""
    augment: Literal["train", "always", "never"] = "train"
    """Turn and mirror events at random: "train" in the training split only, "always", "never"."""
    sources: int = Field(4, ge=1)
    """Full events that the particles are picked from, in each split."""
    train_sources: int | None = Field(None, ge=1)
    """Full events in the training split, if not as many as in the others."""
    bank_dir: Path | None = None
    """Folder where particle banks are kept between runs; without it they live in memory."""
    from_dir: Path | None = None
    """Directory of real TrackML events to pick from, instead of simulated ones."""
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """With from_dir: shares of its events that go to training, validation and test, in this order."""
    min_pt: float = Field(0.15, ge=0.0)
    """Smallest transverse momentum of a particle at production, GeV."""
    max_eta: float = Field(4.0, gt=0.0)
    """Largest absolute pseudorapidity of a particle at production."""
    min_hits: int = Field(1, ge=1)
    """Smallest number of hits of a particle."""
    pileup: int = Field(200, ge=0)
    """Inelastic collisions on top of the top-quark pair in a full event."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 1 <= self.tracks[0] <= self.tracks[1]:
            raise ValueError(f"tracks must be two rising numbers from 1 on, got {self.tracks}")
        return self


#: Parameters that decide what is in a bank; the others only concern the composition.
_BANK_PARAMETERS = {
    "min_pt",
    "max_eta",
    "min_hits",
    "pileup",
    "hadron_stop",
    "resolution",
    "field",
}


class TrackmlLikeDataset(Dataset):
    """Events composed from a particle bank, one bank per split and seed."""

    Config: ClassVar[type[Config]] = TrackmlLikeConfig

    def __init__(self, name: str, tag: int, settings: Any) -> None:
        super().__init__(name, tag, settings)
        self._banks: dict[tuple[str, int], ParticleBank] = {}

    @property
    def detector(self) -> str:
        return "trackml" if self.config.from_dir else "generic"

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; the first event of a split makes or loads its particle bank."""
        entropy = self.entropy(index, seed, split)
        augment = self.config.augment == "always" or (self.config.augment == "train" and split == "train")
        composed = compose(
            self.bank(seed, split),
            np.random.default_rng(np.random.SeedSequence(entropy)),
            self.config.tracks,
            augment=augment,
            noise=self.config.noise,
        )
        return composed_to_event(composed)

    def parameters(self) -> dict[str, Any]:
        """Parameters that decide what is in the events; where banks are kept does not."""
        return {name: value for name, value in super().parameters().items() if name != "bank_dir"}

    def bank(self, seed: int, split: str) -> ParticleBank:
        """The particle bank of a split.

        Raises:
            MissingExtraError: if it must be simulated and pyacts or pythia8mc is not installed.
            InputError: if the bank's file, or the TrackML directory, cannot be read.
        """
        if (split, seed) not in self._banks:
            self.entropy(0, seed, split)
            self._banks[split, seed] = self._load_or_make(seed, split)
        return self._banks[split, seed]

    def _load_or_make(self, seed: int, split: str) -> ParticleBank:
        if self.config.from_dir is not None:
            from mltrack_plugin.simulation.trackml_subset import trackml_bank

            return trackml_bank(
                self.config.from_dir,
                split,
                self.config.shares,
                max_sources=self._n_sources(split),
                min_pt=self.config.min_pt,
                max_eta=self.config.max_eta,
                min_hits=self.config.min_hits,
            )
        return stored_bank(
            self.config.bank_dir,
            f"particles-{split}-{seed}.npz",
            self._provenance(seed, split),
            lambda: self._simulate(seed, split),
        )

    def _provenance(self, seed: int, split: str) -> str:
        values = {name: getattr(self.config, name) for name in sorted(_BANK_PARAMETERS)}
        return json.dumps({"seed": seed, "split": split, **values, "sources": self._n_sources(split)})

    def _n_sources(self, split: str) -> int:
        config: TrackmlLikeConfig = self.config
        return config.train_sources or config.sources if split == "train" else config.sources

    def _simulate(self, seed: int, split: str) -> ParticleBank:
        from mltrack_plugin.simulation.acts_chain import require_acts, simulate_primaries
        from mltrack_plugin.simulation.pythia import PythiaCollisions

        require_acts()
        config = self.config
        # Banks do not depend on the data set: 10-50 and 200-500 share theirs.
        sequence = np.random.SeedSequence([0, SPLITS[split], seed, 0])
        generator_seed, *source_seeds = sequence.spawn(1 + self._n_sources(split))
        collisions = PythiaCollisions(generator_seed, pileup=config.pileup)
        events = []
        for source_seed in source_seeds:
            rng = np.random.default_rng(source_seed)
            event = simulate_primaries(
                collisions.next(), int(rng.integers(2**62)), field=config.field, resolution=config.resolution
            )
            events.append(stop_hadrons(event, config.hadron_stop, rng))
        return bank_from_events(
            events, min_pt=config.min_pt, max_eta=config.max_eta, min_hits=config.min_hits
        )
