"""``mltrack run``: events in, tracks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from mltrack_plugin.cli.command import Command


@click.command(cls=Command)
@click.option("--input", "input_", required=True, metavar="PATH", help="File, folder, archive or URL.")
@click.option("--output", metavar="PATH", help="Default: <input>.tracks.root beside the input.")
@click.option(
    "--config", metavar="NAME|FILE", help="Job configuration. Default: the one that fits the input."
)
@click.option("--model", metavar="NAME|FILE", help="Model instead of the one that the configuration names.")
@click.option(
    "--detector",
    metavar="NAME|FILE",
    help="Detector, or a YAML file that describes it. Default: what the hits and the configuration tell.",
)
@click.option("--format", "format_", metavar="FORMAT", help="Input format. Default: by the content.")
@click.option("--output-format", metavar="WRITER", help="Output format. Default: by the suffix of --output.")
@click.option("--events", type=click.IntRange(1), metavar="N", help="Process N events at most.")
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Leave out the first N events.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), help="Where the network runs.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Threads per process.")
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="What to do about an event that cannot be processed.",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing output.")
@click.option("--resume", is_flag=True, help="Continue an interrupted job.")
@click.option("--json", "json_", metavar="FILE", help="Write the summary as JSON, too.")
@click.option("--timing", is_flag=True, help="Write CPU times per event to <output>.timing.json, too.")
def command(
    input_: str,
    output: str | None,
    config: str | None,
    model: str | None,
    detector: str | None,
    format_: str | None,
    output_format: str | None,
    events: int | None,
    skip: int,
    device: str | None,
    threads: int,
    workers: int,
    on_error: Any,
    overwrite: bool,
    resume: bool,
    json_: str | None,
    timing: bool,
) -> None:
    """Find the tracks of the events in a file.

    Only --input is needed: the job configuration that fits the file is found, and the tracks are written
    beside it.

        mltrack run --input events.root
    """
    from mltrack_plugin.cli.job_display import job_log, progress, show_result
    from mltrack_plugin.jobs.run import run

    with job_log() as console, progress(console) as show:
        result = run(
            input_,
            output if output is not None else default_output(input_),
            job=config,
            model=model,
            detector=detector,
            format=format_,
            output_format=output_format,
            events=events,
            skip=skip,
            device=device,
            workers=workers,
            threads=threads,
            on_error=on_error,
            resume=resume,
            overwrite=overwrite,
            timing=timing,
            report=json_,
            progress=show,
        )
    show_result(result)


def default_output(source: str) -> Path:
    """``<stem>.tracks.root`` beside a local input, in the current folder for a remote one."""
    name = source.rstrip("/").rsplit("/", 1)[-1]
    stem = name
    for suffix in (".gz", ".zip", ".csv", ".root", ".parquet"):
        stem = stem.removesuffix(suffix)
    folder = Path() if "://" in source else Path(source).parent
    return folder / f"{stem or 'events'}.tracks.root"
