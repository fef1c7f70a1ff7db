"""Figures of detector images with what networks found in them. Needs the extra ``[plot]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.evaluation.event_display import track_colours
from mltrack_plugin.evaluation.figures import COLOURS, new_figure, plain_axes, save_figure
from mltrack_plugin.event_data import Vertices
from mltrack_plugin.event_data.base import Array

#: Colour of pixels that belong to nothing.
_GREY = (0.72, 0.72, 0.72)


def draw_segmentation(image: Array, truth: Array, found: Array, path: Path | str) -> Path:
    """A detector image beside its true tracks and the tracks that were found.

    Args:
        image: (P, W), more than 0 where there is a hit.
        truth: (P, W) true track of each pixel, -1 = none.
        found: (P, W) found track of each pixel, -1 = none.
        path: picture to write; the format follows the suffix.

    Raises:
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    figure = new_figure(10, 3.7)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    hit = image > 0
    nothing = np.full(image.shape, -1)
    for axes, labels, title in zip(
        panels, (nothing, truth, found), ("hits", "true tracks", "found tracks"), strict=True
    ):
        colours = np.ones((*image.shape, 3))
        colours[hit] = _GREY
        n = int(labels.max(initial=-1)) + 1
        colours[labels >= 0] = track_colours(n)[labels[labels >= 0]]
        axes.imshow(colours.transpose(1, 0, 2), origin="lower", interpolation="nearest", aspect="auto")
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_xlabel("detector plane")
    panels[0].set_ylabel("pixel")
    return save_figure(figure, path)


def draw_lines(
    image: Array, lines: Array, truth: Array, path: Path | str, *, pitch: float = 1.0, spacing: float = 1.0
) -> Path:
    """A detector image with true and estimated straight tracks, and bands of one standard deviation.

    Args:
        image: (P, W), more than 0 where there is a hit.
        lines: (L, 2 or more): intercept in mm and slope, then (if 5 or more) their standard deviations and correlation.
        truth: (T, 2): true intercepts and slopes.
        path: picture to write.
        pitch: width of a pixel, mm.
        spacing: distance of planes, mm.

    Raises:
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    figure = new_figure(5.4, 4.4)
    axes = figure.add_subplot()
    planes, pixels = image.shape
    axes.imshow(image.T, origin="lower", cmap="Greys", vmax=2.5, aspect="auto", interpolation="nearest")
    plane = np.linspace(0.0, planes - 1.0, 100)
    for row, (intercept, slope) in enumerate(truth[:, :2]):
        y = (intercept + slope * plane * spacing) / pitch - 0.5
        axes.plot(plane, y, color="black", linewidth=1, linestyle="--", label="true" if row == 0 else None)
    for row, line in enumerate(lines):
        x = plane * spacing
        y = (line[0] + line[1] * x) / pitch - 0.5
        axes.plot(plane, y, color=COLOURS[1], linewidth=1.2, label="estimated" if row == 0 else None)
        if len(line) >= 5:
            variance = line[2] ** 2 + (line[3] * x) ** 2 + 2 * line[4] * line[2] * line[3] * x
            sigma = np.sqrt(np.maximum(variance, 0.0)) / pitch
            axes.fill_between(plane, y - sigma, y + sigma, color=COLOURS[1], alpha=0.3, linewidth=0)
    axes.set_xlim(-0.5, planes - 0.5)
    axes.set_ylim(-0.5, pixels - 0.5)
    axes.set_xlabel("detector plane")
    axes.set_ylabel("pixel")
    if len(lines) or len(truth):
        axes.legend(loc="upper right", fontsize=8)
    return save_figure(figure, path)


def draw_accuracy(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]], path: Path | str
) -> Path:
    """Accuracy of classified hits versus the number of tracks.

    Args:
        curves: label -> numbers of tracks, accuracies, their uncertainties.
        path: picture to write.

    Raises:
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    figure = new_figure(5.6, 3.8)
    axes = figure.add_subplot()
    for colour, (label, (tracks, accuracy, error)) in zip(COLOURS, curves.items(), strict=False):
        axes.errorbar(tracks, accuracy, yerr=error, fmt="o-", markersize=4, color=colour, label=label)
    axes.set_xlabel("tracks in the event")
    axes.set_ylabel("accuracy of classified hits")
    axes.set_ylim(top=1.0)
    axes.legend(frameon=False, fontsize=8)
    plain_axes(axes)
    return save_figure(figure, path)


def draw_vertices(
    images: Array, probabilities: Array, bin_width: float, found: Vertices, truth: Vertices, path: Path | str
) -> Path:
    """Hits of the unrolled layers above the probabilities of a vertex finder.

    Args:
        images: (C, R, W) layers, rows in phi, columns in z of the width of a bin.
        probabilities: (2, N): of the primary vertex and of any vertex in each bin.
        bin_width: mm.
        found: vertices of the event, the primary one first.
        truth: true vertices, the primary one first.
        path: picture to write.

    Raises:
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    n_layers = len(images)
    figure = new_figure(7.5, 1.4 * n_layers + 2.6)
    panels = figure.subplots(n_layers + 1, 1, sharex=True, height_ratios=[1] * n_layers + [1.8])
    half = 0.5 * images.shape[2] * bin_width
    for number, (axes, image) in enumerate(zip(panels, images, strict=False), start=1):
        extent = (-half, half, -np.pi, np.pi)
        axes.imshow(
            image, origin="lower", cmap="Greys", aspect="auto", interpolation="nearest", extent=extent
        )
        axes.set_ylabel(f"layer {number}\n$\\phi$")
    axes = panels[-1]
    n = probabilities.shape[1]
    centre = (np.arange(n) - 0.5 * (n - 1)) * bin_width
    axes.step(centre, probabilities[0], where="mid", color=COLOURS[0], label="primary vertex")
    axes.step(centre, probabilities[1], where="mid", color=COLOURS[2], linewidth=0.9, label="any vertex")
    for row, z in enumerate(truth.z):
        axes.axvline(z, color="0.7" if row else "black", linewidth=0.8, linestyle="--")
    axes.plot(found.z, np.full(len(found), 1.03), "v", color=COLOURS[1], clip_on=False, label="found")
    axes.set_ylim(0, 1.08)
    axes.set_xlabel("z [mm]")
    axes.set_ylabel("probability")
    axes.legend(frameon=False, fontsize=8, loc="upper right")
    plain_axes(axes)
    return save_figure(figure, path)


def draw_pulls(pulls: Mapping[str, Array], path: Path | str) -> Path:
    """Distributions of pulls beside the unit Gaussian.

    Args:
        pulls: name -> (n,) values.
        path: picture to write.

    Raises:
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    figure = new_figure(3.6 * len(pulls), 3.2)
    panels: Any = np.atleast_1d(figure.subplots(1, len(pulls)))
    grid = np.linspace(-5.0, 5.0, 200)
    for axes, (name, values) in zip(panels, pulls.items(), strict=True):
        edges = np.linspace(-5.0, 5.0, 51)
        axes.hist(np.clip(values, -4.999, 4.999), edges, density=True, color=COLOURS[0], alpha=0.6)
        axes.plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), color="black", linewidth=1)
        axes.set_xlabel(f"pull of the {name}")
        axes.set_title(f"mean {np.mean(values):.2f}, width {np.std(values):.2f}", loc="left", fontsize=9)
        plain_axes(axes)
    return save_figure(figure, path)
