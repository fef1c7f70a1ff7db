"""``mltrack benchmark``: published figures beside ours, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.benchmark_paper import paper

if TYPE_CHECKING:
    from mltrack_plugin.benchmarks_heptrkx.rows import Row

#: Families of systems -> module with ``published_rows``.
HEPTRKX = {
    "graphs": "mltrack_plugin.benchmarks_heptrkx.graphs",
    "sequences": "mltrack_plugin.benchmarks_heptrkx.sequences",
    "images": "mltrack_plugin.benchmarks_heptrkx.images",
}


@click.group()
def command() -> None:
    """Print published figures beside those of the shipped models on events simulated now."""


command.add_command(paper)


@command.command("heptrkx")
@click.option(
    "--events", type=click.IntRange(10), default=200, show_default=True, help="Test events of each data set."
)
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Seed of the test events.")
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

    from mltrack_plugin import __version__
    from mltrack_plugin.io.atomic import AtomicFile

    rows: list[Row] = []
    chosen = [family for family in HEPTRKX if not systems or family in systems]
    for number, family in enumerate(chosen, start=1):
        click.echo(
            f"{number} of {len(chosen)}: {family}, {events} events per data set, seed {seed}", err=True
        )
        rows += importlib.import_module(HEPTRKX[family]).published_rows(seed, events)
    result: dict[str, Any] = {
        "benchmark": "heptrkx",
        "mltrack_version": __version__,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "rows": [row._asdict() for row in rows],
    }
    text = json.dumps(result, indent=2)
    if output is not None:
        from mltrack_plugin.benchmarks_heptrkx.pictures import draw_all

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
    from rich.console import Console
    from rich.table import Table

    table = Table(title="HEP.TrkX: published figures and ours")
    for heading in ("system", "quantity", "published", "ours", "data set", "seed"):
        number = heading in ("published", "ours", "seed")
        table.add_column(heading, justify="right" if number else "left", no_wrap=heading == "system")
    last = ""
    for row in rows:
        ours = f"{row.ours:.4g}" if not row.uncertainty else f"{row.ours:.4g} +- {row.uncertainty:.1g}"
        table.add_row(
            "" if row.system == last else row.system,
            row.quantity,
            row.published,
            ours,
            row.dataset,
            str(row.seed),
        )
        last = row.system
    Console().print(table)
