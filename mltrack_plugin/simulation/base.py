"""Dataset: deterministic events by index, seed and split."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.settings import Config, validated
from mltrack_plugin.simulation.event import SimulatedEvent

#: Split -> its number in the seeds. Events of different splits never share a random number or a source event.
SPLITS = {"train": 1, "validation": 2, "test": 3}


def split_window(available: int, shares: tuple[float, float, float], split: str) -> tuple[int, int]:
    """First source event that a split owns, and how many it owns.

    Args:
        available: number of source events.
        shares: of training, validation and test, in this order; the splits own consecutive blocks.
        split: one of SPLITS.
    """
    edges = np.floor(available * np.cumsum([0.0, *shares]) + 1e-9).astype(int)
    row = SPLITS[split] - 1
    return int(edges[row]), int(edges[row + 1] - edges[row])


class DetectorConfig(Config):
    """How the GenericDetector measures particles."""

    hadron_stop: float = Field(0.02, ge=0.0, lt=1.0)
    """Probability that a hadron ends behind one of its hits (nuclear interactions)."""
    resolution: float = Field(1.0, ge=0.0)
    """Hit resolution in units of the pitch / sqrt(12)."""
    field: float = Field(2.0, gt=0.0)
    """Solenoid field, T."""


class CollisionConfig(DetectorConfig):
    """Where particles come from, and how they are measured."""

    beam_sigma_xy: float = Field(0.0125, ge=0.0)
    """Standard deviation of the vertices in x and in y, mm."""
    beam_sigma_z: float = Field(55.5, ge=0.0)
    """Standard deviation of the vertices in z, mm."""


class FullEventConfig(CollisionConfig):
    """Complete events: particles and noise."""

    noise: float = Field(0.0, ge=0.0, le=10.0)
    """Noise hits as a fraction of the particles' hits; uniform over the modules."""


class Dataset(ABC):
    """A shipped data set with its parameters.

    Args:
        name: as in ``mltrack simulate``.
        tag: number of the data set in the seeds.
        settings: parameters that differ from the defaults.

    Raises:
        ConfigurationError: naming each parameter that is wrong.
    """

    #: Frozen pydantic model, one documented field per parameter.
    Config: ClassVar[type[Config]] = Config

    def __init__(self, name: str, tag: int, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.tag = tag
        self.config: Any = validated(self.Config, settings, f"data set {name}")

    @property
    @abstractmethod
    def detector(self) -> str:
        """Detector that the hits come from, as models and job configurations name it."""

    def parameters(self) -> dict[str, Any]:
        """All parameters as plain values, for the metadata of an output."""
        return dict(self.config.model_dump(mode="json"))

    @abstractmethod
    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``; the same arguments and parameters give the same event.

        Raises:
            ConfigurationError: if there is no such split, or the parameters cannot be met.
            MissingExtraError: if the simulation needs an optional package that is not installed.
        """

    def close(self) -> None:  # noqa: B027 - most data sets have nothing open
        """Let go of open files."""

    def events(self, n: int, seed: int, split: str) -> Iterator[SimulatedEvent]:
        """Events 0 to n - 1."""
        for index in range(n):
            yield self.event(index, seed=seed, split=split)

    def entropy(self, index: int, seed: int, split: str) -> list[int]:
        """Entropy for ``np.random.SeedSequence``, different for every data set, split, seed and event.

        Raises:
            ConfigurationError: if there is no such split, or seed or index is negative.
        """
        if split not in SPLITS:
            raise ConfigurationError(f"no split {split!r}. {did_you_mean(split, SPLITS)}")
        if seed < 0 or index < 0:
            raise ConfigurationError(f"seed and event index must not be negative, got {seed} and {index}")
        return [self.tag, SPLITS[split], seed, index]
