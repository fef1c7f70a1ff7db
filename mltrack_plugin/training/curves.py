"""The curves of a training: losses, and the scores of the validation events."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mltrack_plugin.evaluation.figures import COLOURS, new_figure, plain_axes, save_figure
from mltrack_plugin.training.validation import METRIC_NAMES

Rows = Sequence[dict[str, float]]


def series(rows: Rows) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> (steps, values) of everything that was logged, in the order of its first row."""
    found: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("step", "epoch"):
                steps, values = found.setdefault(name, ([], []))
                steps.append(row["step"])
                values.append(value)
    return found


def is_score(name: str) -> bool:
    """Whether larger values are better: the scores and efficiencies of validation."""
    return name.startswith("val_score") or any(name.startswith(f"val_{metric}") for metric in METRIC_NAMES)


def draw_curves(rows: Rows, path: Path) -> Path:
    """Draw the losses (training and validation) above the validation scores.

    Args:
        rows: as of :func:`~mltrack_plugin.training.metrics_file.read_metrics`.
        path: picture to write.

    Raises:
        MissingExtraError: if matplotlib is not installed.
        OutputError: if the picture cannot be written.
    """
    curves = series(rows)
    groups = [
        ("loss", {name: curve for name, curve in curves.items() if not is_score(name)}),
        ("validation score", {name: curve for name, curve in curves.items() if is_score(name)}),
    ]
    figure = new_figure(7.0, 7.0)
    panels: Any = figure.subplots(2, 1, sharex=True)
    for axes, (label, group) in zip(panels, groups, strict=True):
        plain_axes(axes)
        axes.set_ylabel(label)
        for number, (name, (steps, values)) in enumerate(group.items()):
            validation = name.startswith("val_")
            axes.plot(
                steps,
                values,
                label=name.removeprefix("val_") if label != "loss" else name,
                color=COLOURS[number % len(COLOURS)],
                linestyle=("-", "--", ":")[number // len(COLOURS) % 3],
                marker="o" if validation else None,
                markersize=3,
                linewidth=1.2 if validation else 0.7,
            )
        if group:
            axes.legend(fontsize="small", frameon=False)
        if label == "loss" and all(value > 0 for _, values in group.values() for value in values):
            axes.set_yscale("log")
    panels[-1].set_xlabel("step")
    return save_figure(figure, path)
