"""Figures of the hit predictors. Needs the extra ``[plot]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.evaluation.figures import COLOURS, new_figure, plain_axes, save_figure
from mltrack_plugin.published.heptrkx.sequences.barrel import N_LAYERS, HitSequences
from mltrack_plugin.published.heptrkx.sequences.residuals import (
    FIRST_DIRECTED_LAYER,
    Residuals,
    per_layer,
    spread,
)

Array = npt.NDArray[Any]

_LABELS = {"rphi": r"$r\,\Delta\phi$ [mm]", "z": r"$\Delta z$ [mm]"}
_PULLS = {"pull_phi": r"pull of $\phi$", "pull_z": r"pull of $z$"}


def draw_residuals(residuals: Residuals, path: Path | str, title: str = "") -> Path:
    """Residuals per layer and, with a covariance, pulls, as the publication shows them.

    Args:
        residuals: of many tracks.
        path: picture to write; the format follows the suffix (.png, .pdf, .svg).
        title: put above the figure.

    Returns:
        The path.

    Raises:
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    columns = residuals.columns()
    pulls = [name for name in _PULLS if name in columns]
    rows = 2 if pulls else 1
    figure = new_figure(9.0, 3.6 * rows)
    panels = figure.subplots(rows, 2, squeeze=False)
    layers = np.arange(1, N_LAYERS)
    table = per_layer(residuals)
    for axes, name, colour in zip(panels[0], _LABELS, COLOURS, strict=False):
        axes.plot(layers, [row[name].rms for row in table], "o-", color=colour, label="standard deviation")
        axes.plot(
            layers, [row[name].core for row in table], "o--", color=colour, alpha=0.6, label="central 68%"
        )
        axes.set_yscale("log")
        axes.set_xticks(layers)
        axes.set_xlabel("barrel layer (0 = innermost)")
        axes.set_ylabel(f"width of {_LABELS[name]}")
        axes.legend(frameon=False, fontsize=8)
        plain_axes(axes)
    for axes, name, colour in zip(panels[-1], pulls, COLOURS, strict=False):
        values = columns[name][:, FIRST_DIRECTED_LAYER - 1 :]
        values = values[np.isfinite(values)]
        edges = np.linspace(-5, 5, 81)
        axes.hist(values, edges, density=True, color=colour, alpha=0.6)
        axes.plot(edges, np.exp(-0.5 * edges**2) / np.sqrt(2 * np.pi), color="black", linewidth=1)
        width = spread(values)
        text = f"mean {width.mean:+.3f}\nwidth {width.rms:.3f}\ncentral 68%: {width.core:.3f}"
        axes.text(0.03, 0.95, text, transform=axes.transAxes, va="top", fontsize=8)
        axes.set_xlabel(f"{_PULLS[name]}, layers {FIRST_DIRECTED_LAYER} to {N_LAYERS - 1}")
        axes.set_ylabel("density; line: unit Gaussian")
        plain_axes(axes)
    if title:
        figure.suptitle(title, fontsize=11)
    return save_figure(figure, path)


def draw_example(
    sequences: HitSequences, gaussians: Array, track: int, path: Path | str, title: str = ""
) -> Path:
    """One track's hits with what was predicted for each of them, in azimuth and in z.

    Args:
        sequences: tracks along the barrel layers.
        gaussians: (n, N_LAYERS - 1, 5) predictions of the layers 1 ... N_LAYERS - 1.
        track: which one.
        path: picture to write.
        title: put above the figure.

    Returns:
        The path.
    """
    n = int(sequences.length[track])
    hits, predicted = sequences.hits[track, :n].astype(float), gaussians[track, : n - 1].astype(float)
    phi = np.unwrap(hits[:, 1])
    turns = 2.0 * np.pi * np.round((phi[1:] - predicted[:, 0]) / (2.0 * np.pi))
    figure = new_figure(9.0, 3.6)
    panels = figure.subplots(1, 2)
    shown = (
        (r"$\phi$ [rad]", phi, predicted[:, 0] + turns, predicted[:, 2]),
        ("z [mm]", hits[:, 2], predicted[:, 1], predicted[:, 4]),
    )
    for axes, (label, measured, mean, variance) in zip(panels, shown, strict=True):
        axes.plot(hits[:, 0], measured, "o", color=COLOURS[0], label="hits")
        axes.errorbar(
            hits[1:, 0], mean, yerr=np.sqrt(variance), fmt="x", color=COLOURS[1], capsize=3, label="predicted"
        )
        axes.set_xlabel("r [mm]")
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=8)
        plain_axes(axes)
    if title:
        figure.suptitle(title, fontsize=11)
    return save_figure(figure, path)
