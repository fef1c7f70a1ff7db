"""``mltrack configs``: list the shipped job configurations, or print one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command

if TYPE_CHECKING:
    from mltrack_plugin.jobs.config import JobConfig


@click.command(cls=Command)
@click.argument("name", required=False)
@click.option("--training", is_flag=True, help="The training configurations (mltrack train NAME) instead.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str | None, training: bool, as_json: bool) -> None:
    """List the shipped job configurations with what each is for, its algorithms and how good it is, or print the one
    called NAME as YAML.

    A printed configuration is a good start for your own:

        mltrack configs encreg-redvid-10-50-linear > mine.yaml
    """
    from mltrack_plugin.jobs.config import available_jobs, job_text, load_job

    if training:
        _training(name, as_json)
        return
    if name is not None:
        if as_json:
            click.echo(json.dumps(_as_json(load_job(name)), indent=2))
        else:
            click.echo(job_text(name), nl=False)
        return
    jobs = [load_job(job) for job in available_jobs()]
    if as_json:
        click.echo(json.dumps([_as_json(job) for job in jobs], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Job configurations", title_justify="left", box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("detector")
    table.add_column("purpose, algorithms, figures of merit", overflow="fold")
    for job in jobs:
        stages = ", ".join(step.name for step in job.sequence)
        table.add_row(
            job.name, job.detector_name or "any", "\n".join([job.description, stages, *_figures(job), ""])
        )
    Console().print(table)
    click.echo("One in full: mltrack configs NAME. Trainings: mltrack configs --training")


def _as_json(job: JobConfig) -> dict[str, Any]:
    """A job with its figures."""
    return job.model_dump(mode="json") | {"figures": [entry.model_dump(mode="json") for entry in job.figures]}


def _figures(job: JobConfig) -> list[str]:
    """The first figure of each measurement, in words."""
    return [
        f"{name.replace('_', ' ').replace('trackml', 'TrackML')} {value:.1%} "
        f"({', '.join(filter(None, (entry.dataset, entry.sample, f'{entry.events} events')))})"
        for entry in job.figures
        for name, value in list(entry.metrics.items())[:1]
    ]


def _training(name: str | None, as_json: bool) -> None:
    """The training configurations, or one of them."""
    from mltrack_plugin.errors import ConfigurationError, did_you_mean
    from mltrack_plugin.training.config import load_training_config, training_configs

    shipped = training_configs()
    if name is not None and name not in shipped:
        raise ConfigurationError(f"no training configuration {name!r}. {did_you_mean(name, shipped)}")
    if name is not None and not as_json:
        click.echo(shipped[name].read_text(encoding="utf-8"), nl=False)
        return
    configs = [load_training_config(one) for one in (shipped if name is None else [name])]
    if as_json:
        content = [config.model_dump(mode="json") for config in configs]
        click.echo(json.dumps(content if name is None else content[0], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Training configurations", title_justify="left", box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    for title in ("network", "data set", "detectors"):
        table.add_column(title, overflow="fold")
    table.add_column("steps", justify="right")
    for config in configs:
        table.add_row(
            config.name, config.architecture, config.dataset, ", ".join(config.detectors), f"{config.steps:,}"
        )
    Console().print(table)
