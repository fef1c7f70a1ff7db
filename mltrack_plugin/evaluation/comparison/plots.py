"""Figures of a comparison. Needs the extra ``[plot]``."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from mltrack_plugin.errors import require_extra
from mltrack_plugin.evaluation.comparison.accumulator import DISPLAYED_TRACKS, MAX_HITS, METRICS, Disagreement
from mltrack_plugin.evaluation.comparison.report import METRIC_TITLES, RESIDUAL_TITLES
from mltrack_plugin.evaluation.comparison.residuals import PARAMETERS, PULLS
from mltrack_plugin.evaluation.comparison.widths import EDGES
from mltrack_plugin.evaluation.figures import COLOURS, new_figure, plain_axes
from mltrack_plugin.event_data.base import Array

#: Axis title, whether the axis is logarithmic.
_AXES = {
    "pt": (r"$p_T$ [GeV]", True),
    "eta": (r"$\eta$", False),
    "phi": (r"$\phi$ [rad]", False),
    "d0": (r"$|d_0|$ [mm]", True),
    "z0": (r"$z_0$ [mm]", False),
    "density": (r"neighbours within $\Delta R = 0.1$", True),
}
_WORDS = {
    "pt": "transverse momentum",
    "eta": "pseudorapidity",
    "phi": "azimuth",
    "d0": "transverse impact parameter",
    "z0": "longitudinal impact parameter",
    "density": "local track density",
}
#: Hits that an event display shows in grey.
_SHOWN_HITS = 20_000
_MARKERS = ("o", "s")
_LINES = ("-", "--")
_DPI = 90


class Picture(NamedTuple):
    """A figure of the page."""

    title: str
    #: What it shows, for readers who do not see it, too.
    caption: str
    png: bytes


def pictures(result: Mapping[str, Any], disagreement: Disagreement | None) -> Iterator[Picture]:
    """All figures that the result has entries for, one at a time.

    Args:
        result: of ``Comparison.result``.
        disagreement: the event to display.

    Raises:
        MissingExtraError: if matplotlib is not installed.
    """
    if result["with_truth"]:
        for variable in _AXES:
            if (figure := _rates(result, variable)) is not None:
                text = f"Efficiency, rates, purity and completeness against {_WORDS[variable]}"
                yield Picture(text, _RATE_CAPTION, _png(figure))
        if (figure := _distributions(result, "residuals")) is not None:
            yield Picture("Residuals", _RESIDUAL_CAPTION, _png(figure))
        for variable in ("pt", "eta"):
            if (figure := _resolutions(result, variable)) is not None:
                text = f"Resolution against {_WORDS[variable]}"
                yield Picture(text, "Half of the central 68% of the residuals.", _png(figure))
        if (figure := _distributions(result, "pulls")) is not None:
            yield Picture(
                "Pulls", "Residual over the error of the fit; the curve is a unit normal.", _png(figure)
            )
    if any(side["tracks"] for side in result["collections"]):
        yield Picture(
            "Hits per track", f"Longer tracks are in the last bin ({MAX_HITS}).", _png(_lengths(result))
        )
    if any(side["time"] for side in result["collections"]):
        yield Picture("CPU time per event", "Lines: power laws fitted to the events.", _png(_times(result)))
    if disagreement is not None:
        yield Picture(
            f"Event {disagreement.number}: tracks that only one collection has",
            f"The event with the most of them; at most {DISPLAYED_TRACKS} tracks of each are drawn.",
            _png(_display(result, disagreement)),
        )


_RATE_CAPTION = (
    "Efficiency, purity and completeness against true values of the particle, fakes and duplicates against the "
    "track's own. Bars: 68% binomial intervals."
)
_RESIDUAL_CAPTION = (
    "Fit minus truth of the best matched track of each particle; truth is the helix of the particle, followed "
    "from its vertex to the beam line."
)


def _png(figure: Any) -> bytes:
    content = BytesIO()
    # Without metadata the bytes depend on the figure alone.
    figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    return content.getvalue()


def _rates(result: Mapping[str, Any], variable: str) -> Any:
    tables = [side["binned"][variable] for side in result["collections"]]
    if not any(any(table[m]["denominator"]) for table in tables for m in METRICS):
        return None
    label, logarithmic = _AXES[variable]
    figure = new_figure(13.0, 3.0)
    for axes, metric in zip(figure.subplots(1, len(METRICS)), METRICS, strict=True):
        place, width = _bin_centres(tables[0]["edges"], logarithmic)
        highest = 0.0
        for k, table in enumerate(tables):
            value, low, high = (np.array(table[metric][key], dtype=float) for key in ("value", "low", "high"))
            filled = np.isfinite(value)
            if not filled.any():
                continue
            # A small shift keeps the bars of the collections apart.
            shift = (k - 0.5) * 0.16
            x = place * np.exp(shift * width) if logarithmic else place + shift * width
            errors = np.stack([value - low, high - value])[:, filled].clip(min=0)
            axes.errorbar(
                x[filled],
                value[filled],
                yerr=errors,
                fmt=_MARKERS[k],
                markersize=3.5,
                linewidth=1.1,
                color=COLOURS[k],
                label=result["labels"][k],
            )
            highest = max(highest, float(np.nanmax(high)))
        if logarithmic:
            _logarithmic(axes, "x")
        top = max(1.15 * highest, 0.02) if highest < 0.5 else 1.05
        axes.set_ylim(-0.02 * top, top)
        axes.set_xlabel(label)
        axes.set_title(METRIC_TITLES[metric], loc="left", fontsize=9)
        plain_axes(axes)
    _common_legend(figure)
    return figure


def _bin_centres(edges: list[float], logarithmic: bool) -> tuple[Array, Array]:
    """Where bins are drawn, and how wide they are there (in the logarithm where the axis is logarithmic)."""
    drawn = np.asarray(edges, dtype=float).copy()
    if not logarithmic:
        return (drawn[:-1] + drawn[1:]) / 2, np.diff(drawn)
    # The first bin starts at 0, which a logarithmic axis cannot show.
    drawn[0] = drawn[1] / 2 if drawn[0] <= 0 else drawn[0]
    return np.sqrt(drawn[:-1] * drawn[1:]), np.log(drawn[1:] / drawn[:-1])


def _distributions(result: Mapping[str, Any], kind: str) -> Any:
    names = tuple(PARAMETERS) if kind == "residuals" else PULLS
    sides = [side["residuals"] for side in result["collections"]]
    if not any(side[kind][name]["width"] for side in sides for name in names):
        return None
    figure = new_figure(13.0, 3.0)
    for axes, name in zip(figure.subplots(1, len(names)), names, strict=True):
        title, factor, unit = (
            RESIDUAL_TITLES[name] if kind == "residuals" else (RESIDUAL_TITLES[name][0], 1, "")
        )
        widths = [side[kind][name]["width"] for side in sides if side[kind][name]["width"]]
        if not widths:
            axes.set_axis_off()
            continue
        reach = 5 * max(widths) if kind == "residuals" else 5.0
        bins = np.linspace(-reach, reach, 41)
        for k, side in enumerate(sides):
            heights = _rebinned(side["histograms"][kind][name], bins)
            if heights.any():
                axes.stairs(
                    heights,
                    bins * factor,
                    color=COLOURS[k],
                    linestyle=_LINES[k],
                    linewidth=1.3,
                    label=result["labels"][k],
                )
        if kind == "pulls":
            x = np.linspace(-5, 5, 101)
            axes.plot(
                x, np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) * (bins[1] - bins[0]), color="0.6", linewidth=0.9
            )
        axes.set_xlabel(f"{title} [{unit}]" if unit else title)
        axes.set_yticks([])
        plain_axes(axes)
    _common_legend(figure)
    return figure


def _rebinned(sparse: Mapping[str, list[int]], bins: Array) -> Array:
    """Fractions of the entries in linear bins; a fine bin is spread evenly over the bins that it touches."""
    index, counts = np.array(sparse["bin"], dtype=np.int64), np.array(sparse["count"], dtype=float)
    if not len(index):
        return np.zeros(len(bins) - 1)
    low, high = EDGES[index], EDGES[index + 1]
    below = np.clip((bins[:, None] - low) / (high - low), 0, 1) @ counts
    return np.asarray(np.diff(below) / counts.sum())


def _resolutions(result: Mapping[str, Any], variable: str) -> Any:
    tables = [side["residuals"]["against"][variable] for side in result["collections"]]
    if not any(entry["width"] for table in tables for name in PARAMETERS for entry in table[name]):
        return None
    label, logarithmic = _AXES[variable]
    place, width = _bin_centres(tables[0]["edges"], logarithmic)
    figure = new_figure(13.0, 3.0)
    for axes, name in zip(figure.subplots(1, len(PARAMETERS)), PARAMETERS, strict=True):
        title, factor, unit = RESIDUAL_TITLES[name]
        for k, table in enumerate(tables):
            value, low, high = (
                np.array([e[key] if e[key] is not None else np.nan for e in table[name]]) * factor
                for key in ("width", "width_low", "width_high")
            )
            filled = np.isfinite(value) & (value > 0)
            if filled.any():
                shift = (k - 0.5) * 0.16
                x = place * np.exp(shift * width) if logarithmic else place + shift * width
                axes.errorbar(
                    x[filled],
                    value[filled],
                    yerr=np.stack([value - low, high - value])[:, filled].clip(min=0),
                    fmt=_MARKERS[k],
                    markersize=3.5,
                    linewidth=1.1,
                    color=COLOURS[k],
                    label=result["labels"][k],
                )
                _logarithmic(axes, "y")
        if logarithmic:
            _logarithmic(axes, "x")
        axes.set_xlabel(label)
        axes.set_title(f"{title} [{unit}]", loc="left", fontsize=9)
        plain_axes(axes)
    _common_legend(figure)
    return figure


def _lengths(result: Mapping[str, Any]) -> Any:
    figure = new_figure(6.4, 3.2)
    axes = figure.add_subplot()
    last = 0
    for k, side in enumerate(result["collections"]):
        counts = np.array(side["hits_per_track"], dtype=float)
        if counts.any():
            last = max(last, int(np.flatnonzero(counts)[-1]))
            edges = np.arange(len(counts) + 1) - 0.5
            axes.stairs(
                counts / counts.sum(),
                edges,
                color=COLOURS[k],
                linestyle=_LINES[k],
                linewidth=1.4,
                label=result["labels"][k],
            )
    axes.set_xlim(0, last + 2)
    axes.set_xlabel("hits on the track")
    axes.set_ylabel("fraction of tracks")
    axes.legend(frameon=False)
    plain_axes(axes)
    return figure


def _times(result: Mapping[str, Any]) -> Any:
    figure = new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    for k, side in enumerate(result["collections"]):
        if side["time"] is None:
            continue
        hits, ms = np.array(side["time"]["points"], dtype=float).T
        law = side["time"]["power_law"]
        label = result["labels"][k]
        if law is not None:
            label += f": hits to the power {law['exponent']:.2f} $\\pm$ {law['exponent_error']:.2f}"
            x = np.geomspace(hits[hits > 0].min(), hits.max(), 20)
            y = law["time_at_1000"] * (x / 1000) ** law["exponent"]
            axes.plot(x, y, color=COLOURS[k], linewidth=1)
        axes.plot(hits, ms, _MARKERS[k], markersize=3.5, color=COLOURS[k], label=label)
    _logarithmic(axes, "x")
    _logarithmic(axes, "y")
    axes.set_xlabel("hits in the event")
    axes.set_ylabel("CPU time [ms]")
    axes.legend(frameon=False)
    plain_axes(axes)
    return figure


def _display(result: Mapping[str, Any], event: Disagreement) -> Any:
    figure = new_figure(11.0, 5.2)
    lines = require_extra("matplotlib.collections", "plot", "drawing figures")
    x, y, z = event.positions.astype(float).T
    step = max(1, len(x) // _SHOWN_HITS)
    distance = np.hypot(np.hypot(x, y), z)
    planes = (("x [mm]", x, "y [mm]", y), ("z [mm]", z, "r [mm]", np.hypot(x, y)))
    for axes, (x_label, first, y_label, second) in zip(figure.subplots(1, 2), planes, strict=True):
        axes.scatter(first[::step], second[::step], s=1.5, color="0.8", linewidths=0)
        for k, tracks in enumerate(event.tracks):
            # Hits ordered outwards give the line of a track.
            ordered = [hits[np.argsort(distance[hits], kind="stable")] for hits in tracks]
            paths = [np.column_stack([first[hits], second[hits]]) for hits in ordered]
            text = f"only {result['labels'][k]}: {event.counts[k]}"
            axes.add_collection(
                lines.LineCollection(
                    paths, colors=COLOURS[k], linestyles=_LINES[k], linewidths=1.1, alpha=0.85, label=text
                )
            )
            if paths:
                ends = np.concatenate(paths)
                axes.scatter(*ends.T, s=9, color=COLOURS[k], marker=_MARKERS[k], linewidths=0, zorder=3)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        plain_axes(axes)
        if x_label.startswith("x"):
            axes.set_aspect("equal", adjustable="datalim")
        else:
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False, loc="upper right", fontsize=8)
    return figure


def _logarithmic(axes: Any, which: str) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5 of few decades, at the decades of many."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    steps = (1, 2, 5) if high < 30 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    axis.set_ticks([t for p in powers for s in steps if low <= (t := s * 10.0**p) <= high])
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def _common_legend(figure: Any) -> None:
    """One legend for all axes, at the right edge."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(found.values(), found.keys(), loc="outside upper right", ncols=2, frameon=False, fontsize=9)
