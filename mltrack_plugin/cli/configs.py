"""``mltrack configs``: list the shipped job configurations, or print one."""

from __future__ import annotations

import json

import click


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(name: str | None, as_json: bool) -> None:
    """List the shipped job configurations, or print the one called NAME as YAML.

    A printed configuration is a good start for your own:

        mltrack configs encreg-redvid-10-50-linear > mine.yaml
    """
    from mltrack_plugin.job import available_jobs, job_text, load_job

    if name is not None:
        if as_json:
            click.echo(json.dumps(load_job(name).model_dump(mode="json"), indent=2))
        else:
            click.echo(job_text(name), nl=False)
        return
    jobs = [load_job(job) for job in available_jobs()]
    if as_json:
        click.echo(json.dumps([job.model_dump(mode="json") for job in jobs], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Job configurations", title_justify="left", box=None, pad_edge=False)
    table.add_column("name", no_wrap=True)
    table.add_column("detectors")
    table.add_column("description")
    for job in jobs:
        table.add_row(job.name, ", ".join(job.detectors), job.description)
    Console().print(table)
