"""mltrack_plugin: Transformer track finding as reconstruction algorithms.

Where to look: :mod:`~mltrack_plugin.event_data` (the collections), :mod:`~mltrack_plugin.algorithm` and
:mod:`~mltrack_plugin.sequencer` (the framework), :mod:`~mltrack_plugin.algorithms` (the reconstruction steps),
:mod:`~mltrack_plugin.io` (readers and writers), :mod:`~mltrack_plugin.models` (networks and archives),
:mod:`~mltrack_plugin.performance` (metrics), :mod:`~mltrack_plugin.simulation` (events with truth).

Imports are lazy: ``import mltrack_plugin`` does not import torch.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

# Spinning OpenMP threads make small inference jobs 50 times slower on a busy machine;
# the variable is read when torch is imported, so it must be set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

_EXPORTS = {
    "Algorithm": "algorithm",
    "Config": "algorithm",
    "ProcessCode": "algorithm",
    "Reader": "algorithm",
    "Writer": "algorithm",
    "EventStore": "event_store",
    "HitParameters": "event_data",
    "Hits": "event_data",
    "Particles": "event_data",
    "ProtoTracks": "event_data",
    "Tracks": "event_data",
    "TruthLinks": "event_data",
    "Sequencer": "sequencer",
    "load_model": "models.archive",
    "open_events": "io",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
