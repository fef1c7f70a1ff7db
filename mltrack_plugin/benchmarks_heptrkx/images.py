"""The image methods of HEP.TrkX: published figures beside those of the shipped models on unseen events.

The published accuracies are those printed in the notebooks of the project's material for CTD/WIT 2017
(https://github.com/HEPTrkX/heptrkx-ctd, folder hit_classification): networks trained for one condition each. Parameter
estimation and vertex finding were published as figures only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mltrack_plugin.benchmarks_heptrkx.rows import Row
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.images.paths import best_pixels
from mltrack_plugin.images.peaks import vertices_from_bins
from mltrack_plugin.models.archive import load_model
from mltrack_plugin.simulation.datasets import make_dataset

if TYPE_CHECKING:
    from mltrack_plugin.models.track_model import TrackModel
    from mltrack_plugin.simulation.heptrkx_vertex import HeptrkxVertexDataset, VertexImages
    from mltrack_plugin.simulation.toy_planes import PlaneEvents, ToyPlanesDataset

#: A figure of a sample with its standard error.
Figure = tuple[float, float]

#: Events simulated and processed at once.
_BATCH = 250
#: Noise in which single tracks are estimated: probability of a hit in each pixel.
HEAVY_NOISE = 0.2
#: Mean numbers of pile-up collisions of the vertex finder's figures.
PILEUPS = (0, 5, 25)
#: A vertex is found if one lies within this distance, mm: the width of a bin.
VERTEX_WINDOW = 5.0


def published_rows(seed: int, events: int) -> list[Row]:
    """All figures of the image methods.

    Args:
        seed: of the test events.
        events: test events for each figure.

    Raises:
        MissingExtraError: for the vertex finder, without pyacts and pythia8mc.
    """
    return [
        *segmentation_rows(seed, events),
        *line_rows(seed, events),
        *sequence_rows(seed, events),
        *vertex_rows(seed, events),
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


def line_rows(seed: int, events: int) -> list[Row]:
    """Residuals and pulls of the parameters of one track in heavy noise."""
    rows = []
    settings = {"tracks": (1, 1), "noise": (HEAVY_NOISE, HEAVY_NOISE)}
    for name in ("image-track-cnn", "image-track-cnn-gauss"):
        model = load_model(name)
        lines, truth = estimated_lines(model, plane_events(settings, seed, events))
        rows += _line_figures(name, f"noise {HEAVY_NOISE:g}", lines[:, 0], truth[:, 0], seed)
    return rows


def sequence_rows(seed: int, events: int) -> list[Row]:
    """Numbers of tracks, residuals and pulls of the sequence of tracks (Poisson, mean 3, at most 6)."""
    name, condition = "image-tracks-cnn-lstm", "mean of 3 tracks"
    model = load_model(name)
    sample = plane_events({"tracks": (0, 6), "mean_tracks": 3.0}, seed, events)
    lines, truth = estimated_lines(model, sample)
    n_true = np.concatenate([batch.n_tracks for batch in sample])
    n_found = sequence_lengths(lines[:, :, 5])
    right = n_found == n_true
    rows = [
        Row(
            name,
            f"events with the right number of tracks, {condition}",
            "-",
            *_share(right),
            "toy-planes",
            seed,
        )
    ]
    # Where the number is right, the order assigns each estimate its track.
    exists = np.arange(lines.shape[1]) < np.where(right, n_true, 0)[:, None]
    return rows + _line_figures(name, condition, lines[exists], truth[exists], seed)


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


def plane_events(settings: dict[str, Any], seed: int, events: int) -> list[PlaneEvents]:
    """Test events of toy planes in batches."""
    dataset = cast("ToyPlanesDataset", make_dataset("toy-planes", settings))
    sizes = [min(_BATCH, events - start) for start in range(0, events, _BATCH)]
    return [dataset.batch(number, size, seed=seed, split="test") for number, size in enumerate(sizes)]


def segmentation_accuracy(model: TrackModel, sample: Sequence[PlaneEvents]) -> Figure:
    """HEP.TrkX's "accuracy of classified hit": share of planes in which the most probable hit is the track's.

    The error is that of the mean over events, whose planes are not independent.
    """
    shares = []
    for batch in sample:
        images = batch.images
        probability = model.apply(images)
        for image, one, truth in zip(images, probability, batch.track_pixel[:, 0], strict=True):
            pixel, _ = best_pixels(one[None], image)
            shares.append(np.mean(pixel[0] == truth))
    return _mean(np.array(shares))


def estimated_lines(model: TrackModel, sample: Sequence[PlaneEvents]) -> tuple[Array, Array]:
    """(E, S, K) outputs of a model, and (E, S, 2) true intercepts and slopes ordered by intercept, NaN if absent."""
    lines, truth = [], []
    for batch in sample:
        output = model.apply(batch.images)
        slots = output.shape[1]
        true = np.stack([batch.intercept, batch.slope], axis=-1)
        true[np.arange(true.shape[1]) >= batch.n_tracks[:, None]] = np.nan
        order = np.argsort(true[..., 0], axis=1, kind="stable")[:, :slots]
        lines.append(output)
        truth.append(np.take_along_axis(true, order[..., None], axis=1))
    return np.concatenate(lines).astype(np.float64), np.concatenate(truth)


def sequence_lengths(exists: Array, threshold: float = 0.5) -> Array:
    """(E,) int64: places before the first one that is less probable than the threshold, of (E, S)."""
    goes_on = exists >= threshold
    return np.asarray(np.where(goes_on.all(axis=1), exists.shape[1], np.argmin(goes_on, axis=1)))


def _line_figures(name: str, condition: str, lines: Array, truth: Array, seed: int) -> list[Row]:
    """Widths of the residuals of (n, K) lines, and means and widths of their pulls if they have uncertainties."""
    rows = []
    residual = lines[:, :2] - truth
    for column, (quantity, unit) in enumerate((("intercept", " [pixels]"), ("slope", ""))):
        figure = _bootstrap(residual[:, column], central_width)
        text = f"68% width of the {quantity}'s residual{unit}, {condition}"
        rows.append(Row(name, text, "-", *figure, "toy-planes", seed))
        if lines.shape[1] >= 5:
            pull = residual[:, column] / lines[:, 2 + column]
            for what, statistic in (("mean", np.mean), ("68% width", central_width)):
                text = f"{what} of the {quantity}'s pull, {condition}"
                rows.append(Row(name, text, "-", *_bootstrap(pull, statistic), "toy-planes", seed))
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
        f"primary vertex within {VERTEX_WINDOW:g} mm": _share(near),
        "68% width of the found primary's residual [mm]": _bootstrap(np.array(residual)[near], central_width),
        "efficiency of all vertices": _ratio(np.array(efficiency)),
        "purity of all vertices": _ratio(np.array(purity)),
    }


def central_width(values: Array) -> float:
    """Half the central 68.27% of the values: the standard deviation of a Gaussian, whatever its tails."""
    low, high = np.quantile(values, [0.158655, 0.841345])
    return float(high - low) / 2


def _mean(values: Array) -> Figure:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(
        values
    ) > 1 else np.nan


def _share(passed: Array) -> Figure:
    """Fraction with the mean half-width of its Clopper-Pearson interval."""
    from mltrack_plugin.performance.intervals import clopper_pearson

    low, high = clopper_pearson([np.count_nonzero(passed)], [len(passed)])
    return float(np.mean(passed)), float(high[0] - low[0]) / 2


def _ratio(counts: Array) -> Figure:
    """Ratio of summed counts (n_events, 2) with its bootstrap error over events."""
    from mltrack_plugin.performance.intervals import bootstrap_fractions

    low, high = bootstrap_fractions(counts[:, :1].astype(float), counts[:, 1:].astype(float))
    total = counts.sum(axis=0)
    return float(total[0] / max(total[1], 1)), float(high[0] - low[0]) / 2


def _bootstrap(values: Array, statistic: Callable[[Array], Any], resamples: int = 200) -> Figure:
    """A statistic with the spread of its bootstrap; NaN without values."""
    if len(values) < 2:
        return np.nan, np.nan
    rng = np.random.default_rng(20180501)
    drawn = [float(statistic(values[rng.integers(0, len(values), len(values))])) for _ in range(resamples)]
    return float(statistic(values)), float(np.std(drawn))
