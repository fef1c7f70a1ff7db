"""``mltrack benchmark paper``: Tables 1 to 3 of Caron et al. beside ours."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command
from mltrack_plugin.published.trackformers.published import DATASETS, DESIGNS

if TYPE_CHECKING:
    from mltrack_plugin.published.trackformers.measure import Measurement
    from mltrack_plugin.published.trackformers.rows import Row

#: Events of a data set with few tracks, and of the large one.
EVENTS, LARGE_EVENTS = 500, 50
_LARGE = "trackml-200-500"

#: Number of the table -> its heading.
TITLES = {
    1: "Table 1: TrackML score (FitAccuracy), %",
    2: "Table 2: efficiencies, %",
    3: "Table 3: time per event, ms",
}


@click.command(cls=Command)
@click.option(
    "--events",
    type=click.IntRange(2),
    help=f"Test events of each data set. Default: {EVENTS}, of {_LARGE} {LARGE_EVENTS}.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=2026, show_default=True, help="Seed of the test events."
)
@click.option(
    "--datasets", multiple=True, type=click.Choice(DATASETS), help="Only these data sets; default: all."
)
@click.option(
    "--designs", multiple=True, type=click.Choice(DESIGNS), help="Only these designs; default: all."
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the networks run.",
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of torch.")
@click.option("--json", "as_json", is_flag=True, help="Print all rows as JSON.")
def paper(
    events: int | None,
    seed: int,
    datasets: tuple[str, ...],
    designs: tuple[str, ...],
    device: str,
    threads: int,
    as_json: bool,
) -> None:
    """Caron et al., Tables 1 to 3: the Transformer designs on five data sets, beside the shipped ones and our own.

    Events are those of split "test", simulated now. A design without shipped weights is printed as missing, one
    below the published figure (rounded to a percent, as that is) as short.
    """
    import torch

    from mltrack_plugin.archives.archive import resolve_device
    from mltrack_plugin.published.trackformers.rows import table_rows
    from mltrack_plugin.version import __version__

    torch.set_num_threads(threads)
    device = resolve_device(device)
    chosen_sets = [name for name in DATASETS if not datasets or name in datasets]
    chosen_designs = [name for name in DESIGNS if not designs or name in designs]
    numbers = {name: events or (LARGE_EVENTS if name == _LARGE else EVENTS) for name in chosen_sets}
    measured = measure_all(numbers, chosen_designs, seed, device)
    rows = table_rows(measured, chosen_sets, chosen_designs)
    result: dict[str, Any] = {
        "benchmark": "paper",
        "mltrack_version": __version__,
        "machine": machine_words(device, threads),
        "events": numbers,
        "split": "test",
        "seed": seed,
        "failures": {" ".join(key): text for key, text in measured.items() if isinstance(text, str)},
        "rows": [row._asdict() for row in rows],
    }
    if as_json:
        click.echo(json.dumps(result, indent=2))
    else:
        print_tables(rows, result)


def measure_all(
    events: dict[str, int], designs: list[str], seed: int, device: str
) -> dict[tuple[str, str], Measurement | str]:
    """Measure every shipped design, and our own, on each data set; an error costs that design only."""
    import tempfile

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mltrack_plugin.errors import MltrackError
    from mltrack_plugin.published.trackformers.designs import OWN, shipped_designs
    from mltrack_plugin.published.trackformers.measure import measure
    from mltrack_plugin.simulation.datasets import make_dataset

    jobs = {
        (dataset, design): job
        for (dataset, design), job in shipped_designs().items()
        if dataset in events and design in (*designs, OWN)
    }
    found: dict[tuple[str, str], Measurement | str] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    quiet = not sys.stderr.isatty()
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress,
    ):
        for number, (key, job) in enumerate(sorted(jobs.items()), start=1):
            dataset, design = key
            what = f"{number} of {len(jobs)}: {dataset}, {design} ({job.name})"
            if quiet:
                click.echo(what, err=True)
            task = progress.add_task(what, total=events[dataset])
            # Both TrackML-like sets pick from the same full events, which are simulated once.
            settings = {"bank_dir": folder} if dataset.startswith("trackml") else {}
            try:
                found[key] = measure(
                    job,
                    make_dataset(dataset, settings),
                    events[dataset],
                    seed,
                    device,
                    lambda task=task: progress.advance(task),  # type: ignore[misc]
                )
            except MltrackError as error:
                found[key] = f"{job.name}: {error}"
            progress.remove_task(task)
    return found


def machine_words(device: str, threads: int) -> str:
    """Processor, cores, versions, threads, GPU."""
    import torch

    from mltrack_plugin.framework.timing import machine

    facts = machine()
    gpu = torch.cuda.get_device_name() if device == "cuda" else "no GPU used"
    return (
        f"{facts['processor']}, {facts['cores']} cores, {threads} thread{'s' if threads > 1 else ''}, {gpu}; "
        f"{facts['system']}, Python {facts['python']}, torch {torch.__version__}"
    )


def print_tables(rows: list[Row], result: dict[str, Any]) -> None:
    """Three tables that fit a terminal of 80 columns."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for number, title in TITLES.items():
        table = Table(title=title, title_justify="left", box=None, header_style="bold", pad_edge=False)
        for heading in ("", *([""] if number > 1 else []), "paper", "here", "", "own model"):
            table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
        place = ("", "")
        designs: dict[str, str] = {}
        for row in (row for row in rows if row.table == number):
            published = "-" if row.published is None else f"{row.published:g}"
            here, own = _figure(row.here, row.uncertainty), _figure(row.own, row.own_uncertainty)
            if row.dataset != place[0]:
                # The own model has one score a data set, beside its name.
                table.add_row(row.dataset, *(["", "", "", own] if number == 1 else []), style="bold")
            first = designs.setdefault(row.dataset, row.design) == row.design
            cells = [f"  {row.design}" if (row.dataset, row.design) != place else ""]
            cells += [row.quantity] if number > 1 else []
            status = row.status if row.status in ("short", "missing", "failed") else ""
            table.add_row(*cells, published, here, status, own if number > 1 and first else "")
            place = (row.dataset, row.design)
        if table.row_count:
            console.print(table)
            console.print()
    for line in _notes(rows, result):
        console.print(line, highlight=False, markup=False)


def _figure(value: float | None, uncertainty: float | None) -> str:
    if value is None or uncertainty is None:
        return ""
    digits = 2 if 0 < uncertainty < 0.095 else 1
    return f"{value:.{digits}f} ± {uncertainty:.{digits}f}"


def _notes(rows: list[Row], result: dict[str, Any]) -> list[str]:
    """What the tables were measured on, with which jobs, and what failed."""
    events = ", ".join(f"{name} {number}" for name, number in result["events"].items())
    jobs = sorted({name for row in rows for name in (row.job, row.own_job) if name})
    return [
        f"Test events, seed {result['seed']}: {events}.",
        f"Jobs: {', '.join(jobs) or 'none is shipped'}.",
        "EncDec starts from the first true hit of each particle, which does not count in its score.",
        "Times: the network (GPU side) and all other steps up to the track candidates (CPU side); CPU time, of a "
        "network on a GPU wall time; the first event is left out. Published on an A100 and 18 CPU cores.",
        f"Machine: {result['machine']}.",
        *(f"Failed: {name}: {text}" for name, text in result["failures"].items()),
    ]
