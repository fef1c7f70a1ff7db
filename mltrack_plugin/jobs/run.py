"""A whole job in one call: what ``mltrack run`` and ``mltrack reference`` do."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from mltrack_plugin.atomic import check_apart, check_file, write_json
from mltrack_plugin.detectors import load_detector, lookup, recognise
from mltrack_plugin.detectors.detector import MIN_SHARE
from mltrack_plugin.detectors.layers import identifiers
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.evaluation.collect import ScoreCollector, truth_keys
from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.framework.algorithm import Algorithm, Reader, Writer
from mltrack_plugin.framework.event_loop import OnError
from mltrack_plugin.framework.main_script import leave_if_imported
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.framework.timing import STEP_TIMES, StepTimes, TimingWriter, timing_path
from mltrack_plugin.io import open_events
from mltrack_plugin.io.tracks_collector import TracksCollector
from mltrack_plugin.io.tracks_files import read_tracks
from mltrack_plugin.jobs.config import JobConfig, load_job
from mltrack_plugin.jobs.result import ChosenJob, RunResult
from mltrack_plugin.registry import available, find

_log = logging.getLogger(__name__)

#: What is a path or the name of something shipped.
Name = str | os.PathLike[str]

#: Events whose hits must lie on the detector of a job that is given, and what share of them: some events may be bad.
_CHECKED_EVENTS, _MOST = 3, 0.5
#: Writer for an output whose job configuration names none, by suffix ("" = a folder).
WRITERS = {
    ".root": "root-tracks",
    ".parquet": "colliderml-tracks",
    ".csv": "trackml-submission",
    "": "acts-tracks-csv",
}


def run(
    path: Name,
    output: Name | None = None,
    *,
    job: Name | JobConfig | None = None,
    model: Name | None = None,
    detector: str | None = None,
    format: str | None = None,
    output_format: str | None = None,
    events: int | None = None,
    skip: int = 0,
    device: str | None = None,
    workers: int = 1,
    threads: int = 1,
    on_error: OnError = "fail",
    resume: bool = False,
    overwrite: bool = False,
    timing: bool = False,
    report: Name | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RunResult:
    """Find the tracks of the events in a file.

    The tracks are the same, bit for bit, whether they are written or kept, and for any number of workers.

    Args:
        path: file, folder, archive or URL of the events.
        output: file or folder of the tracks. Default: nothing is written, the tracks are kept in memory.
        job: shipped job, YAML file or configuration. Default: the shipped one that fits the events.
        model: shipped model or archive, instead of the one that the job names.
        detector: name or YAML file of the detector, if the input does not state it (rightly) or the job is made for
            another one.
        format: format of the input. Default: by the content.
        output_format: writer of the output. Default: that of the job, or by the suffix of ``output``.
        events: number of events to process, at most.
        skip: number of events at the start to leave out.
        device: "auto", "cpu" or "cuda": where networks run. Default: as the job says.
        workers: processes that share the events; a script must guard its entry (see :class:`Sequencer`).
        threads: threads in each process.
        on_error: "fail" stops at an event that cannot be processed, "skip" records it and goes on.
        resume: continue an interrupted job from the journal beside ``output``.
        overwrite: replace existing outputs.
        timing: write the CPU times per event to ``<output>.timing.json``, too.
        report: file for the summary as JSON.
        progress: called with (events done, events in total).

    Returns:
        Tracks, summary, and scores if the input carries truth. Tracks that were written are read from the output
        when they are asked for.

    Raises:
        InputError: if the input cannot be read, or its format is not recognised.
        OutputError: if an output exists or cannot be written.
        ConfigurationError: if no shipped job fits, or a setting is wrong.
        EventError: if an event fails and ``on_error`` is ``"fail"``, or if every event fails.
        ModelError: if a model is missing, damaged, or does not fit.
    """
    leave_if_imported()
    if report is not None:
        check_file(Path(report), overwrite=overwrite)
    reader, chosen = open_input(path, format, job, model, detector)
    algorithms = chosen.config.algorithms(model=_text(model), device=device, detector=detector)
    writers = (
        make_writers(chosen.config, Path(output), output_format, overwrite) if output is not None else []
    )
    if timing:
        writers.append(_timing_writer(writers, algorithms, overwrite, chosen.name, workers, threads))
    outputs = [str(writer.config.path) for writer in writers]
    targets = [*outputs, *([os.fspath(report)] if report is not None else [])]
    check_apart(targets, [os.fspath(n) for n in (path, job, model) if isinstance(n, str | os.PathLike)])
    sinks: list[Writer] = list(writers)
    collector = _collector(chosen, algorithms) if output is None else None
    scores = _score_collector(reader) if _makes_tracks(algorithms) else None
    sinks += [sink for sink in (collector, scores) if sink is not None]
    configuration = json.dumps(chosen.config.model_dump(mode="json"))
    sequencer = Sequencer(
        events=events,
        skip=skip,
        workers=workers,
        threads=threads,
        on_error=on_error,
        resume=resume,
        progress=progress,
        info={"job": chosen.name, "job_configuration": configuration, **_described(chosen.config)},
    ).add_reader(reader)
    for algorithm in algorithms:
        sequencer.add_algorithm(algorithm)
    for sink in sinks:
        sequencer.add_writer(sink)
    summary = sequencer.run()
    result = RunResult(
        input=os.fspath(path),
        job=chosen,
        tracks=read_tracks(outputs[0]) if collector is None else collector.tracks,
        summary=summary,
        scores=scores.accumulator.result() if scores is not None else None,
        outputs=tuple(outputs),
    )
    if report is not None:
        write_json(report, result.to_dict(), overwrite=overwrite)
    return result


def open_input(
    path: Name,
    format: str | None = None,
    job: Name | JobConfig | None = None,
    model: Name | None = None,
    detector: str | None = None,
) -> tuple[Reader, ChosenJob]:
    """Reader and job; without ``job`` the shipped one that fits the input.

    Raises:
        InputError: if the input cannot be read.
        ConfigurationError: if the configuration is wrong, none fits, or the hits are not of its detector.
    """
    from mltrack_plugin.jobs.choice import choose_job, first_events

    given = {"detector": detector} if detector is not None else {}
    if detector is not None:
        load_detector(detector)
    if job is None:
        reader = open_events(os.fspath(path), format=format, **given)
        with reader.in_use():
            name, reason = choose_job(reader, _text(model))
        _log.info("job configuration %s: %s", name, reason)
        return reader, ChosenJob(name, reason, load_job(name))
    config = job if isinstance(job, JobConfig) else load_job(job)
    if detector is not None:
        config = config.model_copy(update={"detector": detector})
    settings = {**config.reader, **given}
    reader = open_events(os.fspath(path), format=format or settings.pop("format", None), **settings)
    with reader.in_use():
        known = lookup(config.detector) if isinstance(config.detector, str) else config.detector
        if known is not None and config.takes(getattr(reader, "detector", None)):
            # Of hits without ids each algorithm that needs their layers finds out by itself.
            events = [hits for hits in first_events(reader, _CHECKED_EVENTS) if identifiers(hits) is not None]
            found = recognise(events, known, reader.source, _MOST)
            if found.share < MIN_SHARE:
                _log.warning("%s in the first events of %s", found.reason, reader.source)
        return reader, ChosenJob(config.name, "as given", config)


def make_writers(job: JobConfig, output: Path, output_format: str | None, overwrite: bool) -> list[Writer]:
    """The writers of a job; where it names none, the one that the output's suffix stands for.

    Raises:
        ConfigurationError: if no writer is known for the suffix.
    """
    if output_format is None and job.writers:
        return job.make_writers(output, overwrite)
    name = output_format or WRITERS.get(output.suffix)
    if name is None:
        raise ConfigurationError(
            f"no output format for the suffix of {str(output)!r}; known are {', '.join(map(repr, WRITERS))}. "
            f"Or choose one with --output-format: {', '.join(available('writer'))}"
        )
    return [find("writer", name)(path=str(output), overwrite=overwrite)]


def _collector(job: ChosenJob, algorithms: Sequence[Algorithm]) -> TracksCollector:
    """What keeps the tracks in memory; a job that makes none has to be written."""
    if not _makes_tracks(algorithms):
        made = ", ".join(handle.key for algorithm in algorithms for handle in algorithm.outputs)
        raise ConfigurationError(
            f"job {job.name!r} makes no tracks that could be kept in memory (it makes {made}); name an output"
        )
    return TracksCollector()


def _timing_writer(
    writers: Sequence[Writer],
    algorithms: Sequence[Algorithm],
    overwrite: bool,
    job: str,
    workers: int,
    threads: int,
) -> Writer:
    """What writes CPU times beside the output of the first writer."""
    if not writers:
        raise ConfigurationError("the times are written beside the tracks: name an output")
    config = writers[0].config
    keys = {name: key for name in ("hits", "tracks") if (key := getattr(config, name, None))}
    # An algorithm that runs a chain of its own times the chain's steps.
    own = [handle.key for algorithm in algorithms for handle in algorithm.outputs if handle.kind is StepTimes]
    return TimingWriter(
        path=str(timing_path(config.path)),
        overwrite=overwrite,
        times=own[-1] if own else STEP_TIMES,
        job=job,
        workers=workers,
        threads=threads,
        **keys,
    )


def _makes_tracks(algorithms: Sequence[Algorithm]) -> bool:
    """Whether the sequence ends in tracks; one that only finds vertices has nothing to score."""
    outputs = [handle for algorithm in algorithms for handle in algorithm.outputs]
    return any(handle.key == "tracks" and issubclass(handle.kind, ProtoTracks) for handle in outputs)


def _score_collector(reader: Reader) -> ScoreCollector | None:
    """A writer that scores tracks as they come, if the events have truth."""
    keys = truth_keys(reader)
    if "truth_links" not in keys:
        return None
    return ScoreCollector({**keys, "detector": getattr(reader, "detector", None)})


def _described(job: JobConfig) -> dict[str, str]:
    """The description of a job's detector, for the metadata of outputs."""
    known = lookup(job.detector) if isinstance(job.detector, str) else job.detector
    return {} if known is None else {**known.identity, "detector_description": known.to_yaml()}


def _text(name: Name | None) -> str | None:
    return None if name is None else os.fspath(name)
