"""The shipped data sets by name; docs/datasets.md describes them and compares them with the originals."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mltrack_plugin.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from mltrack_plugin.simulation.base import Dataset


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """One shipped data set; its module is imported when it is used."""

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

DATASETS = {
    "redvid-10-50-linear": DatasetEntry(
        _REDVID, 1, "Straight tracks in REDVID's detector, 10-50 per event.", {"track_type": "linear"}
    ),
    "redvid-10-50-helical": DatasetEntry(
        _REDVID, 2, "Expanding helices in REDVID's detector, 10-50 per event.", {"track_type": "helical"}
    ),
    "redvid-50-100-helical": DatasetEntry(
        _REDVID,
        3,
        "Expanding helices in REDVID's detector, 50-100 per event.",
        {"track_type": "helical", "tracks": (50, 100)},
    ),
    "redvid-endcap": DatasetEntry(
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
    ),
    "acts-gun": DatasetEntry(
        "mltrack_plugin.simulation.gun:GunDataset",
        4,
        "Particle gun through Fatras and the GenericDetector of ACTS.",
    ),
    "acts-hepmc": DatasetEntry(
        "mltrack_plugin.simulation.hepmc:HepmcDataset",
        5,
        "Collisions from HepMC3 files, with pile-up, through Fatras and the GenericDetector.",
    ),
    "acts-ttbar": DatasetEntry(
        "mltrack_plugin.simulation.ttbar:TtbarDataset",
        10,
        "Complete events of a top-quark pair with pile-up: Pythia, Fatras, GenericDetector of ACTS.",
    ),
    "trackml-10-50": DatasetEntry(
        _TRACKML,
        6,
        "10-50 particles picked from a TrackML-like event (ttbar, pile-up 200).",
        {"tracks": (10, 50)},
    ),
    "trackml-200-500": DatasetEntry(
        _TRACKML, 7, "200-500 particles picked from a TrackML-like event.", {"tracks": (200, 500)}
    ),
    "trackml-any-density": DatasetEntry(
        "mltrack_plugin.simulation.any_density:AnyDensityDataset",
        20,
        "10-500 particles, or a cut-out of a denser event, picked from a TrackML-like event, with noise.",
    ),
    "heptrkx-tracks": DatasetEntry(
        "mltrack_plugin.published.heptrkx.simulation.barrel_tracks:BarrelTracksDataset",
        11,
        "10-50 prompt particles with pT > 1 GeV in the barrel of the GenericDetector.",
    ),
    "toy-planes": DatasetEntry(
        "mltrack_plugin.published.heptrkx.simulation.toy_planes:ToyPlanesDataset",
        9,
        "Straight tracks and noise on toy detector planes, as in the image studies of HEP.TrkX.",
    ),
    "heptrkx-vertex": DatasetEntry(
        "mltrack_plugin.published.heptrkx.simulation.heptrkx_vertex:HeptrkxVertexDataset",
        12,
        "QCD events with pile-up 5 on the three inner barrel layers: the data of the vertex finder.",
    ),
    "heptrkx-qcd": DatasetEntry(
        "mltrack_plugin.published.heptrkx.simulation.heptrkx:HeptrkxDataset",
        8,
        "QCD events with pile-up 10, pT > 1 GeV, in the barrel: the data of the HEP.TrkX networks.",
    ),
}


def dataset_entry(name: str) -> DatasetEntry:
    """The entry of a data set.

    Raises:
        ConfigurationError: naming the nearest data sets.
    """
    try:
        return DATASETS[name]
    except KeyError:
        raise ConfigurationError(f"no data set {name!r}. {did_you_mean(name, DATASETS)}") from None


def make_dataset(name: str, settings: Mapping[str, Any] | None = None) -> Dataset:
    """A shipped data set, with parameters that differ from its defaults.

    Raises:
        ConfigurationError: if there is no such data set, or a parameter is wrong.
    """
    entry = dataset_entry(name)
    return entry.load()(name, entry.tag, {**entry.settings, **(settings or {})})
