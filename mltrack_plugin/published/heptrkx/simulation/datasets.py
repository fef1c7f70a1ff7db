"""The data sets of HEP.TrkX as they are registered."""

from __future__ import annotations

from mltrack_plugin.simulation.datasets import DatasetEntry

_ROOM = "mltrack_plugin.published.heptrkx.simulation"

HEPTRKX_TRACKS = DatasetEntry(
    f"{_ROOM}.barrel_tracks:BarrelTracksDataset",
    11,
    "10-50 prompt particles with pT > 1 GeV in the barrel of the GenericDetector.",
)
TOY_PLANES = DatasetEntry(
    f"{_ROOM}.toy_planes:ToyPlanesDataset",
    9,
    "Straight tracks and noise on toy detector planes, as in the image studies of HEP.TrkX.",
)
HEPTRKX_VERTEX = DatasetEntry(
    f"{_ROOM}.heptrkx_vertex:HeptrkxVertexDataset",
    12,
    "QCD events with pile-up 5 on the three inner barrel layers: the data of the vertex finder.",
)
HEPTRKX_QCD = DatasetEntry(
    f"{_ROOM}.heptrkx:HeptrkxDataset",
    8,
    "QCD events with pile-up 10, pT > 1 GeV, in the barrel: the data of the HEP.TrkX networks.",
)
