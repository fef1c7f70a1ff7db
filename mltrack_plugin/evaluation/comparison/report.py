"""The comparison as rows of text: for the table on the terminal and the one of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mltrack_plugin.evaluation.comparison.accumulator import METRICS
from mltrack_plugin.evaluation.comparison.checks import NAMES
from mltrack_plugin.evaluation.comparison.residuals import PARAMETERS, PULLS
from mltrack_plugin.evaluation.definitions import DEFINITIONS

METRIC_TITLES = {
    "efficiency": "efficiency",
    "fake_rate": "fake rate (strict)",
    "duplicate_rate": "duplicate rate",
    "purity": "purity",
    "completeness": "completeness",
}
#: Residuals: title, factor to the unit shown, unit shown.
RESIDUAL_TITLES = {
    "d0": (NAMES["d0"], 1e3, "um"),
    "z0": (NAMES["z0"], 1e3, "um"),
    "phi": (NAMES["phi"], 1e3, "mrad"),
    "theta": (NAMES["theta"], 1e3, "mrad"),
    "q_over_pt": (NAMES["q_over_pt"], 1e3, "1/TeV"),
    "relative_pt": (NAMES["relative_pt"], 100, "%"),
}


class Cell(NamedTuple):
    """A number of the table, as text."""

    value: str
    #: "5929/6000", where it is a rate.
    counts: str = ""
    #: "[0.9850, 0.9900]", where it has one.
    interval: str = ""

    def __str__(self) -> str:
        return " ".join(part for part in self if part)


class Row(NamedTuple):
    """A line of the table: what, its value for both collections, and their difference."""

    title: str
    first: Cell
    second: Cell
    difference: Cell = Cell("")


class Section(NamedTuple):
    """Lines that belong together."""

    title: str
    #: Where the page explains it; "" = nowhere.
    anchor: str
    rows: list[Row]


def sections(result: Mapping[str, Any]) -> Iterator[Section]:
    """The whole table.

    Args:
        result: of ``Comparison.result``.
    """
    one, two = result["collections"]
    yield Section("Tracks", "", list(_counts(one, two)))
    if result["with_truth"]:
        rows = [
            Row(
                METRIC_TITLES[m],
                rate(one["rates"][m]),
                rate(two["rates"][m]),
                difference(result["difference"][m]),
            )
            for m in METRICS
        ]
        yield Section("Against the truth (purity, completeness: of matched tracks)", "rates", rows)
        for metric, title in (
            ("fake_rate", "Fakes"),
            ("efficiency", "Efficiency"),
            ("duplicate_rate", "Duplicates"),
        ):
            rows = [
                Row(name, rate(one["definitions"][name][metric]), rate(two["definitions"][name][metric]))
                for name in DEFINITIONS
            ]
            yield Section(f"{title} by definition", "fakes", rows)
        found = {name: rate(entry) for name, entry in result["particles_found"].items()}
        rows = [
            Row("found by both", found["by_both"], Cell("")),
            Row("found by one only", found["only_by_first"], found["only_by_second"]),
            Row("found by neither", found["by_neither"], Cell("")),
        ]
        yield Section("Selected particles", "selected", rows)
        yield from _fits(one["residuals"], two["residuals"], result["fit_difference"])
    overlap = result["overlap"]
    if overlap["of_first"] is not None:
        rows = [
            Row("the other has it too", rate(overlap["of_first"]), rate(overlap["of_second"])),
            Row("exactly equal hits", rate(overlap["identical"]), Cell("")),
        ]
        yield Section("Tracks in both (more than half of the hits in common, both ways)", "overlap", rows)
    if one["time"] is not None or two["time"] is not None:
        yield Section("CPU time", "time", list(_times(one["time"], two["time"])))


def _counts(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[Row]:
    for title, key in (
        ("tracks", "tracks"),
        ("with a fit", "tracks_with_fit"),
        ("hits on tracks", "hits_on_tracks"),
        ("tracks sharing hits", "tracks_that_share_hits"),
        ("events with no track", "events_without_tracks"),
    ):
        yield Row(title, Cell(str(one[key])), Cell(str(two[key])))
    yield Row("hits per track", _per_track(one), _per_track(two))


def _per_track(side: Mapping[str, Any]) -> Cell:
    return Cell(f"{side['hits_on_tracks'] / side['tracks']:.2f}" if side["tracks"] else "-")


def _fits(
    one: Mapping[str, Any], two: Mapping[str, Any], differences: Mapping[str, Any]
) -> Iterator[Section]:
    for kind, heading, names in (
        ("residuals", "Residuals: resolution (half of the central 68%) and bias (median)", PARAMETERS),
        ("pulls", "Pulls: width (1 if the errors are right) and bias (median)", PULLS),
    ):
        rows = []
        for name in names:
            title, factor, unit = RESIDUAL_TITLES[name]
            if kind == "residuals":
                title += f" [{unit}]"
            else:
                factor = 1.0
            for quantity, text in (("width", title), ("bias", "  bias")):
                first, second = (_width(side[kind][name], quantity, factor) for side in (one, two))
                change = difference(differences[kind][name][quantity], factor, "+.3g")
                rows.append(Row(text, first, second, change))
        yield Section(heading, kind, rows)


def _width(entry: Mapping[str, Any], quantity: str, factor: float) -> Cell:
    if entry[quantity] is None:
        return Cell("-")
    form = ".4g" if quantity == "width" else "+.3g"
    value, low, high = (factor * entry[key] for key in (quantity, f"{quantity}_low", f"{quantity}_high"))
    return Cell(f"{value:{form}}", "", _interval(low, high, form))


def _times(one: Mapping[str, Any] | None, two: Mapping[str, Any] | None) -> Iterator[Row]:
    sides = (one, two)
    ratio = f"ratio {one['mean_ms'] / two['mean_ms']:.3g}" if one and two and two["mean_ms"] else ""
    first, second = (
        Cell("-") if s is None else Cell(f"{s['mean_ms']:.4g}", "", _interval(s["low"], s["high"], ".4g"))
        for s in sides
    )
    yield Row("ms per event", first, second, Cell(ratio))
    laws = [None if s is None else s["power_law"] for s in sides]
    texts = ["-" if law is None else f"{law['exponent']:.2f} +- {law['exponent_error']:.2f}" for law in laws]
    yield Row("as hits to the power", *map(Cell, texts))


def rate(entry: Mapping[str, Any] | None) -> Cell:
    """A rate with its interval and counts; "-" where there is nothing to count."""
    if entry is None or entry["value"] is None:
        return Cell("-")
    counts = f"{entry['numerator']}/{entry['denominator']}"
    return Cell(f"{entry['value']:.4f}", counts, _interval(entry["low"], entry["high"], ".4f"))


def difference(entry: Mapping[str, Any], factor: float = 1.0, form: str = "+.4f") -> Cell:
    """A difference with its interval."""
    if entry["value"] is None:
        return Cell("-")
    low, high = (None if entry[end] is None else factor * entry[end] for end in ("low", "high"))
    return Cell(f"{factor * entry['value']:{form}}", "", _interval(low, high, form))


def _interval(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f"[{low:{form}}, {high:{form}}]"


def notes(result: Mapping[str, Any]) -> list[str]:
    """What a reader must know: what was compared, and what could not be."""
    first, second = result["labels"]
    cuts = result["cuts"]
    lines = [f"{result['events']} events: {first} ({result['files'][0]}) and {second} ({result['files'][1]})"]
    if result["with_truth"]:
        cut = [f"at least {cuts['min_hits']} hits"]
        if cuts["min_pt"]:
            cut.append(f"pT of at least {cuts['min_pt']:g} GeV")
        if cuts["max_eta"] is not None:
            cut.append(f"|eta| below {cuts['max_eta']:g}")
        lines.append(
            f"truth: {result['hits']} hits ({result['noise_hits']} noise), {result['particles']} particles with "
            f"hits, of which {result['asked_particles']} are selected ({', '.join(cut)})"
        )
    else:
        lines.append("no truth was given: only the overlap of the two collections is known (--truth)")
    for label, n in result["left_out"].items():
        if n:
            lines.append(f"warning: {n} events of {label} are not in the other file; not compared")
    if result["overlap"]["of_first"] is None:
        lines.append(
            "tracksummary does not say which hits are on a track: its truth matching is that of the file, "
            "and the overlap is known particle by particle only"
        )
    for side in result["collections"]:
        label = side["label"]
        if not side["tracks"]:
            lines.append(f"warning: {label} holds no tracks at all in these events")
        elif not side["tracks_with_fit"]:
            lines.append(f"{label} has no fitted tracks: no resolutions, no pulls, no pT of tracks")
        elif result["with_truth"] and not any(p["entries"] for p in side["residuals"]["pulls"].values()):
            lines.append(f"{label} has no covariances: no pulls")
        if side["time"] is None:
            lines.append(f"{label} has no record of the time per event (mltrack run --timing writes one)")
    lines += _machines([side["time"] for side in result["collections"] if side["time"] is not None])
    return lines


def warnings(result: Mapping[str, Any]) -> list[str]:
    """A line for every bias and pull that is far from what it should be."""
    return [f"WARNING: {finding['label']}: {finding['text']}" for finding in result["warnings"]]


def _machines(times: list[Mapping[str, Any]]) -> Iterator[str]:
    """Where the times were measured, and what makes them incomparable."""
    for key in ("machine", "threads", "workers"):
        if len(times) == 2 and times[0][key] != times[1][key]:
            yield f"warning: the times were measured with different {key}: they cannot be compared"
    for time in times[:1]:
        processes = f"{time['workers']} worker(s) with {time['threads']} thread(s)"
        yield f"times: CPU time of all threads, {processes}, {time['machine'].get('processor', 'unknown')}"
