"""Figures of efficiency, fakes, duplicates, purity and completeness, each above the ratio of the two collections."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mltrack_plugin.evaluation.comparison.accumulator import METRICS
from mltrack_plugin.evaluation.comparison.axes import (
    VARIABLES,
    Bins,
    common_legend,
    draw_bins,
    logarithmic_axis,
    with_unit,
)
from mltrack_plugin.evaluation.comparison.report import METRIC_TITLES
from mltrack_plugin.evaluation.figures import new_figure, plain_axes
from mltrack_plugin.event_data.base import Array

#: Bins with less than this share of the entries of the fullest do not set the range of an axis.
_COUNTS = 0.15
#: Largest ratio that is drawn.
_MAX_RATIO = 3.0


def rate_figure(result: Mapping[str, Any], variable: str) -> Any:
    """All rates against a variable; ``None`` where there is no entry."""
    tables = [side["binned"][variable] for side in result["collections"]]
    if not any(any(table[m]["denominator"]) for table in tables for m in METRICS):
        return None
    axis = VARIABLES[variable]
    bins = Bins.of(tables[0]["edges"], axis.logarithmic)
    filled = np.flatnonzero(sum(np.asarray(table[m]["denominator"]) for table in tables for m in METRICS))
    ends = (bins.low[filled[0]], bins.high[filled[-1]])
    figure = new_figure(15.0, 4.6)
    upper, lower = figure.subplots(2, len(METRICS), sharex="col", height_ratios=(3, 1.3))
    for above, below, metric in zip(upper, lower, METRICS, strict=True):
        sides = [_values(table[metric]) for table in tables]
        for k, side in enumerate(sides):
            draw_bins(above, bins, axis.logarithmic, k, *side, label=result["labels"][k])
        draw_bins(below, bins, axis.logarithmic, 0, *_ratio(*sides))
        below.axhline(1, color="0.5", linewidth=0.8)
        counts = [np.asarray(table[metric]["denominator"]) for table in tables]
        above.set_ylim(_range(sides, counts))
        _ratio_range(below, _ratio(*sides)[0])
        above.set_ylabel(METRIC_TITLES[metric])
        below.set_xlim(*ends)
        if axis.logarithmic:
            logarithmic_axis(below, "x")
        below.set_xlabel(with_unit(axis.symbol, axis.unit))
        for axes in (above, below):
            plain_axes(axes)
            axes.tick_params(labelsize=8)
    lower[0].set_ylabel("ratio")
    common_legend(figure)
    return figure


def rate_caption(result: Mapping[str, Any], variable: str) -> str:
    """What the figure shows, and how many entries are on none of its axes."""
    axis = VARIABLES[variable]
    sides = [(side["label"], side["binned"][variable]) for side in result["collections"]]
    edges = sides[0][1]["edges"]
    outside = "; ".join(
        f"{label} {table['efficiency']['outside']} particles and {table['fake_rate']['outside']} tracks"
        for label, table in sides
    )
    first = " The first bin begins at 0." if axis.logarithmic and edges[0] <= 0 else ""
    words = "" if variable != "density" else " (the number of other particles within a radius of 0.1)"
    first_label, second_label = result["labels"]
    return (
        f"Against the {axis.name}{words}: efficiency, purity and completeness with true values of the particle, "
        "fakes and duplicates with the track's own. Below each the ratio of the two, "
        f"{first_label} over {second_label}. Vertical bars: 68% binomial intervals, those of the ratio as if both were "
        f"independent, which makes them too wide; horizontal bars: bins.{first} Axes begin and end with the bins that "
        f"have entries. In no bin, because below {edges[0]:.3g}, from {edges[-1]:.3g} on or not known: {outside}."
    )


def _values(table: Mapping[str, Any]) -> tuple[Array, Array, Array]:
    value, low, high = (np.array(table[key], dtype=float) for key in ("value", "low", "high"))
    return value, low, high


def _ratio(
    first: tuple[Array, Array, Array], second: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    """First over second and the ends of its interval; NaN where the second is 0 or not known."""
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    b = np.where(b > 0, b, np.nan)
    ratio = a / b
    return (
        ratio,
        ratio - np.hypot((a - a_low) / b, ratio * (b_high - b) / b),
        ratio + np.hypot((a_high - a) / b, ratio * (b - b_low) / b),
    )


def _range(sides: list[tuple[Array, Array, Array]], counts: list[Array]) -> tuple[float, float]:
    """Range of an axis that shows the differences: all values, and the intervals of bins with many entries."""
    ends: list[float] = []
    for (value, low, high), n in zip(sides, counts, strict=True):
        known = np.isfinite(value)
        many = known & (n >= _COUNTS * n.max(initial=1))
        ends += [*value[known], *low[many], *high[many]]
    if not ends:
        return 0.0, 1.0
    margin = max(0.08 * (max(ends) - min(ends)), 1e-3)
    return max(min(ends) - margin, -margin), max(ends) + margin


def _ratio_range(axes: Any, ratio: Array) -> None:
    known = ratio[np.isfinite(ratio)]
    if not len(known):
        axes.text(0.5, 0.7, "no ratio: the second is 0", transform=axes.transAxes, fontsize=8, ha="center")
    reach = max(1.3 * float(np.abs(known - 1).max(initial=0.0)), 0.01)
    axes.set_ylim(max(1 - reach, 0.0), min(1 + reach, _MAX_RATIO))
