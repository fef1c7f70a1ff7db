"""Figures of a comparison. Needs the extra ``[plot]``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np

from mltrack_plugin.errors import require_extra
from mltrack_plugin.evaluation.comparison.accumulator import DISPLAYED_TRACKS, MAX_HITS, Disagreement
from mltrack_plugin.evaluation.comparison.axes import LINES, MARKERS, VARIABLES, logarithmic_axis
from mltrack_plugin.evaluation.comparison.fit_figures import against_figure, distribution_figure
from mltrack_plugin.evaluation.comparison.rate_figures import rate_caption, rate_figure
from mltrack_plugin.evaluation.comparison.residuals import AGAINST
from mltrack_plugin.evaluation.comparison.widths import MIN_ENTRIES
from mltrack_plugin.evaluation.figures import COLOURS, new_figure, plain_axes

#: Hits that an event display shows in grey.
_SHOWN_HITS = 20_000
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
        for variable, axis in VARIABLES.items():
            if (figure := rate_figure(result, variable)) is not None:
                text = f"Efficiency, rates, purity and completeness against {axis.name}"
                yield Picture(text, rate_caption(result, variable), _png(figure))
        if (figure := distribution_figure(result, "residuals")) is not None:
            yield Picture("Residuals", _RESIDUAL_CAPTION, _png(figure))
        for variable in AGAINST:
            for quantity, (word, caption) in _AGAINST.items():
                if (figure := against_figure(result, variable, quantity)) is not None:
                    yield Picture(f"{word} against {VARIABLES[variable].name}", caption, _png(figure))
        if (figure := distribution_figure(result, "pulls")) is not None:
            yield Picture("Pulls", _PULL_CAPTION, _png(figure))
    if any(side["tracks"] for side in result["collections"]):
        yield Picture(
            "Hits per track",
            f"Tracks of more than {MAX_HITS} hits are counted at {MAX_HITS}.",
            _png(_lengths(result)),
        )
    if any(side["time"] for side in result["collections"]):
        yield Picture("CPU time per event", "Lines: power laws fitted to the events.", _png(_times(result)))
    if disagreement is not None:
        yield Picture(
            f"Event {disagreement.number}: tracks that only one collection has",
            f"The event with the most of them; at most {DISPLAYED_TRACKS} tracks of each are drawn.",
            _png(_display(result, disagreement)),
        )


_RESIDUAL_CAPTION = (
    "Fit minus truth of the best matched track of each particle; truth is the helix of the particle, followed "
    "from its vertex to the beam line. Width: half of the central 68%; bias: the median; both in the unit of the "
    "axis. Entries beyond the axis are in the numbers, not in the curves. The last panel is the residual of q/pT over "
    "the true q/pT."
)
_PULL_CAPTION = (
    "Residual over the error of the fit; the grey curve is a unit normal. Width: half of the central 68%; bias: the "
    "median."
)
_IN_BINS = (
    "Vertical bars: 68% intervals; horizontal bars: bins of the true value. Bins of fewer than "
    f"{MIN_ENTRIES} tracks are empty."
)
_AGAINST = {
    "width": ("Resolution", f"Half of the central 68% of the residuals. {_IN_BINS}"),
    "bias": ("Bias", f"Median of the residuals. {_IN_BINS}"),
}


def _png(figure: Any) -> bytes:
    content = BytesIO()
    # Without metadata the bytes depend on the figure alone.
    figure.savefig(content, format="png", dpi=_DPI, metadata={"Software": None})
    return content.getvalue()


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
                linestyle=LINES[k],
                linewidth=1.4,
                label=result["labels"][k],
            )
    axes.set_xlim(0, last + 2)
    axes.xaxis.get_major_locator().set_params(integer=True)
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
        axes.plot(hits, ms, MARKERS[k], markersize=3.5, color=COLOURS[k], label=label)
    logarithmic_axis(axes, "x")
    logarithmic_axis(axes, "y")
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
                    paths, colors=COLOURS[k], linestyles=LINES[k], linewidths=1.1, alpha=0.85, label=text
                )
            )
            if paths:
                ends = np.concatenate(paths)
                axes.scatter(*ends.T, s=9, color=COLOURS[k], marker=MARKERS[k], linewidths=0, zorder=3)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        plain_axes(axes)
        if x_label.startswith("x"):
            axes.set_aspect("equal", adjustable="datalim")
        else:
            axes.set_ylim(bottom=0)
            axes.legend(frameon=False, loc="upper right", fontsize=8)
    return figure
