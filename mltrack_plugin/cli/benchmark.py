"""``mltrack benchmark``: published figures beside ours, in one table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.benchmark_paper import paper

if TYPE_CHECKING:
    from mltrack_plugin.published.heptrkx.benchmark.rows import Part, Row

#: Families of systems -> module with ``parts``.
HEPTRKX = {
    "graphs": "mltrack_plugin.published.heptrkx.benchmark.graphs",
    "sequences": "mltrack_plugin.published.heptrkx.benchmark.sequences",
    "images": "mltrack_plugin.published.heptrkx.benchmark.images",
}
#: Columns of the table, and of its last column.
_WIDTH, _OURS = 80, 18


@click.group()
def command() -> None:
    """Print published figures beside those of the shipped models on events simulated now."""


command.add_command(paper)


@command.command("heptrkx")
@click.option(
    "--events", type=click.IntRange(10), default=200, show_default=True, help="Test events of each data set."
)
@click.option(
    "--seed", type=click.IntRange(0), default=2026, show_default=True, help="Seed of the test events."
)
@click.option(
    "--systems", multiple=True, type=click.Choice(list(HEPTRKX)), help="Only these families; default: all."
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the table (JSON) and the pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def heptrkx(events: int, seed: int, systems: tuple[str, ...], output: Path | None, as_json: bool) -> None:
    """Farrell et al., the HEP.TrkX networks: graphs, sequences of hits, images.

    Every line names its data set, its seed and one standard deviation.
    """
    import importlib
    import json
    import platform
    import time

    from mltrack_plugin.atomic import AtomicFile
    from mltrack_plugin.version import __version__

    rows: list[Row] = []
    chosen = [family for family in HEPTRKX if not systems or family in systems]
    parts: list[Part] = []
    for family in chosen:
        parts += importlib.import_module(HEPTRKX[family]).parts(seed, events)
    click.echo(f"{events} events per data set, seed {seed}", err=True)
    for number, part in enumerate(parts, start=1):
        click.echo(f"{number} of {len(parts)}: {part.label} ...", err=True, nl=False)
        start = time.monotonic()
        rows += part.rows()
        click.echo(f" {time.monotonic() - start:.0f} s", err=True)
    result: dict[str, Any] = {
        "benchmark": "heptrkx",
        "mltrack_version": __version__,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "rows": [row._asdict() for row in rows],
    }
    text = json.dumps(result, indent=2)
    if output is not None:
        from mltrack_plugin.published.heptrkx.benchmark.pictures import draw_all

        output.mkdir(parents=True, exist_ok=True)
        click.echo(f"drawing pictures to {output}", err=True)
        draw_all(output, rows, seed, chosen)
        file = AtomicFile(output / "heptrkx.json", overwrite=True)
        file.file.write(text.encode() + b"\n")
        file.commit()
        click.echo(f"wrote {file.path}", err=True)
    if as_json:
        click.echo(text)
    else:
        _print_table(rows)


def _print_table(rows: list[Row]) -> None:
    """One block for each system, data set and seed, in 80 columns."""
    from itertools import groupby

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=_WIDTH, highlight=False)
    console.print("HEP.TrkX: published figures and ours (one standard deviation)", markup=False)
    for (system, dataset, seed), block in groupby(rows, lambda row: (row.system, row.dataset, row.seed)):
        console.print(f"\n{system}: {dataset}; seed {seed}", style="bold", markup=False)
        table = Table(box=None, padding=(0, 1), expand=True)
        table.add_column("quantity", ratio=1)
        table.add_column("published", justify="right", no_wrap=True)
        table.add_column("ours", justify="right", no_wrap=True, min_width=_OURS)
        for row in block:
            table.add_row(Text(row.quantity), row.published, _with_error(row.ours, row.uncertainty))
        console.print(table)


def _with_error(value: float, error: float) -> str:
    """A figure with as many digits as its error has, which has one: "0.9952 ± 0.0003"."""
    if not error or not math.isfinite(error):
        return f"{value:.6g}"
    digits = max(0, -math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"
