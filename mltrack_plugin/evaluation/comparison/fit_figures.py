"""Figures of residuals and pulls, and of resolution and bias against pT and eta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mltrack_plugin.evaluation.comparison.axes import (
    LINES,
    PARAMETER_SYMBOLS,
    VARIABLES,
    Bins,
    common_legend,
    draw_bins,
    logarithmic_axis,
    with_unit,
)
from mltrack_plugin.evaluation.comparison.residuals import PARAMETERS, PULLS
from mltrack_plugin.evaluation.comparison.widths import EDGES
from mltrack_plugin.evaluation.figures import COLOURS, new_figure, plain_axes
from mltrack_plugin.event_data.base import Array

#: Residuals are drawn to this many times the larger resolution, pulls to this value.
_REACH = 5.0
_BINS = 40


def distribution_figure(result: Mapping[str, Any], kind: str) -> Any:
    """Histograms of "residuals" or "pulls" with their widths and biases; ``None`` where there is none."""
    names = tuple(PARAMETERS) if kind == "residuals" else PULLS
    sides = [side["residuals"] for side in result["collections"]]
    if not any(side[kind][name]["width"] for side in sides for name in names):
        return None
    figure = new_figure(13.0, 6.2)
    panels = figure.subplots(2, 3).reshape(-1)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    for axes, name in zip(panels, names, strict=False):
        symbol, factor, unit = PARAMETER_SYMBOLS[name]
        title = with_unit(rf"$\Delta {symbol}$", unit)
        if kind == "pulls":
            factor, title = 1.0, rf"$\Delta {symbol}\;/\;\sigma$"
        widths = [side[kind][name]["width"] for side in sides if side[kind][name]["width"]]
        if not widths:
            axes.set_axis_off()
            continue
        reach = _REACH * max(widths) if kind == "residuals" else _REACH
        edges = np.linspace(-reach, reach, _BINS + 1)
        for k, side in enumerate(sides):
            if side[kind][name]["width"] is None:
                continue
            below, heights, above = _rebinned(side["histograms"][kind][name], edges)
            axes.stairs(
                heights,
                edges * factor,
                color=COLOURS[k],
                linestyle=LINES[k],
                linewidth=1.3,
                label=result["labels"][k],
            )
            width, bias = (factor * side[kind][name][key] for key in ("width", "bias"))
            axes.text(
                0.02,
                0.98 - 0.09 * k,
                f"width {width:.3g}, bias {bias:+.2g}; beyond: {below:.1%} left, {above:.1%} right",
                transform=axes.transAxes,
                color=COLOURS[k],
                fontsize=8,
                verticalalignment="top",
            )
        if kind == "pulls":
            x = np.linspace(-reach, reach, 101)
            normal = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) * (edges[1] - edges[0])
            axes.plot(x, normal, color="0.6", linewidth=0.9, label="unit normal")
        # Room for the numbers.
        axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
        axes.set_xlabel(title)
        axes.set_ylabel("fraction of tracks per bin")
        plain_axes(axes)
        axes.tick_params(labelsize=8)
    common_legend(figure)
    return figure


def _rebinned(sparse: Mapping[str, list[int]], edges: Array) -> tuple[float, Array, float]:
    """Fractions of the entries below, in and above linear bins; a fine bin is spread evenly over those it touches."""
    index, counts = np.array(sparse["bin"], dtype=np.int64), np.array(sparse["count"], dtype=float)
    low, high = EDGES[index], EDGES[index + 1]
    below = np.clip((edges[:, None] - low) / (high - low), 0, 1) @ counts / counts.sum()
    return float(below[0]), np.asarray(np.diff(below)), float(1 - below[-1])


def against_figure(result: Mapping[str, Any], variable: str, quantity: str) -> Any:
    """ "width" (the resolution) or "bias" of every parameter against pT or eta; ``None`` where there is none."""
    tables = [side["residuals"]["against"][variable] for side in result["collections"]]
    if not any(entry["width"] for table in tables for name in PARAMETERS for entry in table[name]):
        return None
    axis = VARIABLES[variable]
    bins = Bins.of(tables[0]["edges"], axis.logarithmic)
    figure = new_figure(13.0, 6.2)
    for axes, name in zip(figure.subplots(2, 3).reshape(-1), PARAMETERS, strict=True):
        symbol, factor, unit = PARAMETER_SYMBOLS[name]
        for k, table in enumerate(tables):
            value, low, high = (
                np.array([np.nan if e[key] is None else e[key] for e in table[name]]) * factor
                for key in (quantity, f"{quantity}_low", f"{quantity}_high")
            )
            if quantity == "width":
                value[value <= 0] = np.nan
            draw_bins(axes, bins, axis.logarithmic, k, value, low, high, label=result["labels"][k])
        if quantity == "width":
            logarithmic_axis(axes, "y")
            axes.set_ylabel(with_unit(rf"$\sigma(\Delta {symbol})$", unit))
        else:
            axes.axhline(0, color="0.5", linewidth=0.8)
            axes.set_ylabel(with_unit(rf"$\mathrm{{med}}(\Delta {symbol})$", unit))
        if axis.logarithmic:
            logarithmic_axis(axes, "x")
        axes.set_xlabel(with_unit(axis.symbol, axis.unit))
        plain_axes(axes)
        axes.tick_params(labelsize=8)
    common_legend(figure)
    return figure
