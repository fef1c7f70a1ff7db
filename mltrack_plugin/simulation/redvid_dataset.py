"""The REDVID data sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event


class RedvidDataset(Dataset):
    """Straight tracks or expanding helices in REDVID's detector."""

    Config = RedvidConfig

    def __init__(self, name: str, tag: int, settings: Mapping[str, Any]) -> None:
        super().__init__(name, tag, settings)
        for parameter, smallest in (("tracks", 1), ("turning", 0.0)):
            low, high = getattr(self.config, parameter)
            if not smallest <= low <= high:
                raise ConfigurationError(
                    f"data set {name}: {parameter} must be two rising numbers from {smallest} on, "
                    f"got {low}-{high}"
                )

    @property
    def detector(self) -> str:
        return "redvid"

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``."""
        return redvid_event(self.config, self.entropy(index, seed, split))
