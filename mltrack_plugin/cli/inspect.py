"""``mltrack inspect``: what a file holds and which jobs can run on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command

if TYPE_CHECKING:
    from mltrack_plugin.framework.algorithm import Reader


@click.command(cls=Command)
@click.argument("path")
@click.option(
    "--detector",
    metavar="NAME|FILE",
    help="Detector, or a YAML file that describes it. Default: what the hits and the configuration tell.",
)
@click.option("--format", "format_", metavar="FORMAT", help="Input format. Default: by the content.")
@click.option(
    "--events",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    metavar="N",
    help="Events whose ranges are shown.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(path: str, detector: str | None, format_: str | None, events: int, as_json: bool) -> None:
    """Tell what PATH holds: format, events, columns, ranges, truth, and which jobs can run on it.

    mltrack inspect events.root
    """
    from mltrack_plugin.io import open_events

    settings = {} if detector is None else {"detector": detector}
    reader = open_events(path, format=format_, **settings)
    reader.initialize()
    try:
        facts = inspect_events(reader, events)
    finally:
        reader.finalize()
    if as_json:
        click.echo(json.dumps(facts, indent=2))
    else:
        _show(facts)


def inspect_events(reader: Reader, events: int) -> dict[str, Any]:
    """What an initialized reader's input holds.

    Args:
        reader: any reader; what it does not tell (columns, detector) is left out.
        events: number of events from which ranges are taken.

    Returns:
        JSON content: path, format, events, detector, recognised (why this one, or why none), dataset, truth,
        columns (table, name, type), ranges
        (collection -> column -> smallest and largest value, and number of rows), bad_events, jobs (name,
        fits, reason).
    """
    from mltrack_plugin.errors import ConfigurationError, InputError
    from mltrack_plugin.event_data import TruthLinks
    from mltrack_plugin.jobs.choice import fitting_jobs, look_at

    ranges, bad = _ranges(reader, events)
    detector, jobs = getattr(reader, "detector", None), []
    try:
        sample = look_at(reader)
        detector, recognised = sample.detector.name, sample.reason
        jobs = [{"name": n, "fits": f, "reason": r} for n, f, r in fitting_jobs(sample)]
    except ConfigurationError as error:
        recognised = str(error)
    except InputError:
        # bad_events holds the reasons, and no job can run.
        recognised = "no event can be read"
    columns: list[Any] = getattr(reader, "column_info", list)()
    return {
        "path": reader.source,
        "format": reader.format_name,
        "events": reader.num_events(),
        "detector": detector,
        "recognised": recognised,
        "dataset": getattr(reader, "dataset", None),
        "truth": any(handle.kind is TruthLinks for handle in reader.outputs),
        "columns": [{"table": c.table, "name": c.name, "type": c.type} for c in columns],
        "ranges": ranges,
        "bad_events": bad,
        "jobs": jobs,
    }


def _ranges(reader: Reader, events: int) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """Smallest and largest value of each column of the first events, and the errors of those that are bad."""
    ranges: dict[str, dict[str, list[float]]] = {}
    bad = []
    for event in reader.events(0, events):
        if event.error is not None:
            bad.append(str(event.error))
        for key, collection in event.collections.items():
            seen = ranges.setdefault(key, {})
            _widen(seen, "rows", len(collection), len(collection))
            for name, values in collection.arrays().items():
                if len(values):
                    _widen(seen, name, values.min().item(), values.max().item())
    return ranges, bad


def _widen(ranges: dict[str, list[float]], name: str, low: float, high: float) -> None:
    before = ranges.get(name, [low, high])
    ranges[name] = [min(low, before[0]), max(high, before[1])]


def _show(facts: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    head = Table.grid(padding=(0, 2))
    for key in ("path", "format", "events", "detector", "recognised", "dataset"):
        head.add_row(Text(key, "bold"), Text("not known" if facts[key] is None else str(facts[key])))
    head.add_row(Text("truth", "bold"), "yes" if facts["truth"] else "no")
    console.print(head)
    if facts["columns"]:
        table = _table("\nColumns in the file", "table", "column", "type")
        for column in facts["columns"]:
            table.add_row(Text(column["table"]), Text(column["name"]), Text(column["type"]))
        console.print(table)
    table = _table("\nRanges in the first events (mm, GeV, e)", "collection", "column", "from", "to")
    for key, columns in facts["ranges"].items():
        for name, (low, high) in columns.items():
            table.add_row(key, name, _number(low), _number(high))
    console.print(table)
    for reason in facts["bad_events"]:
        console.print(Text(f"bad event: {reason}", "red"))
    table = _table("\nJob configurations", "name", "fits", "reason")
    for job in facts["jobs"]:
        table.add_row(
            job["name"], Text("yes", "green") if job["fits"] else Text("no", "red"), Text(job["reason"])
        )
    console.print(table)


def _table(title: str, *columns: str) -> Any:
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
