"""The comparison as one HTML page that needs nothing else: pictures inside, no script, no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from mltrack_plugin.evaluation.comparison.plots import Picture
from mltrack_plugin.evaluation.comparison.report import Section, notes, sections, warnings
from mltrack_plugin.evaluation.definitions import DEFINITIONS

#: By anchor: what is defined, and how.
DEFINED = {
    "selected": (
        "Selected particles",
        "those with at least the smallest number of hits, at least the smallest pT at production and |eta| below the "
        "largest. The cuts act on particles only; no cut takes a track out of the strict fakes.",
    ),
    "rates": (
        "Efficiency, fake rate, duplicate rate, purity, completeness",
        "a track is matched to the particle that more than half of its hits are from, if it has at least the smallest "
        "number of hits. Efficiency: selected particles with a matched track. Fake rate (strict): tracks that are not "
        "matched, of all tracks. Duplicate rate: matched tracks beyond the best one of each particle, of all tracks. "
        "Purity: hits of matched tracks that are from the particle. Completeness: hits of the particle that are on the "
        "matched track.",
    ),
    "fakes": ("Other definitions of a fake", "as other software counts them:"),
    "residuals": (
        "Residual, resolution, bias",
        "residual: fit minus truth of the best matched track of each selected particle, at the point of the helix "
        "closest to the beam line; relative q/pT: the residual of q/pT over the true q/pT. Resolution: half of the "
        "width of the central 68.27%. Bias: the median.",
    ),
    "pulls": (
        "Pull",
        "residual over the error that the fit states for it. With right errors its width is 1 and its median 0.",
    ),
    "overlap": (
        "Tracks in both",
        "two tracks are the same if they share more than half of the hits of each.",
    ),
    "time": (
        "CPU time",
        "of all threads and processes, per event, without reading; from the records of the jobs.",
    ),
    "intervals": (
        "Intervals",
        "all are central 68% intervals. Rates: the wider of the binomial one (Clopper-Pearson) and the bootstrap over "
        "events on each side. Differences of rates: the bootstrap over the events of both together. Resolutions and "
        "biases: the binomial spread of the ranks; their differences: as if both were independent.",
    ),
}
#: Those that need the truth.
OF_TRUTH = ("selected", "rates", "fakes", "residuals", "pulls")
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; font-variant-numeric: tabular-nums }
thead th { border-bottom: 2px solid #444 }
tbody tr.section th { padding-top: .9rem; border-bottom: 1px solid #bbb }
a { color: inherit }
dt { font-weight: bold; margin-top: .5rem }
figure { margin: 1.5rem 0 } img { max-width: 100%; height: auto }
figcaption, .note { color: #555 }
.warning { color: #b00020; font-weight: bold }
"""


def page(result: Mapping[str, Any], pictures: Iterable[Picture]) -> bytes:
    """The page; the same result gives the same bytes.

    Args:
        result: of ``Comparison.result`` with ``files``, ``truth`` and ``left_out``.
        pictures: of :func:`mltrack_plugin.evaluation.comparison.plots.pictures`.
    """
    first, second = (escape(label) for label in result["labels"])
    parts = [
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{first} and {second}</title>',
        f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{first} and {second}</h1>",
    ]
    parts += [f"<p>{escape(line)}</p>" for line in notes(result)]
    parts += [f'<p class="warning">{escape(line)}</p>' for line in warnings(result)]
    parts.append(_table(result))
    parts.append('<p class="note">In brackets: 68% intervals (see <a href="#intervals">below</a>).</p>')
    parts.append("<h2>Figures</h2>")
    for picture in pictures:
        data = base64.b64encode(picture.png).decode()
        parts.append(
            f'<figure>\n<h3>{escape(picture.title)}</h3>\n<img alt="{escape(picture.title)}" '
            f'src="data:image/png;base64,{data}">\n<figcaption>{escape(picture.caption)}</figcaption>\n</figure>'
        )
    parts += [_definitions(result), _settings(result)]
    parts.append("</body>\n</html>\n")
    return "\n".join(parts).encode()


def _table(result: Mapping[str, Any]) -> str:
    first, second = (escape(label) for label in result["labels"])
    head = f"<tr><th></th><th>{first}</th><th>{second}</th><th>difference</th></tr>"
    rows = "".join(_section(section) for section in sections(result))
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table>"


def _section(section: Section) -> str:
    title = escape(section.title)
    if section.anchor:
        title = f'<a href="#{section.anchor}">{title}</a>'
    lines = [f'<tr class="section"><th colspan="4">{title}</th></tr>']
    lines += [
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in section.rows
    ]
    return "\n".join(lines) + "\n"


def _definitions(result: Mapping[str, Any]) -> str:
    """What every number of the page means; the sections of the table link here."""
    named = {key: value for key, value in DEFINED.items() if result["with_truth"] or key not in OF_TRUTH}
    parts = ["<h2>Definitions</h2>", "<dl>"]
    for anchor, (title, text) in named.items():
        parts.append(f'<dt id="{anchor}">{escape(title)}</dt><dd>{escape(text)}')
        if anchor == "fakes":
            items = "".join(f"<li>{escape(n)}: {escape(rule)}</li>" for n, rule in DEFINITIONS.items())
            parts.append(f"<ul>{items}</ul>")
        parts.append("</dd>")
    return "\n".join([*parts, "</dl>"])


def _settings(result: Mapping[str, Any]) -> str:
    """What the page was made from, with what and by what."""
    cuts, field = result["cuts"], result["field_z"]
    first, second = result["labels"]
    rows = {
        first: result["files"][0],
        second: result["files"][1],
        "truth": result["truth"] or "none",
        "events": str(result["events"]),
        "smallest number of hits": str(cuts["min_hits"]),
        "smallest pT of a particle": f"{cuts['min_pt']:g} GeV",
        "largest |eta| of a particle": "none" if cuts["max_eta"] is None else f"{cuts['max_eta']:g}",
        "field of the true helices": "none" if field is None else f"{field:g} T",
        "made by": f"mltrack compare, mltrack-plugin {result['version']}",
        "definitions in full": "docs/comparing.md and docs/metrics.md of that version",
    }
    lines = [f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in rows.items()]
    return "<h2>Settings</h2>\n<table>\n" + "\n".join(lines) + "\n</table>"
