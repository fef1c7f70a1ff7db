"""Events of any density in one data set: for networks that shall work from ten particles to full pile-up."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from mltrack_plugin.simulation.bank import compose, composed_to_event
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.trackml_like import TrackmlLikeConfig, TrackmlLikeDataset


class AnyDensityConfig(TrackmlLikeConfig):
    """Parameters of an any-density data set."""

    #: Smallest and largest number of particles in a whole event, both included; uniform in the logarithm.
    tracks: tuple[int, int] = (10, 500)
    #: Smallest and largest noise, as a fraction of the particles' hits; uniform. ``noise`` is not used.
    noise_range: tuple[float, float] = (0.0, 0.2)
    #: Share of events that are cut out of a denser one.
    dense_share: float = Field(0.0, ge=0.0, le=1.0)
    #: Smallest and largest number of particles in the event that a cut-out is taken from; uniform in the logarithm.
    dense_tracks: tuple[int, int] = (500, 10000)
    #: Particles in a cut-out.
    window: int = Field(500, ge=1)

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name, smallest in (("noise_range", 0.0), ("dense_tracks", 1)):
            low, high = getattr(self, name)
            if not smallest <= low <= high:
                raise ValueError(f"{name} must be two rising numbers from {smallest} on, got {low}-{high}")
        return self


class AnyDensityDataset(TrackmlLikeDataset):
    """Events composed from the particle banks of the TrackML-like data sets."""

    Config = AnyDensityConfig

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; the first event of a split makes or loads its particle bank."""
        config: AnyDensityConfig = self.config
        rng = np.random.default_rng(np.random.SeedSequence(self.entropy(index, seed, split)))
        dense = rng.random() < config.dense_share
        low, high = config.dense_tracks if dense else config.tracks
        n = round(float(np.exp(rng.uniform(np.log(low), np.log(high)))))
        bank = self.bank(seed, split)
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
            window=config.window if dense else None,
        )
        return composed_to_event(composed)
