"""The pictures of the image methods, as the originals showed them. Needs the extra ``[plot]``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mltrack_plugin.algorithms.heptrkx.find_vertices import FindVertices
from mltrack_plugin.algorithms.heptrkx.segment_image import SegmentImage
from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.event_data import ProtoTracks, Vertices
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.framework.algorithm import Algorithm
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.models.vertex_cnn import VertexCNNConfig
from mltrack_plugin.published.heptrkx.benchmark import images, vertices
from mltrack_plugin.published.heptrkx.benchmark.rows import Row
from mltrack_plugin.published.heptrkx.images.pictures import (
    draw_accuracy,
    draw_lines,
    draw_pulls,
    draw_segmentation,
    draw_vertices,
)
from mltrack_plugin.published.heptrkx.images.raster import plane_image, unrolled_images
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent


def draw_toy_pictures(folder: Path | str, seed: int) -> list[Path]:
    """Segmentation of one event, one track in heavy noise, a sequence of tracks, and its pulls.

    Args:
        folder: where the pictures go.
        seed: of the test events.
    """
    target = Path(folder)
    return [
        draw_segmented(target / "image-segmentation.png", seed),
        _draw_first_lines(
            target / "image-track.png", "image-track-cnn-gauss", seed, noise=images.HEAVY_NOISE
        ),
        _draw_first_lines(target / "image-tracks.png", "image-tracks-cnn-lstm", seed, tracks=3),
        draw_line_pulls(target / "image-track-pulls.png", seed),
    ]


def draw_segmented(
    path: Path | str, seed: int, tracks: int = 4, model: str = "image-segmentation-lstm"
) -> Path:
    """A test event of toy planes with its true and its found tracks."""
    event = make_dataset("toy-planes", {"tracks": (tracks, tracks), "noise": (0.02, 0.02)}).event(
        0, seed=seed, split="test"
    )
    found = _run(SegmentImage(model=model), event).get("proto_tracks", ProtoTracks)
    hits = event.hits
    plane, pixel = np.asarray(hits.layer_id, dtype=np.int64), np.floor(hits.y).astype(np.int64)

    def as_image(labels: Array) -> Array:
        image = np.full((50, 50), -1, dtype=np.int64)
        image[plane, pixel] = labels
        return image

    truth = event.truth_links.particle_id.astype(np.int64) - 1
    # A found track gets the colour of the particle that most of its hits come from.
    labels = found.labels(len(hits))
    for track in range(len(found)):
        values, counts = np.unique(truth[labels == track], return_counts=True)
        labels[labels == track] = -10 - max(int(values[counts.argmax()]), 0)
    labels = np.where(labels <= -10, -10 - labels, -1)
    return draw_segmentation(plane_image(plane, pixel, 50, 50), as_image(truth), as_image(labels), path)


def draw_line_pulls(path: Path | str, seed: int, events: int = 2000) -> Path:
    """Pulls of intercept and slope of one track in heavy noise."""
    settings = {"tracks": (1, 1), "noise": (images.HEAVY_NOISE, images.HEAVY_NOISE)}
    lines, truth = images.estimated_lines(
        load_model("image-track-cnn-gauss"), images.plane_events(settings, seed, events)
    )
    pulls = (lines[:, 0, :2] - truth[:, 0]) / lines[:, 0, 2:4]
    return draw_pulls({"intercept": pulls[:, 0], "slope": pulls[:, 1]}, path)


def draw_occupancy(rows: Sequence[Row], path: Path | str) -> Path:
    """Accuracy of classified hits versus the number of tracks, from rows of the benchmark."""
    curves: dict[str, tuple[list[float], list[float], list[float]]] = {}
    for row in rows:
        words = row.quantity.split()
        if row.quantity.startswith("accuracy of classified hits") and words[-1] == "0":
            curve = curves.setdefault(row.system, ([], [], []))
            for column, value in zip(curve, (float(words[4]), row.ours, row.uncertainty), strict=True):
                column.append(value)
    return draw_accuracy(curves, path)


def draw_vertex_event(path: Path | str, seed: int, pileup: float = 5.0) -> Path:
    """The unrolled layers of a test event, and where the vertex finder sees vertices (needs pyacts and pythia8mc)."""
    dataset = vertices.vertex_dataset(pileup)
    event = dataset.event(0, seed=seed, split="test")
    algorithm = FindVertices(model="vertex-cnn")
    found = _run(algorithm, event).get("vertices", Vertices)
    sizes = VertexCNNConfig.model_validate(algorithm.model.card.hyperparameters)
    layer = np.asarray(event.hits.layer_id, dtype=np.int64)
    unrolled, _ = unrolled_images(
        np.zeros(len(event.hits), dtype=np.int64),
        layer // 2 - 1,
        event.hits.phi,
        event.hits.z,
        shape=(1, len(sizes.layers), sizes.n_phi, sizes.columns),
        z_max=sizes.z_max,
    )
    probabilities = algorithm.model.apply(unrolled)[0]
    truth = dataset.vertices(0, seed=seed, split="test")
    return draw_vertices(unrolled[0], probabilities, sizes.bin_width, found, truth, path)


def _draw_first_lines(path: Path, model: str, seed: int, *, tracks: int = 1, noise: float = 0.0) -> Path:
    """The first test event with these tracks and this noise, and the lines that a model gives."""
    sample = images.plane_events({"tracks": (tracks, tracks), "noise": (noise, noise)}, seed, 1)
    lines, truth = images.estimated_lines(load_model(model), sample)
    found = lines[0]
    if found.shape[1] > 5:
        found = found[: images.sequence_lengths(lines[:, :, 5])[0]]
    return draw_lines(sample[0].images[0], found, truth[0, :tracks], path)


def _run(algorithm: Algorithm, event: SimulatedEvent) -> EventStore:
    """The event after one algorithm."""
    algorithm.initialize()
    store = EventStore(0, "test events")
    store.add("hits", event.hits)
    algorithm.execute(store)
    return store
