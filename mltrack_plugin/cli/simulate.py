"""``mltrack simulate NAME``: make events with truth."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command
from mltrack_plugin.errors import MltrackError, did_you_mean
from mltrack_plugin.registry import available
from mltrack_plugin.simulation.datasets import dataset_entry

if TYPE_CHECKING:
    from mltrack_plugin.simulation.base import Dataset

#: Value of --format -> how the tables are stored.
FORMATS = {"root": "ttree", "rntuple": "rntuple"}


class DatasetGroup(click.Group):
    """One subcommand per data set; its parameters become options when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(available("data set"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return dataset_command(cmd_name) if cmd_name in available("data set") else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        names = available("data set")
        if args and not args[0].startswith("-") and args[0] not in names:
            ctx.fail(f"no data set {args[0]!r}. {did_you_mean(args[0], names)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Data sets (their parameters: mltrack simulate NAME --help)"):
            formatter.write_dl([(name, _summary(name)) for name in available("data set")])


def _summary(name: str) -> str:
    try:
        return dataset_entry(name).summary
    except MltrackError as error:  # of another package, which must not hide the others
        return str(error)


@click.group(name="simulate", cls=DatasetGroup, subcommand_metavar="NAME [OPTIONS]")
def command() -> None:
    """Make events with truth.

    For example:  mltrack simulate redvid-10-50-linear --events 100 --seed 1 --output events.root

    The same command gives the same file. The splits train, validation and test never share random numbers or
    source events.
    """


def dataset_command(name: str) -> click.Command:
    """``mltrack simulate NAME`` with all parameters of the data set as options."""
    from mltrack_plugin.cli.config_options import config_options

    entry = dataset_entry(name)
    general = [
        click.Option(["--events"], type=click.IntRange(1), required=True, help="Number of events."),
        click.Option(["--seed"], type=click.IntRange(0), default=1, show_default=True, help="Random seed."),
        click.Option(
            ["--split"],
            type=click.Choice(["train", "validation", "test"]),
            default="test",
            show_default=True,
            help="What the events are for.",
        ),
        click.Option(["--output"], type=click.Path(path_type=Path), required=True, help="File to write."),
        click.Option(
            ["--format", "file_format"],
            type=click.Choice(list(FORMATS)),
            default="root",
            show_default=True,
            help="TTrees, or RNTuples (ROOT 6.34 and later).",
        ),
        click.Option(["--overwrite"], is_flag=True, help="Replace an existing file."),
    ]
    parameters = config_options(entry.load().Config, entry.settings)
    for option in parameters:
        # "from" is a word of the Python language, not of the command line.
        if option.name == "from_dir":
            option.opts = ["--from", *option.opts]

    def simulate(
        events: int, seed: int, split: str, output: Path, file_format: str, overwrite: bool, **settings: Any
    ) -> None:
        from mltrack_plugin.simulation.datasets import make_dataset

        given = {key: value for key, value in settings.items() if value is not None}
        dataset = make_dataset(name, given)
        write_events(dataset, events, seed, split, output, file_format, overwrite)

    return Command(
        name, params=[*general, *parameters], callback=simulate, help=entry.summary, short_help=entry.summary
    )


def write_events(
    dataset: Dataset, n: int, seed: int, split: str, output: Path, file_format: str, overwrite: bool
) -> None:
    """Simulate and write, with a progress bar on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from mltrack_plugin.framework.event_store import EventStore
    from mltrack_plugin.io.root_events_writer import RootEventsWriter
    from mltrack_plugin.version import __version__

    click.echo(f"writing {n} {split} events of {dataset.name} (seed {seed}) to {output}")
    writer = RootEventsWriter(
        path=str(output), overwrite=overwrite, detector=dataset.detector, container=FORMATS[file_format]
    )
    writer.initialize()
    n_hits = n_particles = 0
    try:
        writer.set_job_info(
            {
                "dataset": dataset.name,
                "seed": str(seed),
                "split": split,
                "parameters": json.dumps(dataset.parameters(), sort_keys=True),
                "mltrack_version": __version__,
            }
        )
        with Progress(
            console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True
        ) as progress:
            task = progress.add_task(dataset.name, total=n)
            for index, event in enumerate(dataset.events(n, seed, split)):
                store = EventStore(index, source=dataset.name)
                store.add("hits", event.hits)
                store.add("truth_links", event.truth_links)
                store.add("particles", event.particles)
                writer.write(store)
                n_hits += len(event.hits)
                n_particles += len(event.particles)
                progress.advance(task)
        writer.finalize()
    except BaseException:
        writer.abort()
        raise
    click.echo(f"{n} events, {n_particles} particles, {n_hits} hits: {output}")
