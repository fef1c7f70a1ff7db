"""``mltrack reference``: tracks by an established track finder, to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command()
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
    "--field", type=float, default=2.0, show_default=True, metavar="T", help="Solenoid field along z, T."
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
    field: float,
    resolution: float,
    min_pt: float | None,
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
    from mltrack_plugin.atomic import check_apart, check_file
    from mltrack_plugin.cli.evaluate import open_reader
    from mltrack_plugin.cli.job_display import job_log, progress, show_summary
    from mltrack_plugin.cli.run import make_writers, report, score_collector, timing_writer, write_report
    from mltrack_plugin.detectors.acts_geometry import require_acts
    from mltrack_plugin.framework.sequencer import Sequencer

    require_acts()
    target = Path(output) if output is not None else default_output(input_, finder)
    with job_log() as console:
        if json_ is not None:
            check_file(Path(json_), overwrite=overwrite)
        job = ckf_job(settings, field, resolution, min_pt)
        algorithms = job.algorithms()
        reader = open_reader(input_, format_, config)
        reader.initialize()
        scores = score_collector(reader)
        reader.finalize()
        writers = make_writers(job, target, output_format, overwrite)
        # Always: the time is half of the comparison.
        writers.append(
            timing_writer(
                writers[0], overwrite, job=job.name, workers=workers, times=algorithms[0].config.times
            )
        )
        outputs = [str(writer.config.path) for writer in writers]
        check_apart([*outputs, *filter(None, [json_])], filter(None, [input_, config]))
        with progress(console) as show:
            sequencer = Sequencer(
                events=events,
                skip=skip,
                workers=workers,
                on_error=on_error,
                resume=resume,
                progress=show,
                info={"job": job.name, "job_configuration": json.dumps(job.model_dump(mode="json"))},
            ).add_reader(reader)
            for algorithm in algorithms:
                sequencer.add_algorithm(algorithm)
            for writer in [*writers, *([scores] if scores is not None else [])]:
                sequencer.add_writer(writer)
            summary = sequencer.run()
        found = scores.accumulator.result() if scores is not None else None
        show_summary(summary, found, outputs)
        show_times(outputs[-1])
        if json_ is not None:
            content = report(summary, found, input_, outputs, job)
            write_report(json_, {**content, "times": times_per_event(outputs[-1])}, overwrite)


def default_output(source: str, finder: str) -> Path:
    """``<stem>.<finder>.root`` beside a local input, in the current folder for a remote one."""
    from mltrack_plugin.cli.run import default_output as tracks_output

    path = tracks_output(source)
    return path.with_name(path.name.removesuffix(".tracks.root") + f".{finder}.root")


def times_per_event(path: str) -> dict[str, float]:
    """Mean CPU time per event of each step, and of all counted ones together ("reconstruction"), ms."""
    import numpy as np

    from mltrack_plugin.framework.timing import read_timing

    record = read_timing(path)
    if not len(record):
        return {}
    means = {name: 1e3 * float(np.nanmean(values)) for name, values in record.steps.items()}
    return {**means, "reconstruction": 1e3 * float(record.cpu_s.mean())}


def show_times(path: str) -> None:
    """Print the mean times per event of a timing file."""
    from rich.console import Console
    from rich.table import Table

    from mltrack_plugin.framework.timing import read_timing

    counted = read_timing(path).counted
    table = Table(title="CPU time of the reference", title_justify="left", box=None, pad_edge=False)
    table.add_column("step")
    table.add_column("CPU ms/event", justify="right")
    table.add_column("")
    for name, milliseconds in times_per_event(path).items():
        outside = name not in (*counted, "reconstruction")
        table.add_row(name, f"{milliseconds:.3f}", "not counted" if outside else "")
    console = Console()
    console.print()
    console.print(table)
