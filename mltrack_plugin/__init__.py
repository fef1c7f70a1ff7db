"""mltrack_plugin: Transformer track finding as reconstruction algorithms.

The front door::

    result = mltrack_plugin.run("events.root")      # tracks, summary, scores; nothing is written
    tracks = mltrack_plugin.find_tracks(hits)       # of one event: arrays, awkward records, data frame or Hits
    for event in mltrack_plugin.open_events("events.root"): ...
    for number, tracks in mltrack_plugin.read_tracks("tracks.root"): ...

The rooms, each named by its task; imports go down this list:

- :mod:`~mltrack_plugin.cli`: the command line
- :mod:`~mltrack_plugin.published`: what reproduces published results, apart from the library
- :mod:`~mltrack_plugin.training`, :mod:`~mltrack_plugin.acts`: training of networks; inside an ACTS sequence
- :mod:`~mltrack_plugin.jobs`: job files, the choice of one, a whole job in one call
- :mod:`~mltrack_plugin.algorithms`: reconstruction steps
- :mod:`~mltrack_plugin.simulation`: events with truth, data sets
- :mod:`~mltrack_plugin.io`: readers and writers
- :mod:`~mltrack_plugin.evaluation`: matching, metrics, comparison of collections, figures
- :mod:`~mltrack_plugin.archives`, :mod:`~mltrack_plugin.models`, :mod:`~mltrack_plugin.refiner`: files of networks; the
  networks; what surrounds that of the second stage
- :mod:`~mltrack_plugin.framework`: algorithm, event store, sequencer, event loop, workers, journal
- :mod:`~mltrack_plugin.repair`, :mod:`~mltrack_plugin.following`, :mod:`~mltrack_plugin.kalman`: groups of hits into
  tracks; tracks from seeds; the Kalman filter of both
- :mod:`~mltrack_plugin.mixture`, :mod:`~mltrack_plugin.clustering`, :mod:`~mltrack_plugin.helix`: an event as a mixture
  of tracks; clustering; helix geometry
- :mod:`~mltrack_plugin.detectors`: what is known of a detector
- :mod:`~mltrack_plugin.event_data`: collections of hits, particles, tracks
- :mod:`~mltrack_plugin.configs`, :mod:`~mltrack_plugin.pretrained`: shipped job and training configurations; shipped
  weights

Imports are lazy: ``import mltrack_plugin`` does not import torch.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from mltrack_plugin.version import __version__

if TYPE_CHECKING:
    from mltrack_plugin.archives.archive import load_model as load_model
    from mltrack_plugin.detectors import Detector as Detector
    from mltrack_plugin.detectors import load_detector as load_detector
    from mltrack_plugin.errors import ConfigurationError as ConfigurationError
    from mltrack_plugin.errors import EventDataError as EventDataError
    from mltrack_plugin.errors import EventError as EventError
    from mltrack_plugin.errors import InputError as InputError
    from mltrack_plugin.errors import MissingExtraError as MissingExtraError
    from mltrack_plugin.errors import MltrackError as MltrackError
    from mltrack_plugin.errors import ModelError as ModelError
    from mltrack_plugin.errors import NetworkSettingsError as NetworkSettingsError
    from mltrack_plugin.errors import OutputError as OutputError
    from mltrack_plugin.errors import TrainingError as TrainingError
    from mltrack_plugin.event_data import EventTracks as EventTracks
    from mltrack_plugin.event_data import HitGraph as HitGraph
    from mltrack_plugin.event_data import HitParameters as HitParameters
    from mltrack_plugin.event_data import Hits as Hits
    from mltrack_plugin.event_data import HitSelection as HitSelection
    from mltrack_plugin.event_data import Particles as Particles
    from mltrack_plugin.event_data import ProtoTracks as ProtoTracks
    from mltrack_plugin.event_data import TrackEstimates as TrackEstimates
    from mltrack_plugin.event_data import Tracks as Tracks
    from mltrack_plugin.event_data import TruthLinks as TruthLinks
    from mltrack_plugin.event_data import Vertices as Vertices
    from mltrack_plugin.framework.algorithm import Algorithm as Algorithm
    from mltrack_plugin.framework.algorithm import ProcessCode as ProcessCode
    from mltrack_plugin.framework.algorithm import Reader as Reader
    from mltrack_plugin.framework.algorithm import Writer as Writer
    from mltrack_plugin.framework.event_store import EventStore as EventStore
    from mltrack_plugin.framework.sequencer import Sequencer as Sequencer
    from mltrack_plugin.framework.summary import Summary as Summary
    from mltrack_plugin.io import open_events as open_events
    from mltrack_plugin.io.tracks_collector import TracksCollector as TracksCollector
    from mltrack_plugin.io.tracks_files import read_tracks as read_tracks
    from mltrack_plugin.jobs.config import JobConfig as JobConfig
    from mltrack_plugin.jobs.config import load_job as load_job
    from mltrack_plugin.jobs.find_tracks import find_tracks as find_tracks
    from mltrack_plugin.jobs.result import RunResult as RunResult
    from mltrack_plugin.jobs.run import run as run
    from mltrack_plugin.settings import Config as Config

# Spinning OpenMP threads make small inference jobs 50 times slower on a busy machine;
# the variable is read when torch is imported, so it must be set before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Module -> the names that it gives to the front door (for type checkers they are imported above).
_EXPORTS = {
    "archives.archive": ("load_model",),
    "detectors": ("Detector", "load_detector"),
    "errors": (
        "ConfigurationError",
        "EventDataError",
        "EventError",
        "InputError",
        "MissingExtraError",
        "MltrackError",
        "ModelError",
        "NetworkSettingsError",
        "OutputError",
        "TrainingError",
    ),
    "event_data": (
        "EventTracks",
        "HitGraph",
        "HitParameters",
        "HitSelection",
        "Hits",
        "Particles",
        "ProtoTracks",
        "TrackEstimates",
        "Tracks",
        "TruthLinks",
        "Vertices",
    ),
    "framework.algorithm": ("Algorithm", "ProcessCode", "Reader", "Writer"),
    "framework.event_store": ("EventStore",),
    "framework.sequencer": ("Sequencer",),
    "framework.summary": ("Summary",),
    "io": ("open_events",),
    "jobs.config": ("JobConfig", "load_job"),
    "io.tracks_collector": ("TracksCollector",),
    "io.tracks_files": ("read_tracks",),
    "jobs.find_tracks": ("find_tracks",),
    "jobs.result": ("RunResult",),
    "jobs.run": ("run",),
    "settings": ("Config",),
}
_MODULE_OF = {name: module for module, names in _EXPORTS.items() for name in names}

#: Rooms that completion shows; each is imported when it is asked for.
_ROOMS = (
    "acts",
    "algorithms",
    "archives",
    "clustering",
    "detectors",
    "errors",
    "evaluation",
    "event_data",
    "following",
    "framework",
    "helix",
    "io",
    "jobs",
    "kalman",
    "mixture",
    "models",
    "pretrained",
    "published",
    "refiner",
    "repair",
    "settings",
    "simulation",
    "training",
)

__all__ = ["__version__", *sorted(_MODULE_OF)]


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_ROOMS})
