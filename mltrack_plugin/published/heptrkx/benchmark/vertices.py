"""The vertex finder of HEP.TrkX on unseen events; published as figures only: good at pile-up 5, mediocre at 25."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.published.heptrkx.benchmark.figures import Figure, bootstrap, central_width, ratio, share
from mltrack_plugin.published.heptrkx.benchmark.rows import Row
from mltrack_plugin.published.heptrkx.images.peaks import vertices_from_bins
from mltrack_plugin.simulation.datasets import make_dataset

if TYPE_CHECKING:
    from mltrack_plugin.archives.track_model import TrackModel
    from mltrack_plugin.published.heptrkx.simulation.heptrkx_vertex import HeptrkxVertexDataset, VertexImages

#: Mean numbers of pile-up collisions of the figures.
PILEUPS = (0, 5, 25)
#: A vertex is found if one lies within this distance, mm: the width of a bin.
VERTEX_WINDOW = 5.0
#: Events simulated and processed at once.
_BATCH = 250


def vertex_rows(seed: int, events: int) -> list[Row]:
    """Primary vertices found, their resolution, and efficiency and purity of all vertices, versus pile-up."""
    name = "vertex-cnn"
    model = load_model(name)
    rows = []
    words = {0: "-", 5: "good (figure)", 25: "mediocre (figure)"}
    for pileup in PILEUPS:
        figures = vertex_figures(model, vertex_events(model, pileup, seed, events))
        for quantity, (value, error) in figures.items():
            published = words[pileup] if quantity.startswith("primary vertex within") else "-"
            rows.append(
                Row(name, f"{quantity}, pile-up {pileup}", published, value, error, "heptrkx-vertex", seed)
            )
    return rows


def vertex_events(model: TrackModel, pileup: float, seed: int, events: int) -> list[VertexImages]:
    """Test events of the vertex finder in batches."""
    from mltrack_plugin.models.vertex_cnn import VertexCNNConfig

    sizes = VertexCNNConfig.model_validate(model.card.hyperparameters)
    # The collisions are the same for every pile-up.
    dataset = vertex_dataset()
    batches = [min(_BATCH, events - start) for start in range(0, events, _BATCH)]
    return [
        dataset.images(
            number,
            size,
            seed=seed,
            split="test",
            shape=(sizes.n_phi, sizes.columns),
            z_max=sizes.z_max,
            pileup=(float(pileup),),
        )
        for number, size in enumerate(batches)
    ]


_DATASETS: dict[float, HeptrkxVertexDataset] = {}


def vertex_dataset(pileup: float = 5.0) -> HeptrkxVertexDataset:
    """The data set of the vertex finder, kept: simulating its collisions takes a minute."""
    if pileup not in _DATASETS:
        _DATASETS[pileup] = cast("HeptrkxVertexDataset", make_dataset("heptrkx-vertex", {"pileup": pileup}))
    return _DATASETS[pileup]


def vertex_figures(
    model: TrackModel, sample: Sequence[VertexImages], threshold: float = 0.5
) -> dict[str, Figure]:
    """Figures of the vertex finder on events with known vertices.

    A true vertex (with two tracks or more on the three layers) is found if a vertex lies within VERTEX_WINDOW, and
    the other way round for the purity. The resolution is the central 68% width of the found primary vertices.
    """
    bin_width = float(cast(float, model.card.hyperparameters["bin_width"]))
    residual, efficiency, purity = [], [], []
    for batch in sample:
        output = model.apply(batch.images).astype(np.float64)
        for row, (primary, vertex) in enumerate(output):
            found = vertices_from_bins(primary, vertex, bin_width, threshold).z.astype(np.float64)
            true = batch.z[batch.event == row]
            residual.append(float(found[0]) - batch.primary[row])
            near_one = np.abs(found[:, None] - true) <= VERTEX_WINDOW
            efficiency.append((near_one.any(axis=0).sum(), len(true)))
            purity.append((near_one.any(axis=1).sum(), len(found)))
    near = np.abs(residual) <= VERTEX_WINDOW
    return {
        f"primary vertex within {VERTEX_WINDOW:g} mm": share(near),
        "68% width of the found primary's residual [mm]": bootstrap(np.array(residual)[near], central_width),
        "efficiency of all vertices": ratio(np.array(efficiency)),
        "purity of all vertices": ratio(np.array(purity)),
    }
