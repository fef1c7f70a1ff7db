"""Data sets by name; docs/datasets.md describes the shipped ones and compares them with the originals."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mltrack_plugin.registry import find

if TYPE_CHECKING:
    from mltrack_plugin.simulation.base import Dataset


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """A data set as it is registered: its class is imported when it is used, not when all are listed."""

    #: "module:class" of the :class:`~mltrack_plugin.simulation.base.Dataset`.
    target: str
    #: Number of the data set in the seeds: never reused, never changed.
    tag: int
    #: One line for ``mltrack simulate --help``.
    summary: str
    #: Parameters that differ from the defaults of the class.
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def load(self) -> type[Dataset]:
        """The class."""
        module, _, name = self.target.partition(":")
        kind: type[Dataset] = getattr(importlib.import_module(module), name)
        return kind


_REDVID = "mltrack_plugin.simulation.redvid_dataset:RedvidDataset"
_TRACKML = "mltrack_plugin.simulation.trackml_like:TrackmlLikeDataset"

REDVID_10_50_LINEAR = DatasetEntry(
    _REDVID, 1, "Straight tracks in REDVID's detector, 10-50 per event.", {"track_type": "linear"}
)
REDVID_10_50_HELICAL = DatasetEntry(
    _REDVID, 2, "Expanding helices in REDVID's detector, 10-50 per event.", {"track_type": "helical"}
)
REDVID_50_100_HELICAL = DatasetEntry(
    _REDVID,
    3,
    "Expanding helices in REDVID's detector, 50-100 per event.",
    {"track_type": "helical", "tracks": (50, 100)},
)
REDVID_ENDCAP = DatasetEntry(
    _REDVID,
    31,
    "Helices through the nine discs of one end of REDVID's detector, 1-6 per event.",
    {
        "track_type": "helical",
        "tracks": (1, 6),
        "multiplicity": "uniform",
        "turning": (0.1, 1.5),
        "free_start": True,
        "last_layers": ("long+",),
    },
)
ACTS_GUN = DatasetEntry(
    "mltrack_plugin.simulation.gun:GunDataset",
    4,
    "Particle gun through Fatras and the GenericDetector of ACTS.",
)
ACTS_HEPMC = DatasetEntry(
    "mltrack_plugin.simulation.hepmc:HepmcDataset",
    5,
    "Collisions from HepMC3 files, with pile-up, through Fatras and the GenericDetector.",
)
ACTS_TTBAR = DatasetEntry(
    "mltrack_plugin.simulation.ttbar:TtbarDataset",
    10,
    "Complete events of a top-quark pair with pile-up: Pythia, Fatras, GenericDetector of ACTS.",
)
TRACKML_10_50 = DatasetEntry(
    _TRACKML,
    6,
    "10-50 particles picked from a TrackML-like event (ttbar, pile-up 200).",
    {"tracks": (10, 50)},
)
TRACKML_200_500 = DatasetEntry(
    _TRACKML, 7, "200-500 particles picked from a TrackML-like event.", {"tracks": (200, 500)}
)
TRACKML_ANY_DENSITY = DatasetEntry(
    "mltrack_plugin.simulation.any_density:AnyDensityDataset",
    20,
    "10-500 particles, or a cut-out of a denser event, picked from a TrackML-like event, with noise.",
)


def dataset_entry(name: str) -> DatasetEntry:
    """The entry of a data set (entry point group ``mltrack_plugin.datasets``).

    Raises:
        ConfigurationError: naming the nearest data sets.
    """
    entry: DatasetEntry = find("data set", name)
    return entry


def make_dataset(name: str, settings: Mapping[str, Any] | None = None) -> Dataset:
    """A data set with parameters that differ from its defaults.

    Raises:
        ConfigurationError: if there is no such data set, or a parameter is wrong.
    """
    entry = dataset_entry(name)
    return entry.load()(name, entry.tag, {**entry.settings, **(settings or {})})
