"""The comparison as lines of text that fit a given width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from mltrack_plugin.evaluation.comparison.report import Cell, Section, sections

#: Longest name of a collection that heads a column where there is little room.
MAX_LABEL = 16
_GAP = "  "


class Line(NamedTuple):
    """A line of the table."""

    text: str
    #: Whether it heads what follows.
    heading: bool = False


def table(result: Mapping[str, Any], width: int) -> Iterator[Line]:
    """The table: a number with its interval and counts in one line if that fits, else in two or three.

    Args:
        result: of ``Comparison.result``.
        width: columns of the terminal; with 80 any comparison fits.
    """
    parts = list(sections(result))
    labels: list[str] = list(result["labels"])
    legend: list[str] = []
    for layout in (_one_line, _two_lines, _three_lines):
        if layout is not _one_line and max(map(len, labels)) > MAX_LABEL:
            labels, legend = _cut(result["labels"])
        blocks = [_blocks(section, layout) for section in parts]
        widths = _widths([[""], *([label] for label in labels), ["difference"]], blocks)
        if sum(widths) + 3 * len(_GAP) <= width:
            break
    for line in legend:
        yield Line(line)
    yield Line(_row(["", *labels, "difference"], widths), heading=True)
    for section, rows in zip(parts, blocks, strict=True):
        yield Line("")
        yield Line(section.title, heading=True)
        for columns in rows:
            height = max(map(len, columns))
            for i in range(height):
                yield Line(_row([c[i] if i < len(c) else "" for c in columns], widths))


def _cut(labels: list[str]) -> tuple[list[str], list[str]]:
    """Labels of at most MAX_LABEL characters, and lines that say what they stand for."""
    short = [
        label if len(label) <= MAX_LABEL else f"{k}: {label[: MAX_LABEL - 6]}..."
        for k, label in enumerate(labels, start=1)
    ]
    return short, [f"{s} is {label}" for s, label in zip(short, labels, strict=True) if s != label]


def _one_line(cell: Cell) -> list[str]:
    return [str(cell)]


def _two_lines(cell: Cell) -> list[str]:
    first = f"{cell.value} {cell.counts}".rstrip()
    return [first, cell.interval] if cell.interval else [first]


def _three_lines(cell: Cell) -> list[str]:
    return [cell.value, *(part for part in (cell.counts, cell.interval) if part)]


def _blocks(section: Section, layout: Any) -> list[list[list[str]]]:
    """Per row the lines of each of its four columns."""
    return [[[row.title], *(layout(cell) for cell in row[1:])] for row in section.rows]


def _widths(head: list[list[str]], blocks: list[list[list[list[str]]]]) -> list[int]:
    rows = [head, *(row for block in blocks for row in block)]
    return [max(len(text) for row in rows for text in row[k]) for k in range(len(head))]


def _row(texts: list[str], widths: list[int]) -> str:
    return _GAP.join(f"{text:<{width}}" for text, width in zip(texts, widths, strict=True)).rstrip()
