"""Biases and pulls that are far from what they should be, in words that name a likely cause."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mltrack_plugin.evaluation.comparison.residuals import PARAMETERS, PULLS
from mltrack_plugin.evaluation.comparison.widths import N_BINS

#: Largest bias of a residual, as a share of its resolution.
MAX_BIAS = 0.2
#: Largest bias of q/pT relative to q/pT, whatever its resolution.
MAX_RELATIVE_BIAS = 0.01
#: Largest median of a pull.
MAX_PULL_MEDIAN = 0.2
#: Smallest and largest width of a pull.
PULL_WIDTHS = (0.8, 1.25)
#: Standard errors by which a value must be beyond what it should be.
SIGNIFICANCE = 3.0

#: Parameter as a table prints it.
NAMES = {
    "d0": "d0",
    "z0": "z0",
    "phi": "phi",
    "theta": "theta",
    "q_over_pt": "q/pT",
    "relative_pt": "relative q/pT",
}
_BIAS_CAUSES = {
    "d0": "is the beam line where the truth has it?",
    "z0": "is z measured from the same point?",
    "phi": "are phi and the sign of the field defined alike?",
    "theta": "are z and theta measured from the same point?",
    "q_over_pt": "do positive and negative tracks bend alike (alignment, field map)?",
}


class Finding(NamedTuple):
    """A number of one collection that is not what it should be."""

    #: Label of the collection.
    label: str
    #: Of PARAMETERS.
    parameter: str
    #: "bias", "pull_median" or "pull_width".
    quantity: str
    value: float
    #: Ends of the 68% interval.
    low: float
    high: float
    #: The bound that the value is beyond, in the same unit.
    limit: float
    #: A sentence without the label.
    text: str


def findings(label: str, residuals: Mapping[str, Any]) -> Iterator[Finding]:
    """What is significantly beyond the limits of this module.

    Args:
        label: of the collection.
        residuals: of `Residuals.result`.
    """
    for parameter in PARAMETERS:
        entry = residuals["residuals"][parameter]
        if entry["width"] is None:
            continue
        limit = MAX_BIAS * entry["width"]
        if parameter == "relative_pt":
            limit = min(limit, MAX_RELATIVE_BIAS)
        if abs(entry["bias"]) > limit and _one_sided(residuals["histograms"]["residuals"][parameter]):
            text = _relative_pt(entry["bias"]) if parameter == "relative_pt" else _bias(parameter, entry)
            yield _finding(label, parameter, "bias", entry, limit, text)
    for parameter in PULLS:
        entry = residuals["pulls"][parameter]
        if entry["width"] is None:
            continue
        median, width = entry["bias"], entry["width"]
        if abs(median) > MAX_PULL_MEDIAN and _one_sided(residuals["histograms"]["pulls"][parameter]):
            text = f"the median pull of {NAMES[parameter]} is {median:+.2f}, not 0: {_BIAS_CAUSES[parameter]}"
            yield _finding(label, parameter, "pull_median", entry, MAX_PULL_MEDIAN, text)
        smallest, largest = PULL_WIDTHS
        if width - largest > SIGNIFICANCE * (width - entry["width_low"]):
            text = (
                f"the errors of {NAMES[parameter]} are {width:.3g} times too small (pull width {width:.2f}): "
                "are resolution and material right, and the hits those of the particle?"
            )
            yield _finding(label, parameter, "pull_width", entry, largest, text)
        elif smallest - width > SIGNIFICANCE * (entry["width_high"] - width):
            text = (
                f"the errors of {NAMES[parameter]} are {1 / width:.3g} times too large (pull width {width:.2f}): "
                "are resolution and material taken too large?"
            )
            yield _finding(label, parameter, "pull_width", entry, smallest, text)


def _finding(
    label: str, parameter: str, quantity: str, entry: Mapping[str, Any], limit: float, text: str
) -> Finding:
    key = "width" if quantity == "pull_width" else "bias"
    value, low, high = (entry[k] for k in (key, f"{key}_low", f"{key}_high"))
    return Finding(label, parameter, quantity, value, low, high, limit, text)


def _one_sided(histogram: Mapping[str, list[int]]) -> bool:
    """Whether more entries are on one side of 0 than chance explains.

    Of a distribution with two peaks, like q/pT with a wrong scale, the interval of the median says nothing.
    """
    side = np.sign(np.asarray(histogram["bin"]) - N_BINS // 2)
    counts = np.asarray(histogram["count"])
    return bool(abs((side * counts).sum()) > SIGNIFICANCE * math.sqrt(counts.sum()))


def _relative_pt(bias: float) -> str:
    if bias <= -1:
        return f"the charge has the wrong sign (relative q/pT off by {bias:+.2f}): is the sign of the field right?"
    ratio = 1 / (1 + bias)
    size = f"{100 * abs(ratio - 1):.2g}% {'low' if ratio < 1 else 'high'}"
    return f"pT {size}: is the field right? One of {ratio:.3g} times the true field does this"


def _bias(parameter: str, entry: Mapping[str, Any]) -> str:
    share = abs(entry["bias"]) / entry["width"] if entry["width"] else float("inf")
    value = f"{entry['bias']:+.3g} {entry['unit']}"
    return f"{NAMES[parameter]} is off by {value}, {share:.2g} of its resolution: {_BIAS_CAUSES[parameter]}"
