"""The image methods of HEP.TrkX: published figures beside those of the shipped models on unseen events.

The published accuracies are those printed in the notebooks of the project's material for CTD/WIT 2017
(https://github.com/HEPTrkX/heptrkx-ctd, folder hit_classification): networks trained for one condition each. Parameter
estimation and vertex finding were published as figures only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.models.plane_raster import PlaneRaster
from mltrack_plugin.published.heptrkx.benchmark.events import unseen_events
from mltrack_plugin.published.heptrkx.benchmark.figures import Figure, bootstrap, central_width, mean, share
from mltrack_plugin.published.heptrkx.benchmark.image_jobs import job_rows
from mltrack_plugin.published.heptrkx.benchmark.rows import Part, Row
from mltrack_plugin.published.heptrkx.benchmark.vertices import vertex_rows
from mltrack_plugin.published.heptrkx.images.paths import best_pixels
from mltrack_plugin.published.heptrkx.simulation.rasterised import rasterised
from mltrack_plugin.simulation.datasets import make_dataset

if TYPE_CHECKING:
    from mltrack_plugin.archives.track_model import TrackModel
    from mltrack_plugin.published.heptrkx.simulation.toy_planes import PlaneEvents, ToyPlanesDataset

#: Events simulated and processed at once.
_BATCH = 250
#: Noise in which single tracks are estimated: probability of a hit in each pixel.
HEAVY_NOISE = 0.2
#: Planes of other detectors: model, tracks of an event, data set.
SEGMENTED_DETECTORS = (
    ("image-segmentation-redvid", "redvid-endcap"),
    ("image-segmentation-barrel", "heptrkx-tracks"),
)


def parts(seed: int, events: int) -> list[Part]:
    """All figures of the image methods.

    Args:
        seed: of the test events.
        events: test events for each figure.

    Returns:
        what measures them; raises ``MissingExtraError`` without pyacts and pythia8mc where the GenericDetector is
        simulated.
    """
    return [
        Part("segmentation of toy planes", partial(segmentation_rows, seed, events)),
        Part("segmentation of other planes", partial(detector_rows, seed, events)),
        Part("parameters of one track", partial(line_rows, seed, events)),
        Part("sequences of tracks", partial(sequence_rows, seed, events)),
        Part("tracks of the image jobs", partial(job_rows, seed, events)),
        Part("vertex finder", partial(vertex_rows, seed, events)),
    ]


def segmentation_rows(seed: int, events: int) -> list[Row]:
    """Accuracy of classified hits of both segmentation networks, at the published conditions and versus occupancy."""
    rows = []
    published = {
        ("image-segmentation-lstm", 1, 0.2): "0.925",
        ("image-segmentation-lstm", 6, 0.0): "0.897",
        ("image-segmentation-cnn", 6, 0.0): "0.906",
    }
    for name in ("image-segmentation-lstm", "image-segmentation-cnn"):
        model = load_model(name)
        for tracks, noise in ((1, 0.2), *((n, 0.0) for n in range(1, 10))):
            settings = {"tracks": (tracks, tracks), "noise": (noise, noise), "clean_planes": 5}
            value, error = segmentation_accuracy(model, plane_events(settings, seed, events))
            rows.append(
                Row(
                    name,
                    f"accuracy of classified hits, {tracks} tracks, noise {noise:g}",
                    published.get((name, tracks, noise), "-"),
                    value,
                    error,
                    "toy-planes",
                    seed,
                )
            )
    return rows


def detector_rows(seed: int, events: int) -> list[Row]:
    """Accuracy of classified hits on the planes of other detectors, versus occupancy."""
    rows = []
    for name, dataset in SEGMENTED_DETECTORS:
        model = load_model(name)
        for tracks in (1, 3, 6):
            sample = detector_events(model, dataset, {"tracks": (tracks, tracks)}, seed, events)
            figure = segmentation_accuracy(model, sample)
            text = f"accuracy of classified hits, {tracks} tracks"
            rows.append(Row(name, text, "-", *figure, dataset, seed))
    return rows


def line_rows(seed: int, events: int) -> list[Row]:
    """Residuals and pulls of the parameters of one track in heavy noise."""
    rows = []
    settings = {"tracks": (1, 1), "noise": (HEAVY_NOISE, HEAVY_NOISE)}
    for name in ("image-track-cnn", "image-track-cnn-gauss"):
        model = load_model(name)
        lines, truth = estimated_lines(model, plane_events(settings, seed, events))
        condition = f"noise {HEAVY_NOISE:g}"
        rows += _line_figures(name, condition, lines[:, 0], truth[:, 0], "toy-planes", seed, " [pixels]")
    return rows


def sequence_rows(seed: int, events: int) -> list[Row]:
    """Numbers of tracks, residuals and pulls of sequences of tracks: Poisson, mean 3, at most 6; and 1 to 6 helices."""
    name, condition = "image-tracks-cnn-lstm", "mean of 3 tracks"
    sample = plane_events({"tracks": (0, 6), "mean_tracks": 3.0}, seed, events)
    rows = _sequence_figures(name, sample, condition, "toy-planes", seed, " [pixels]")
    name, dataset = "image-tracks-redvid", "redvid-endcap"
    sample = detector_events(load_model(name), dataset, {}, seed, events)
    return rows + _sequence_figures(name, sample, "1-6 helices", dataset, seed, " [rad]", 2.0 * np.pi)


def _sequence_figures(
    name: str,
    sample: Sequence[PlaneEvents],
    condition: str,
    dataset: str,
    seed: int,
    unit: str,
    period: float | None = None,
) -> list[Row]:
    lines, truth = estimated_lines(load_model(name), sample)
    n_true = np.concatenate([batch.n_tracks for batch in sample])
    n_found = sequence_lengths(lines[:, :, 5])
    right = n_found == n_true
    text = f"events with the right number of tracks, {condition}"
    rows = [Row(name, text, "-", *share(right), dataset, seed)]
    # Where the number is right, the order assigns each estimate its track.
    exists = np.arange(lines.shape[1]) < np.where(right, n_true, 0)[:, None]
    return rows + _line_figures(name, condition, lines[exists], truth[exists], dataset, seed, unit, period)


def plane_events(settings: dict[str, Any], seed: int, events: int) -> list[PlaneEvents]:
    """Test events of toy planes in batches."""
    dataset = cast("ToyPlanesDataset", make_dataset("toy-planes", settings))
    sizes = [min(_BATCH, events - start) for start in range(0, events, _BATCH)]
    return [dataset.batch(number, size, seed=seed, split="test") for number, size in enumerate(sizes)]


def detector_events(
    model: TrackModel, dataset: str, settings: dict[str, Any], seed: int, events: int
) -> list[PlaneEvents]:
    """Test events of a detector as images of the model's planes, in batches."""
    sizes = model.card.hyperparameters
    raster = PlaneRaster.of(sizes)
    source = unseen_events(dataset, settings, seed, events)
    rng = np.random.default_rng(seed)
    seed_planes = int(cast(int, sizes.get("seed_planes", 0)))
    batches = (source[start : start + _BATCH] for start in range(0, events, _BATCH))
    return [rasterised(batch, raster, seed_planes, rng) for batch in batches]


def segmentation_accuracy(model: TrackModel, sample: Sequence[PlaneEvents]) -> Figure:
    """HEP.TrkX's "accuracy of classified hit": share of a track's planes in which the most probable hit is the track's.

    The error is that of the mean over events, whose planes are not independent.
    """
    shares = []
    for batch in sample:
        images = batch.images
        probability = model.apply(images)
        for image, one, truth in zip(images, probability, batch.track_pixel[:, 0], strict=True):
            pixel, _ = best_pixels(one[None], image)
            seen = truth >= 0
            shares.append(np.mean(pixel[0][seen] == truth[seen]))
    return mean(np.array(shares))


def estimated_lines(model: TrackModel, sample: Sequence[PlaneEvents]) -> tuple[Array, Array]:
    """(E, S, K) outputs of a model, and (E, S, 2) true intercepts and slopes ordered by intercept, NaN if absent."""
    lines, truth = [], []
    for batch in sample:
        output = model.apply(batch.images)
        slots = output.shape[1]
        true = np.stack([batch.intercept, batch.slope], axis=-1)
        true[np.arange(true.shape[1]) >= batch.n_tracks[:, None]] = np.nan
        true = np.pad(true, ((0, 0), (0, max(0, slots - true.shape[1])), (0, 0)), constant_values=np.nan)
        order = np.argsort(true[..., 0], axis=1, kind="stable")[:, :slots]
        lines.append(output)
        truth.append(np.take_along_axis(true, order[..., None], axis=1))
    return np.concatenate(lines).astype(np.float64), np.concatenate(truth)


def sequence_lengths(exists: Array, threshold: float = 0.5) -> Array:
    """(E,) int64: places before the first one that is less probable than the threshold, of (E, S)."""
    goes_on = exists >= threshold
    return np.asarray(np.where(goes_on.all(axis=1), exists.shape[1], np.argmin(goes_on, axis=1)))


def _line_figures(
    name: str,
    condition: str,
    lines: Array,
    truth: Array,
    dataset: str,
    seed: int,
    unit: str,
    period: float | None = None,
) -> list[Row]:
    """Widths of the residuals of (n, K) lines, and means and widths of their pulls if they have uncertainties."""
    rows = []
    residual = lines[:, :2] - truth
    if period is not None:
        residual[:, 0] = (residual[:, 0] + 0.5 * period) % period - 0.5 * period
    for column, (quantity, of) in enumerate((("intercept", unit), ("slope", ""))):
        figure = bootstrap(residual[:, column], central_width)
        text = f"68% width of the {quantity}'s residual{of}, {condition}"
        rows.append(Row(name, text, "-", *figure, dataset, seed))
        if lines.shape[1] >= 5:
            pull = residual[:, column] / lines[:, 2 + column]
            for what, statistic in (("mean", np.mean), ("68% width", central_width)):
                text = f"{what} of the {quantity}'s pull, {condition}"
                rows.append(Row(name, text, "-", *bootstrap(pull, statistic), dataset, seed))
    return rows
