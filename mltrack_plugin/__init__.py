"""mltrack_plugin: Transformer track finding as reconstruction algorithms.

The rooms, each named by its task:

- :mod:`~mltrack_plugin.framework`: algorithms, event store, sequencer, event loop, worker processes, journal, registry
- :mod:`~mltrack_plugin.jobs`: job files and the choice of one
- :mod:`~mltrack_plugin.detectors`: what is known of a detector
- :mod:`~mltrack_plugin.event_data`: collections of hits, particles, tracks
- :mod:`~mltrack_plugin.algorithms`, :mod:`~mltrack_plugin.io`: reconstruction steps; readers and writers
- :mod:`~mltrack_plugin.kalman`, :mod:`~mltrack_plugin.following`, :mod:`~mltrack_plugin.repair`:
  the Kalman filter; tracks from seeds; groups of hits into tracks
- :mod:`~mltrack_plugin.helix`, :mod:`~mltrack_plugin.mixture`, :mod:`~mltrack_plugin.clustering`:
  helix geometry; an event as a mixture of tracks; clustering
- :mod:`~mltrack_plugin.models`, :mod:`~mltrack_plugin.archives`, :mod:`~mltrack_plugin.refiner`,
  :mod:`~mltrack_plugin.pretrained`: networks; model archives; the network of the second stage; shipped weights
- :mod:`~mltrack_plugin.training`, :mod:`~mltrack_plugin.simulation`: training; events with truth
- :mod:`~mltrack_plugin.evaluation`: metrics, comparison of collections, figures
- :mod:`~mltrack_plugin.acts`, :mod:`~mltrack_plugin.cli`: inside an ACTS sequence; the command line
- :mod:`~mltrack_plugin.published`: what reproduces published results, apart from the library
- :mod:`~mltrack_plugin.configs`: shipped job and training configurations

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
    "Algorithm": "framework.algorithm",
    "Config": "settings",
    "ProcessCode": "framework.algorithm",
    "Reader": "framework.algorithm",
    "Writer": "framework.algorithm",
    "EventStore": "framework.event_store",
    "HitParameters": "event_data",
    "Hits": "event_data",
    "Particles": "event_data",
    "ProtoTracks": "event_data",
    "Tracks": "event_data",
    "TruthLinks": "event_data",
    "Sequencer": "framework.sequencer",
    "load_model": "archives.archive",
    "open_events": "io",
}

__all__ = ["__version__", *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
