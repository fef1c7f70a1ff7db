"""What the figures of a comparison share: symbols of axes, bins with their widths, logarithmic ticks, one legend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mltrack_plugin.evaluation.figures import COLOURS
from mltrack_plugin.event_data.base import Array

MARKERS = ("o", "s")
LINES = ("-", "--")


class Variable(NamedTuple):
    """What rates and resolutions are drawn against."""

    #: In words.
    name: str
    symbol: str
    unit: str
    logarithmic: bool


VARIABLES = {
    "pt": Variable("transverse momentum", "$p_T$", "GeV", True),
    "eta": Variable("pseudorapidity", r"$\eta$", "", False),
    "phi": Variable("azimuth", r"$\phi$", "rad", False),
    "d0": Variable("transverse impact parameter", "$|d_0|$", "mm", True),
    "z0": Variable("longitudinal impact parameter", "$z_0$", "mm", False),
    "density": Variable("local track density", r"$N(\Delta R < 0.1)$", "", True),
}
#: Track parameters: symbol, factor to the unit shown, unit shown.
PARAMETER_SYMBOLS = {
    "d0": ("d_0", 1e3, r"$\mu$m"),
    "z0": ("z_0", 1e3, r"$\mu$m"),
    "phi": (r"\phi", 1e3, "mrad"),
    "theta": (r"\theta", 1e3, "mrad"),
    "q_over_pt": ("(q/p_T)", 1e3, "TeV$^{-1}$"),
    "relative_pt": ("(q/p_T)/(q/p_T)", 100, "%"),
}


def with_unit(symbol: str, unit: str) -> str:
    """Title of an axis."""
    return f"{symbol} [{unit}]" if unit else symbol


class Bins(NamedTuple):
    """Where bins are drawn: lower edge, centre and upper edge, (n,) each."""

    low: Array
    centre: Array
    high: Array

    @classmethod
    def of(cls, edges: Sequence[float], logarithmic: bool) -> Bins:
        """Bins with these (n + 1,) edges; on a logarithmic axis one from 0 is drawn from half of its upper edge."""
        drawn = np.asarray(edges, dtype=float).copy()
        if not logarithmic:
            return cls(drawn[:-1], (drawn[:-1] + drawn[1:]) / 2, drawn[1:])
        drawn[0] = drawn[1] / 2 if drawn[0] <= 0 else drawn[0]
        return cls(drawn[:-1], np.sqrt(drawn[:-1] * drawn[1:]), drawn[1:])

    def shifted(self, k: int, logarithmic: bool) -> Array:
        """Centres moved a little, to one side for each collection, so that their bars stay apart."""
        shift = (k - 0.5) * 0.16
        if logarithmic:
            return np.asarray(self.centre * (self.high / self.low) ** shift)
        return np.asarray(self.centre + shift * (self.high - self.low))


def draw_bins(
    axes: Any,
    bins: Bins,
    logarithmic: bool,
    k: int,
    value: Array,
    low: Array,
    high: Array,
    label: str | None = None,
) -> None:
    """Values of collection ``k`` with their intervals, and bars over the width of each bin; NaN is left out."""
    filled = np.isfinite(value)
    if not filled.any():
        return
    x = bins.shifted(k, logarithmic)
    axes.errorbar(
        x[filled],
        value[filled],
        xerr=np.stack([x - bins.low, bins.high - x])[:, filled],
        yerr=np.stack([value - low, high - value])[:, filled].clip(min=0),
        fmt=MARKERS[k],
        markersize=3.5,
        linewidth=1.0,
        color=COLOURS[k],
        label=label,
    )


def logarithmic_axis(axes: Any, which: str) -> None:
    """A logarithmic axis with plain numbers at 1, 2, 5 of few decades, at the decades of many."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
    steps = (1, 2, 5) if high < 30 * low else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    axis.set_ticks([t for p in powers for s in steps if low <= (t := s * 10.0**p) <= high])
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter("")


def common_legend(figure: Any) -> None:
    """One legend for all axes, at the right edge."""
    found: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        found |= dict(zip(labels, handles, strict=True))
    figure.legend(found.values(), found.keys(), loc="outside upper right", ncols=2, frameon=False, fontsize=9)
