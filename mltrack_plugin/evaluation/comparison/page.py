"""The comparison as one HTML page that needs nothing else: pictures inside, no script, no network."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from mltrack_plugin.evaluation.comparison.plots import Picture
from mltrack_plugin.evaluation.comparison.report import Section, notes, sections, warnings
from mltrack_plugin.evaluation.definitions import DEFINITIONS

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 78rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; font-variant-numeric: tabular-nums }
thead th { border-bottom: 2px solid #444 }
tbody tr.section th { padding-top: .9rem; border-bottom: 1px solid #bbb }
figure { margin: 1.5rem 0 } img { max-width: 100%; height: auto }
figcaption, .note { color: #555 }
.warning { color: #b00020; font-weight: bold }
"""


def page(result: Mapping[str, Any], pictures: Iterable[Picture]) -> bytes:
    """The page; the same result gives the same bytes.

    Args:
        result: of ``Comparison.result`` with ``files`` and ``left_out``.
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
    parts.append(
        '<p class="note">In parentheses: 68% intervals; for rates the wider of the binomial one '
        "(Clopper-Pearson) and the bootstrap over events on each side, for differences the bootstrap over the events "
        "of both together.</p>"
    )
    if result["with_truth"]:
        items = "".join(f"<dt>{escape(n)}</dt><dd>{escape(text)}</dd>" for n, text in DEFINITIONS.items())
        parts.append(f"<h2>What counts as a fake</h2>\n<dl>{items}</dl>")
    parts.append("<h2>Figures</h2>")
    for picture in pictures:
        data = base64.b64encode(picture.png).decode()
        parts.append(
            f'<figure>\n<h3>{escape(picture.title)}</h3>\n<img alt="{escape(picture.title)}" '
            f'src="data:image/png;base64,{data}">\n<figcaption>{escape(picture.caption)}</figcaption>\n</figure>'
        )
    parts.append("</body>\n</html>\n")
    return "\n".join(parts).encode()


def _table(result: Mapping[str, Any]) -> str:
    first, second = (escape(label) for label in result["labels"])
    head = f"<tr><th></th><th>{first}</th><th>{second}</th><th>difference</th></tr>"
    rows = "".join(_section(section) for section in sections(result))
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{rows}</tbody>\n</table>"


def _section(section: Section) -> str:
    lines = [f'<tr class="section"><th colspan="4">{escape(section.title)}</th></tr>']
    lines += [
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in section.rows
    ]
    return "\n".join(lines) + "\n"
