"""What ``__repr__`` and ``_repr_html_`` share: tables of text and of HTML, and short forms of values."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

#: Longest text of one value.
_MAX_VALUE = 60


def text_table(rows: Iterable[Sequence[object]], right: Sequence[int] = (), indent: str = "") -> str:
    """Aligned columns, two blanks apart.

    Args:
        rows: cells; all rows are of the same length.
        right: columns that are aligned to the right.
        indent: what every line begins with.
    """
    cells = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [
            cell.rjust(width) if k in right else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((indent + "  ".join(padded)).rstrip())
    return "\n".join(lines)


def html_table(title: str, rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> str:
    """A small HTML table under a title; all texts are escaped."""
    body = [_html_row(head, "th")] if head else []
    body += [_html_row(row, "td") for row in rows]
    return f"<div><strong>{_html_text(title)}</strong><table>{''.join(body)}</table></div>"


def _html_row(cells: Sequence[object], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_html_text(cell)}</{tag}>" for cell in cells) + "</tr>"


def _html_text(value: object) -> str:
    return html.escape(str(value)).replace("\n", "<br>")


def short(value: object, limit: int = _MAX_VALUE) -> str:
    """``repr`` of a value, with its middle left out where it is long."""
    text = repr(value)
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head]} ... {text[head + 5 - limit :]}"


def number(value: Any) -> str:
    """A number with as many digits as a person reads."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def counted(n: int, one: str, many: str | None = None) -> str:
    """``3 hits``, ``1 hit``."""
    return f"{n} {one if n == 1 else many or one + 's'}"
