"""Plots of an evaluation: metrics versus pT and eta, and the scores. Needs the extra ``[plot]``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mltrack_plugin.errors import OutputError
from mltrack_plugin.evaluation.figures import COLOURS, new_figure, plain_axes, save_figure

#: File stem -> (title, metrics drawn together).
FIGURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "efficiency": (
        "Efficiency",
        ("efficiency", "double_majority_efficiency", "perfect_match_efficiency"),
    ),
    "fake_rate": ("Fake and duplicate rate", ("fake_rate", "duplicate_rate")),
    "purity": ("Purity and completeness of matched tracks", ("purity", "completeness")),
}
SCORES = (
    "trackml_score",
    "double_majority_efficiency",
    "lhc_match_efficiency",
    "perfect_match_efficiency",
    "efficiency",
    "purity",
    "completeness",
    "fake_rate",
    "duplicate_rate",
)
LABELS = {
    "trackml_score": "TrackML score",
    "fit_accuracy": "FitAccuracy",
    "perfect_match_efficiency": "perfect match",
    "lhc_match_efficiency": "LHC-style match",
    "double_majority_efficiency": "double majority",
    "efficiency": "efficiency",
    "fake_rate": "fake rate (strict)",
    "duplicate_rate": "duplicate rate",
    "purity": "purity",
    "completeness": "completeness",
}
_PT_TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_AXES = {"pt": r"$p_T$", "eta": r"$\eta$"}


def plot_results(result: Mapping[str, Any], folder: Path | str, title: str = "") -> list[Path]:
    """Draw everything that an evaluation holds.

    Args:
        result: what ``ScoreAccumulator.result`` gave (or the JSON of ``mltrack evaluate``).
        folder: where the pictures go; made if missing.
        title: put above each figure, e.g. the name of the data set.

    Returns:
        The files: ``scores.png``, and ``<figure>_vs_<pt|eta>.png`` for each of FIGURES that has entries.

    Raises:
        OutputError: if a file cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    target = Path(folder)
    figures = {"scores": _scores(result, title)}
    for variable, binned in result.get("binned", {}).items():
        for stem, (heading, metrics) in FIGURES.items():
            shown = [name for name in metrics if any(binned[name]["denominator"])]
            if shown:
                text = f"{heading}: {title}" if title else heading
                figures[f"{stem}_vs_{variable}"] = _versus(variable, binned, shown, text)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {str(target)!r}: {error.strerror or error}") from error
    return [save_figure(figure, target / f"{stem}.png") for stem, figure in figures.items()]


def _versus(variable: str, binned: Mapping[str, Any], metrics: Sequence[str], title: str) -> Any:
    figure = new_figure(6.4, 4.2)
    axes = figure.add_subplot()
    edges = np.asarray(binned["edges"], dtype=float)
    logarithmic = variable == "pt"
    # The first bin starts at 0, which a logarithmic axis cannot show: draw it from half its upper edge.
    drawn = edges.copy()
    if logarithmic and drawn[0] <= 0:
        drawn[0] = drawn[1] / 2
    centre = np.sqrt(drawn[:-1] * drawn[1:]) if logarithmic else (drawn[:-1] + drawn[1:]) / 2
    offsets = np.linspace(-0.08, 0.08, len(metrics)) if len(metrics) > 1 else np.zeros(1)
    used = np.zeros(len(centre), dtype=bool)
    for name, offset, colour in zip(metrics, offsets, COLOURS, strict=False):
        value, low, high = (np.array(binned[name][key], dtype=float) for key in ("value", "low", "high"))
        filled = np.isfinite(value)
        used |= filled
        # A small shift keeps the error bars of different metrics apart.
        width = np.log(drawn[1:] / drawn[:-1]) if logarithmic else np.diff(drawn)
        place = centre * np.exp(offset * width) if logarithmic else centre + offset * width
        errors = np.stack([value - low, high - value])[:, filled].clip(min=0)
        axes.errorbar(
            place[filled],
            value[filled],
            yerr=errors,
            fmt="o",
            markersize=4,
            linewidth=1.2,
            color=colour,
            label=LABELS[name],
        )
    if logarithmic:
        axes.set_xscale("log")
        axes.set_xticks([tick for tick in _PT_TICKS if drawn[0] <= tick <= drawn[-1]])
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
    shown = np.flatnonzero(used)
    axes.set_xlim(drawn[shown[0]], drawn[shown[-1] + 1])
    for edge in drawn:
        axes.axvline(edge, color="0.95", linewidth=0.6, zorder=0)
    top = max(float(np.nanmax(np.array(binned[name]["high"], dtype=float))) for name in metrics)
    # A little room below zero, where many rates lie.
    highest = max(1.15 * top, 0.02) if top < 0.5 else 1.05
    axes.set_ylim(-0.02 * highest, highest)
    axes.set_ylabel("fraction")
    unit = f" [{binned['unit']}]" if binned["unit"] else ""
    axes.set_xlabel(_AXES.get(variable, variable) + unit)
    axes.set_title(title, loc="left", fontsize=10)
    axes.legend(frameon=False)
    plain_axes(axes)
    return figure


def _scores(result: Mapping[str, Any], title: str) -> Any:
    figure = new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    for row, name in enumerate(SCORES):
        value, low, high = (result.get(key) for key in (name, f"{name}_low", f"{name}_high"))
        colour = COLOURS[1] if name in ("fake_rate", "duplicate_rate") else COLOURS[0]
        if value is None:
            axes.text(0.01, row, "nothing to count", va="center", color="0.5", fontsize=8)
            continue
        axes.barh(row, value, color=colour, alpha=0.85, height=0.65)
        if low is not None and high is not None:
            errors = [[max(value - low, 0)], [max(high - value, 0)]]
            axes.errorbar(value, row, xerr=errors, color="black", linewidth=1, capsize=2)
        # Inside the bar where it is long enough, else beside it.
        inside = value > 0.25
        end = value if low is None or high is None else (low if inside else high)
        axes.text(
            end - 0.015 if inside else end + 0.015,
            row,
            f"{100 * value:.2f}%",
            ha="right" if inside else "left",
            va="center",
            fontsize=8,
            color="white" if inside else "black",
        )
    axes.set_yticks(range(len(SCORES)), [LABELS[name] for name in SCORES])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    events = f"{result['events']} events"
    axes.set_title(f"{title}: {events}" if title else events, loc="left")
    plain_axes(axes)
    axes.grid(visible=False, axis="y")
    return figure
