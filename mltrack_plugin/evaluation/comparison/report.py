"""The comparison as rows of text: for the table on the terminal and the one of the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mltrack_plugin.evaluation.comparison.accumulator import METRICS
from mltrack_plugin.evaluation.comparison.residuals import PARAMETERS, PULLS
from mltrack_plugin.evaluation.definitions import DEFINITIONS

METRIC_TITLES = {
    "efficiency": "efficiency",
    "fake_rate": "fake rate (strict)",
    "duplicate_rate": "duplicate rate",
    "purity": "purity of matched tracks",
    "completeness": "completeness of matched tracks",
}
#: Residuals: title, factor to the unit shown, unit shown.
RESIDUAL_TITLES = {
    "d0": ("d0", 1e3, "um"),
    "z0": ("z0", 1e3, "um"),
    "phi": ("phi", 1e3, "mrad"),
    "theta": ("theta", 1e3, "mrad"),
    "q_over_pt": ("q/pT", 1e3, "1/TeV"),
    "relative_pt": ("pT (relative)", 100, "%"),
}


class Row(NamedTuple):
    """A line of the table: what, its value for both collections, and their difference."""

    title: str
    first: str
    second: str
    difference: str = ""


class Section(NamedTuple):
    """Lines that belong together."""

    title: str
    rows: list[Row]


def sections(result: Mapping[str, Any]) -> Iterator[Section]:
    """The whole table.

    Args:
        result: of ``Comparison.result``.
    """
    one, two = result["collections"]
    yield Section("Tracks", list(_counts(one, two)))
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
        yield Section("Against the truth", rows)
        for metric, title in (
            ("fake_rate", "Fakes"),
            ("efficiency", "Efficiency"),
            ("duplicate_rate", "Duplicates"),
        ):
            rows = [
                Row(name, rate(one["definitions"][name][metric]), rate(two["definitions"][name][metric]))
                for name in DEFINITIONS
            ]
            yield Section(f"{title} by definition", rows)
        rows = [
            Row(
                f"particles found {name.replace('_', ' ')}".replace("first", one["label"]).replace(
                    "second", two["label"]
                ),
                rate(entry),
                "",
            )
            for name, entry in result["particles_found"].items()
        ]
        yield Section("Selected particles", rows)
        yield from _fits(one, two)
    overlap = result["overlap"]
    if overlap["of_first"] is not None:
        rows = [
            Row("tracks that the other has, too", rate(overlap["of_first"]), rate(overlap["of_second"])),
            Row("tracks with exactly the same hits", rate(overlap["identical"]), ""),
        ]
        yield Section("Overlap (more than half of the hits in common, both ways)", rows)
    if one["time"] is not None or two["time"] is not None:
        yield Section("CPU time", list(_times(one["time"], two["time"])))


def _counts(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[Row]:
    for title, key in (
        ("tracks", "tracks"),
        ("with a fit", "tracks_with_fit"),
        ("hits on tracks", "hits_on_tracks"),
        ("tracks that share hits", "tracks_that_share_hits"),
        ("events without tracks", "events_without_tracks"),
    ):
        yield Row(title, str(one[key]), str(two[key]))
    yield Row("hits per track", _per_track(one), _per_track(two))


def _per_track(side: Mapping[str, Any]) -> str:
    return f"{side['hits_on_tracks'] / side['tracks']:.2f}" if side["tracks"] else "-"


def _fits(one: Mapping[str, Any], two: Mapping[str, Any]) -> Iterator[Section]:
    sides = (one["residuals"], two["residuals"])
    rows = []
    for name in PARAMETERS:
        title, factor, unit = RESIDUAL_TITLES[name]
        widths = [_width(side["residuals"][name], factor) for side in sides]
        rows.append(Row(f"{title} [{unit}]", *widths))
    yield Section("Resolution (half of the central 68%)", rows)
    rows = [
        Row(RESIDUAL_TITLES[name][0], *(_width(side["pulls"][name], 1.0) for side in sides)) for name in PULLS
    ]
    yield Section("Pull widths (1 if the errors are right)", rows)


def _width(entry: Mapping[str, Any], factor: float) -> str:
    if entry["width"] is None:
        return "-"
    value, low, high = (entry[key] * factor for key in ("width", "width_low", "width_high"))
    return f"{value:.4g} ({low:.4g} - {high:.4g})"


def _times(one: Mapping[str, Any] | None, two: Mapping[str, Any] | None) -> Iterator[Row]:
    sides = (one, two)
    ratio = f"ratio {one['mean_ms'] / two['mean_ms']:.3g}" if one and two and two["mean_ms"] else ""
    means = ["-" if s is None else f"{s['mean_ms']:.4g}" + _ends(s, "{:.4g}") for s in sides]
    yield Row("ms per event", means[0], means[1], ratio)
    laws = [None if s is None else s["power_law"] for s in sides]
    texts = ["-" if law is None else f"{law['exponent']:.2f} +- {law['exponent_error']:.2f}" for law in laws]
    yield Row("grows with hits to the power", *texts)


def rate(entry: Mapping[str, Any] | None) -> str:
    """A rate with its interval and counts; "-" where there is nothing to count."""
    if entry is None or entry["value"] is None:
        return "-"
    return f"{entry['value']:.4f}{_ends(entry, '{:.4f}')} {entry['numerator']}/{entry['denominator']}"


def difference(entry: Mapping[str, Any]) -> str:
    """A difference with its interval."""
    return "-" if entry["value"] is None else f"{entry['value']:+.4f}{_ends(entry, '{:+.4f}')}"


def _ends(entry: Mapping[str, Any], form: str) -> str:
    if entry["low"] is None or entry["high"] is None:
        return ""
    separator = " .. " if "+" in form else " - "
    return f" ({form.format(entry['low'])}{separator}{form.format(entry['high'])})"


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


def _machines(times: list[Mapping[str, Any]]) -> Iterator[str]:
    """Where the times were measured, and what makes them incomparable."""
    for key in ("machine", "threads", "workers"):
        if len(times) == 2 and times[0][key] != times[1][key]:
            yield f"warning: the times were measured with different {key}: they cannot be compared"
    for time in times[:1]:
        processes = f"{time['workers']} worker(s) with {time['threads']} thread(s)"
        yield f"times: CPU time of all threads, {processes}, {time['machine'].get('processor', 'unknown')}"
