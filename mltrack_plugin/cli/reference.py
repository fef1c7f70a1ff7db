"""``mltrack reference``: tracks by an established track finder, to compare with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command

if TYPE_CHECKING:
    from mltrack_plugin.jobs.result import RunResult


@click.command(cls=Command)
@click.argument("finder", type=click.Choice(["ckf"]))
@click.option("--input", "input_", required=True, metavar="PATH", help="File, folder, archive or URL.")
@click.option("--output", metavar="PATH", help="Default: <input>.ckf.root beside the input.")
@click.option(
    "--settings",
    type=click.Choice(["tuned", "standard"]),
    default="tuned",
    show_default=True,
    help="Settings of the chain; standard: those of ckf_tracks.py of ACTS.",
)
@click.option(
    "--field", type=float, metavar="T", help="Solenoid field along z, T. Default: that of the detector."
)
@click.option(
    "--resolution",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    metavar="F",
    help="Hit resolution in units of the pitch / sqrt(12), as simulated.",
)
@click.option(
    "--min-pt",
    type=click.FloatRange(0, min_open=True),
    metavar="GEV",
    help="Smallest pT of seeds and tracks. Default: that of the settings, 0.45 (tuned) or 0.5 GeV.",
)
@click.option(
    "--detector",
    metavar="NAME|FILE",
    help="Detector, or a YAML file that describes it. Default: what the hits and the configuration tell.",
)
@click.option("--format", "format_", metavar="FORMAT", help="Input format. Default: by the content.")
@click.option(
    "--config", metavar="NAME|FILE", help="Job configuration whose reader settings the input needs."
)
@click.option("--output-format", metavar="WRITER", help="Output format. Default: by the suffix of --output.")
@click.option("--events", type=click.IntRange(1), metavar="N", help="Process N events at most.")
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Leave out the first N events.")
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
def command(
    finder: str,
    input_: str,
    output: str | None,
    settings: str,
    field: float | None,
    resolution: float,
    min_pt: float | None,
    detector: str | None,
    format_: str | None,
    config: str | None,
    output_format: str | None,
    events: int | None,
    skip: int,
    workers: int,
    on_error: Any,
    overwrite: bool,
    resume: bool,
    json_: str | None,
) -> None:
    """Find tracks with the seeding, CKF and ambiguity resolution of ACTS (extra [acts]).

    For events of the GenericDetector. It reads what `mltrack run` reads, noise included, and writes the same
    formats; the CPU time per event and step goes to <output>.timing.json.

        mltrack reference ckf --input events.root --output ckf.root
    """
    from mltrack_plugin.acts.reference import ckf_job
    from mltrack_plugin.cli.job_display import job_log, progress, show_result
    from mltrack_plugin.detectors.acts_geometry import require_acts
    from mltrack_plugin.jobs.config import load_job
    from mltrack_plugin.jobs.run import run

    require_acts()
    job = ckf_job(settings, field, resolution, min_pt)
    if config is not None:
        job = job.model_copy(update={"reader": load_job(config).reader})
    with job_log() as console, progress(console) as show:
        result = run(
            input_,
            output if output is not None else default_output(input_, finder),
            job=job,
            detector=detector,
            format=format_,
            output_format=output_format,
            events=events,
            skip=skip,
            workers=workers,
            on_error=on_error,
            resume=resume,
            overwrite=overwrite,
            # Always: the time is half of the comparison.
            timing=True,
            report=json_,
            progress=show,
        )
    show_result(f"{result}\n{_times(result)}")


def default_output(source: str, finder: str) -> Path:
    """``<stem>.<finder>.root`` beside a local input, in the current folder for a remote one."""
    from mltrack_plugin.cli.run import default_output as tracks_output

    path = tracks_output(source)
    return path.with_name(path.name.removesuffix(".tracks.root") + f".{finder}.root")


def _times(result: RunResult) -> str:
    """Table of the mean times per event of the steps."""
    from mltrack_plugin.framework.timing import read_timing
    from mltrack_plugin.reprs import text_table

    counted = {*read_timing(result.outputs[-1]).counted, "reconstruction"}
    rows = [
        (name, f"{milliseconds:.3f}", "" if name in counted else "not counted")
        for name, milliseconds in (result.times or {}).items()
    ]
    table = text_table([("step", "CPU ms/event", ""), *rows], right=(1,))
    return f"\nCPU time of the reference\n{table}"
