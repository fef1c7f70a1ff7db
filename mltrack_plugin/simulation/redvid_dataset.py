"""The REDVID data sets."""

from __future__ import annotations

from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.redvid import RedvidConfig, redvid_event


class RedvidDataset(Dataset):
    """Straight tracks or expanding helices in REDVID's detector."""

    Config = RedvidConfig

    @property
    def detector(self) -> str:
        return "redvid"

    def event(self, index: int, *, seed: int, split: str) -> SimulatedEvent:
        """Event number ``index``."""
        return redvid_event(self.config, self.entropy(index, seed, split))
