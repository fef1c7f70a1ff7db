"""``mltrack run``: events in, tracks out."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mltrack_plugin.evaluation.collect import ScoreCollector
    from mltrack_plugin.framework.algorithm import Algorithm, Reader, Writer
    from mltrack_plugin.framework.summary import Summary
    from mltrack_plugin.jobs.config import JobConfig

_log = logging.getLogger(__name__)

#: Writer for an output whose job configuration names none, by suffix ("" = a folder).
WRITERS = {
    ".root": "root-tracks",
    ".parquet": "colliderml-tracks",
    ".csv": "trackml-submission",
    "": "acts-tracks-csv",
}


@click.command()
@click.option("--input", "input_", required=True, metavar="PATH", help="File, folder, archive or URL.")
@click.option("--output", metavar="PATH", help="Default: <input>.tracks.root beside the input.")
@click.option(
    "--config", metavar="NAME|FILE", help="Job configuration. Default: the one that fits the input."
)
@click.option("--model", metavar="NAME|FILE", help="Model instead of the one that the configuration names.")
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
    from mltrack_plugin.atomic import check_apart, check_file
    from mltrack_plugin.cli.job_display import job_log, progress, show_summary
    from mltrack_plugin.framework.sequencer import Sequencer

    target = Path(output) if output is not None else default_output(input_)
    with job_log() as console:
        if json_ is not None:
            check_file(Path(json_), overwrite=overwrite)
        reader, job = open_input(input_, format_, config, model)
        algorithms = job.algorithms(model=model, device=device)
        writers = make_writers(job, target, output_format, overwrite)
        if timing:
            writers.append(
                timing_writer(writers[0], overwrite, job=job.name, workers=workers, threads=threads)
            )
        outputs = [str(writer.config.path) for writer in writers]
        check_apart([*outputs, *filter(None, [json_])], filter(None, [input_, config, model]))
        scores = score_collector(reader) if makes_tracks(algorithms) else None
        with progress(console) as show:
            sequencer = Sequencer(
                events=events,
                skip=skip,
                workers=workers,
                threads=threads,
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
        if json_ is not None:
            write_report(json_, report(summary, found, input_, outputs, job), overwrite)


def open_input(
    path: str, format: str | None, config: str | None, model: str | None = None
) -> tuple[Reader, JobConfig]:
    """Reader and job configuration; without ``config`` the shipped one that fits the input.

    Raises:
        InputError: if the input cannot be read.
        ConfigurationError: if the configuration is wrong, or none fits.
    """
    from mltrack_plugin.io import open_events
    from mltrack_plugin.jobs.config import load_job

    if config is not None:
        job = load_job(config)
        settings = dict(job.reader)
        reader = open_events(path, format=format or settings.pop("format", None), **settings)
        reader.initialize()
        reader.finalize()
        return reader, job
    from mltrack_plugin.jobs.choice import choose_job

    reader = open_events(path, format=format)
    reader.initialize()
    name, reason = choose_job(reader, model)
    reader.finalize()
    _log.info("job configuration %s: %s", name, reason)
    return reader, load_job(name)


def default_output(source: str) -> Path:
    """``<stem>.tracks.root`` beside a local input, in the current folder for a remote one."""
    name = source.rstrip("/").rsplit("/", 1)[-1]
    stem = name
    for suffix in (".gz", ".zip", ".csv", ".root", ".parquet"):
        stem = stem.removesuffix(suffix)
    folder = Path() if "://" in source else Path(source).parent
    return folder / f"{stem or 'events'}.tracks.root"


def make_writers(job: JobConfig, output: Path, output_format: str | None, overwrite: bool) -> list[Writer]:
    """The writers of a job; where it names none, the one that the output's suffix stands for.

    Raises:
        ConfigurationError: if no writer is known for the suffix.
    """
    from mltrack_plugin.errors import ConfigurationError
    from mltrack_plugin.registry import available, find

    if output_format is None and job.writers:
        return job.make_writers(output, overwrite)
    name = output_format or WRITERS.get(output.suffix)
    if name is None:
        raise ConfigurationError(
            f"no output format for the suffix of {str(output)!r}; known are {', '.join(map(repr, WRITERS))}. "
            f"Or choose one with --output-format: {', '.join(available('writer'))}"
        )
    return [find("writer", name)(path=str(output), overwrite=overwrite)]


def report(
    summary: Summary, scores: dict[str, Any] | None, source: str, outputs: list[str], job: JobConfig
) -> dict[str, Any]:
    """Content of ``--json``."""
    return {"input": source, "outputs": outputs, "job": job.name, **summary.to_dict(), "scores": scores}


def write_report(path: str, content: dict[str, Any], overwrite: bool) -> None:
    """Write JSON, complete or not at all (raises ``OutputError``)."""
    from mltrack_plugin.atomic import AtomicFile, output_errors

    file = AtomicFile(path, overwrite=overwrite)
    try:
        with output_errors(path):
            file.file.write(json.dumps(content, indent=2).encode() + b"\n")
        file.commit()
    except BaseException:
        file.abort()
        raise


def timing_writer(tracks: Writer, overwrite: bool, **settings: Any) -> Writer:
    """What writes CPU times beside the output of a writer of tracks.

    Args:
        tracks: the writer.
        overwrite: replace an existing file.
        settings: further settings of the timing writer.
    """
    from mltrack_plugin.framework.timing import TimingWriter, timing_path

    keys = {name: key for name in ("hits", "tracks") if (key := getattr(tracks.config, name, None))}
    return TimingWriter(
        path=str(timing_path(tracks.config.path)), overwrite=overwrite, **{**keys, **settings}
    )


def makes_tracks(algorithms: Sequence[Algorithm]) -> bool:
    """Whether the sequence ends in tracks; one that only finds vertices has nothing to score."""
    from mltrack_plugin.event_data import ProtoTracks

    outputs = [handle for algorithm in algorithms for handle in algorithm.outputs]
    return any(handle.key == "tracks" and issubclass(handle.kind, ProtoTracks) for handle in outputs)


def score_collector(reader: Reader) -> ScoreCollector | None:
    """A writer that scores tracks as they come, if the events have truth."""
    from mltrack_plugin.evaluation.collect import ScoreCollector, truth_keys

    keys = truth_keys(reader)
    if "truth_links" not in keys:
        return None
    return ScoreCollector({**keys, "detector": getattr(reader, "detector", None)})
