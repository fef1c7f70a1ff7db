"""``mltrack evaluate``: score tracks against the truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mltrack_plugin.cli.command import Command

if TYPE_CHECKING:
    from rich.table import Table

    from mltrack_plugin.framework.algorithm import Algorithm, Reader
    from mltrack_plugin.framework.summary import Summary

#: Per-event times of the JSON; null where the tracks were read from a file.
TIMES = ("cpu_ms_model", "cpu_ms_clustering", "cpu_ms_total")
#: Rows of the table by key of ``ScoreAccumulator.result``.
_ROWS = {
    "trackml_score": "TrackML score",
    "fit_accuracy": "FitAccuracy",
    "perfect_match_efficiency": "perfect match efficiency",
    "lhc_match_efficiency": "LHC-style match efficiency",
    "double_majority_efficiency": "double majority efficiency",
    "efficiency": "efficiency",
    "fake_rate": "fake rate (every track counts)",
    "duplicate_rate": "duplicate rate",
    "purity": "purity of matched tracks",
    "completeness": "completeness of matched tracks",
}


@click.command(cls=Command)
@click.option(
    "--input", "input_", required=True, metavar="PATH", help="Events with truth: file, folder or URL."
)
@click.option("--tracks", metavar="PATH", help="Tracks of these events. Default: reconstruct them now.")
@click.option(
    "--config",
    metavar="NAME|FILE",
    help="Job configuration. Default: the one that fits the input. With --tracks only its reader counts.",
)
@click.option("--model", metavar="NAME|FILE", help="Model instead of the one that the configuration names.")
@click.option(
    "--detector",
    metavar="NAME|FILE",
    help="Detector, or a YAML file that describes it. Default: what the hits and the configuration tell.",
)
@click.option("--format", "format_", metavar="FORMAT", help="Input format. Default: by the content.")
@click.option("--events", type=click.IntRange(1), metavar="N", help="Evaluate N events at most.")
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Leave out the first N events.")
@click.option(
    "--min-hits",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    metavar="N",
    help="Fewest hits that a particle must have left to count, and that a track must have to be matched.",
)
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
@click.option("--json", "json_", metavar="FILE", help="Write all results as JSON, too (replaces the file).")
@click.option("--plots", metavar="DIR", help="Draw the plots into this folder (needs the extra [plot]).")
def command(
    input_: str,
    tracks: str | None,
    config: str | None,
    model: str | None,
    detector: str | None,
    format_: str | None,
    events: int | None,
    skip: int,
    min_hits: int,
    device: str | None,
    threads: int,
    workers: int,
    on_error: Any,
    json_: str | None,
    plots: str | None,
) -> None:
    """Score tracks against the truth that the input carries.

    The tracks are those of --tracks, or they are reconstructed now, as `mltrack run` would.
    The definitions of all scores are in docs/metrics.md.

        mltrack evaluate --input events.root --tracks events.tracks.root --plots plots
    """
    from mltrack_plugin.atomic import write_json
    from mltrack_plugin.cli.job_display import job_log, progress
    from mltrack_plugin.errors import ConfigurationError

    if tracks is not None and model is not None:
        raise ConfigurationError("give --tracks (score these) or --model (reconstruct with it), not both")
    _check_outputs(json_, plots, (input_, tracks, config, model))
    with job_log() as console, progress(console) as show:
        if tracks is not None:
            reader = open_reader(input_, format_, config, detector)
            reader.initialize()
            require_truth(reader)
            result = score_file(reader, tracks, events, skip, min_hits, on_error, show)
        else:
            options = {"events": events, "skip": skip, "threads": threads, "workers": workers}
            job_options = {**options, "on_error": on_error, "progress": show}
            result = score_job(input_, format_, config, model, detector, device, min_hits, job_options)
    _show(result)
    if json_ is not None:
        write_json(json_, result, overwrite=True)
        click.echo(f"wrote {json_}")
    if plots is not None:
        from mltrack_plugin.evaluation.plots import plot_results

        files = plot_results(result, plots, title=str(result.get("job") or Path(str(tracks)).name))
        click.echo(f"wrote {len(files)} plots to {plots}")


def open_reader(path: str, format: str | None, config: str | None, detector: str | None = None) -> Reader:
    """A reader of an input, with the reader settings of a job configuration; not yet initialized.

    Raises:
        InputError: if there is nothing at ``path`` or its format is not recognised.
        ConfigurationError: if the configuration or a setting is wrong.
    """
    from mltrack_plugin.io import open_events
    from mltrack_plugin.jobs.config import load_job

    settings = dict(load_job(config).reader) if config is not None else {}
    named = settings.pop("format", None)
    if detector is not None:
        settings["detector"] = detector
    return open_events(path, format=format or named, **settings)


def require_truth(reader: Reader) -> None:
    """Raise ``InputError`` unless the events of an initialized reader carry truth links."""
    from mltrack_plugin.errors import InputError
    from mltrack_plugin.evaluation.collect import truth_keys

    if "truth_links" not in truth_keys(reader):
        reader.finalize()
        raise InputError(
            f"{reader.source} carries no truth (which particle made each hit), so nothing can be scored; "
            "evaluate simulated events, or use `mltrack run` to find tracks without scores"
        )


def score_file(
    reader: Reader, tracks_path: str, events: int | None, skip: int, min_hits: int, on_error: str, show: Any
) -> dict[str, Any]:
    """Score the tracks of a file against the events of an initialized reader.

    Returns:
        ``ScoreAccumulator.result``, with TIMES null, ``tracks_file``, the number ``events_without_tracks`` of
        events that the tracks file lacks (they are not scored), and ``skipped_events``.

    Raises:
        InputError: if the tracks do not belong to the events.
        EventError: if an event cannot be read and ``on_error`` is ``"fail"``, or if none can be scored.
    """
    from mltrack_plugin.cli.paired_events import checked_event, event_range, paired_events
    from mltrack_plugin.errors import EventError
    from mltrack_plugin.evaluation.collect import truth_keys
    from mltrack_plugin.evaluation.summary import ScoreAccumulator

    scores = ScoreAccumulator(min_hits=min_hits, detector=getattr(reader, "detector", None))
    keys = truth_keys(reader)
    start, stop = event_range(reader, events, skip)
    missing = 0
    skipped: list[dict[str, Any]] = []
    try:
        pairs = paired_events(reader, tracks_path, events, skip)
        for done, (event, tracks) in enumerate(pairs, start=1):
            try:
                checked_event(event, reader.source)
            except EventError as error:
                if on_error == "fail":
                    raise
                skipped.append({"event_number": event.event_number, "reason": str(error)})
            else:
                if tracks is None:
                    missing += 1
                else:
                    found: dict[str, Any] = {n: event.collections[key] for n, key in keys.items()}
                    scores.add(tracks=tracks, **found)
            show(done, stop - start)
    finally:
        reader.finalize()
    result = scores.result()
    if not result["events"]:
        reasons = "; ".join(s["reason"] for s in skipped[:1])
        raise EventError(f"{reader.source}: no event could be scored" + (f": {reasons}" if reasons else ""))
    return {
        "input": reader.source,
        "tracks_file": tracks_path,
        "job": None,
        **result,
        **dict.fromkeys(TIMES),
        "events_without_tracks": missing,
        "skipped_events": skipped,
    }


def score_job(
    path: str,
    format: str | None,
    config: str | None,
    model: str | None,
    detector: str | None,
    device: str | None,
    min_hits: int,
    options: dict[str, Any],
) -> dict[str, Any]:
    """Reconstruct the events of an input and score the tracks.

    Returns:
        ``ScoreAccumulator.result``, with TIMES in ms of CPU per event, the name of the ``job``, its
        ``job_configuration``, the ``model`` that replaced the job's, ``timing`` (the sequencer's summary)
        and ``skipped_events``.
    """
    from mltrack_plugin.evaluation.collect import ScoreCollector, truth_keys
    from mltrack_plugin.framework.sequencer import Sequencer
    from mltrack_plugin.jobs.run import open_input

    reader, (_, _, job) = open_input(path, format, config, model, detector)
    require_truth(reader)
    algorithms = job.algorithms(model=model, device=device, detector=detector)
    stated = getattr(reader, "detector", None)
    collector = ScoreCollector(
        {"min_hits": min_hits, "detector": stated, "tracks": _last_tracks(algorithms), **truth_keys(reader)}
    )
    sequencer = Sequencer(**options).add_reader(reader).add_writer(collector)
    for algorithm in algorithms:
        sequencer.add_algorithm(algorithm)
    summary = sequencer.run()
    return {
        "input": path,
        "tracks_file": None,
        "job": job.name,
        "job_configuration": job.model_dump(mode="json"),
        "model": model,
        **collector.accumulator.result(),
        **times(summary, algorithms),
        "skipped_events": [dataclasses.asdict(skipped) for skipped in summary.skipped],
        "timing": summary.to_dict(),
    }


def times(summary: Summary, algorithms: list[Algorithm]) -> dict[str, float]:
    """TIMES in ms of CPU per event, from the steps of a job.

    The model is the algorithms that apply one (of those that also make groups: both), clustering what reads hit
    parameters; the total is reading and all algorithms, without the scoring. The first event, which warms up the
    network, is included.
    """
    from mltrack_plugin.event_data import HitParameters

    n = max(summary.events, 1)
    # Steps are the reader, the algorithms and the writers, in this order.
    steps = list(zip(algorithms, summary.steps[1:], strict=False))
    total = summary.steps[0].cpu_s + sum(step.cpu_s for _, step in steps)
    model = sum(s.cpu_s for a, s in steps if "model" in type(a.config).model_fields)
    clustering = sum(s.cpu_s for a, s in steps if any(issubclass(h.kind, HitParameters) for h in a.inputs))
    return dict(zip(TIMES, (1e3 * t / n for t in (model, clustering, total)), strict=True))


def _last_tracks(algorithms: list[Algorithm]) -> str:
    """Key of the job's result: the last collection of tracks that is written."""
    from mltrack_plugin.errors import ConfigurationError
    from mltrack_plugin.event_data import ProtoTracks

    for algorithm in reversed(algorithms):
        for handle in algorithm.outputs:
            if issubclass(handle.kind, ProtoTracks):
                return handle.key
    raise ConfigurationError("the job makes no tracks, so nothing can be scored")


def _check_outputs(json_: str | None, plots: str | None, inputs: tuple[str | None, ...]) -> None:
    """Refuse outputs that could not be written, before any work is done."""
    from mltrack_plugin.atomic import check_apart, check_file, check_target
    from mltrack_plugin.errors import OutputError, require_extra

    if json_ is not None:
        check_apart([json_], [path for path in inputs if path is not None])
        check_file(Path(json_), overwrite=True)
    if plots is not None:
        require_extra("matplotlib", "plot", "--plots")
        if Path(plots).exists() and not Path(plots).is_dir():
            raise OutputError(f"--plots {plots} is a file; give a folder")
        check_target(Path(plots), overwrite=True)


def _show(result: dict[str, Any]) -> None:
    """Print the table to standard output."""
    from rich.console import Console

    console = Console()
    lines = [
        f"{result['events']} events, {result['hits']} hits ({result['noise_hits']} noise), "
        f"{result['tracks']} tracks, {result['particles']} particles "
        f"({result['reconstructable_particles']} with at least {result['min_hits']} hits)",
        f"hit weights of the scores: {', '.join(result['hit_weights']) or 'none'}",
    ]
    if missing := result.get("events_without_tracks"):
        lines.append(f"warning: {missing} events of the input are not in {result['tracks_file']}; not scored")
    if skipped := result["skipped_events"]:
        lines.append(f"warning: {len(skipped)} events could not be processed and are not scored")
        lines += [f"  event {s['event_number']}: {s['reason']}" for s in skipped[:5]]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print()
    console.print(_table(result))


def _table(result: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="Scores against the truth", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for name in ("value", "68% interval", "of"):
        table.add_column(name, justify="right")
    for key, label in _ROWS.items():
        value, low, high = (result[name] for name in (key, f"{key}_low", f"{key}_high"))
        top, bottom = result["fractions"][key]
        counted = f"{top} / {bottom}" if isinstance(bottom, int) else ""
        interval = "" if low is None or high is None else f"{low:.4f} - {high:.4f}"
        table.add_row(label, "-" if value is None else f"{value:.4f}", interval, counted)
    for key in TIMES:
        if result[key] is not None:
            table.add_row(f"CPU ms per event, {key.removeprefix('cpu_ms_')}", f"{result[key]:.3f}")
    return table
