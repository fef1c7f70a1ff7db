"""Tracks of the hits of one event, in one call without files."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mltrack_plugin.detectors import Detector, load_detector, recognise
from mltrack_plugin.detectors.detector import MIN_SHARE
from mltrack_plugin.errors import ConfigurationError, EventError
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.event_data.from_table import hits_from
from mltrack_plugin.framework.event_loop import set_torch_threads
from mltrack_plugin.jobs.chains import ChainRunner, HitsInMemory
from mltrack_plugin.jobs.choice import choose_job
from mltrack_plugin.jobs.config import JobConfig, load_job

Name = str | os.PathLike[str]

#: Jobs that are kept ready.
_KEPT = 8
# A chain holds one event at a time, and threads of torch are a setting of the process.
_lock = threading.Lock()


class _Key(NamedTuple):
    """What makes two calls use the same algorithms."""

    #: The configuration as JSON, without its detector.
    job: str
    #: Checksum of the detector.
    detector: str | None
    model: str | None
    device: str | None
    #: Time and size of the models' files: a file that changes is read anew.
    files: tuple[tuple[int, int], ...]


_kept: dict[_Key, ChainRunner] = {}


def find_tracks(
    hits: Any,
    *,
    detector: Name | Detector | None = None,
    job: Name | JobConfig | None = None,
    model: Name | None = None,
    device: str | None = None,
    threads: int = 1,
) -> Tracks:
    """Find the tracks among the hits of one event.

    They are those that :func:`mltrack_plugin.run` finds with the same job. The job stays ready: another call with the
    same job, detector and device starts at once. For many events write ``[find_tracks(hits) for hits in events]``.

    Args:
        hits: Hits; or columns by name: a mapping of arrays or lists, an awkward record array, a structured array, a
            pandas data frame. ``x``, ``y``, ``z`` in mm are needed; layers of hits without ids of them
            are found by position.
        detector: name, YAML file or Detector; its layers must hold the hits. Default: that of the job, or without a job
            the one on whose layers the hits lie.
        job: shipped job, YAML file or configuration. Default: the shipped one that fits the hits (which is found out
            again in every call).
        model: shipped model or archive, instead of the one that the job names.
        device: "auto", "cpu" or "cuda": where networks run. Default: as the job says.
        threads: threads of torch.

    Returns:
        Tracks; their hit indices are rows of ``hits``.

    Raises:
        EventDataError: if the hits are not what is needed: a column is missing, unknown, of another length or type, or
            holds NaN.
        ConfigurationError: if no shipped job or no known detector fits, or a setting is wrong; it says how to go on.
        EventError: if the event cannot be processed.
        ModelError: if a model is missing, damaged, or does not fit.
    """
    event = hits_from(hits)
    known = _given_detector(detector, event)
    if job is None:
        known = known or recognise([event], source="the event").detector
        source = HitsInMemory(source="the event", detector=known.name)
        source.given = [event]
        job, _ = choose_job(source, _text(model), known)
    config = job if isinstance(job, JobConfig) else load_job(job)
    if known is not None:
        config = config.model_copy(update={"detector": known})
    elif config.detector is not None:
        known = config.detector if isinstance(config.detector, Detector) else load_detector(config.detector)
    key = _Key(
        config.model_dump_json(exclude={"detector"}),
        known.checksum if known is not None else None,
        _text(model),
        device,
        _files(config, model),
    )
    with _lock:
        runner = _ready(key, config)
        before = set_torch_threads(threads)
        try:
            result = runner.run(0, event if known is None else known.located(event))
        finally:
            set_torch_threads(before)
    if result.skipped is not None:
        raise EventError(f"{result.skipped.step}: {result.skipped.reason}")
    found = result.collections.get(runner.tracks_key)
    if found is None:
        raise EventError(f"the job {config.name!r} filtered the event out")
    return _as_tracks(found)


def _ready(key: _Key, config: JobConfig) -> ChainRunner:
    """The job's algorithms, initialized; the most recently used are kept."""
    runner = _kept.pop(key, None)
    if runner is None:
        runner = ChainRunner(config, model=key.model, device=key.device, source="the event")
        runner.initialize()
    _kept[key] = runner
    if len(_kept) > _KEPT:
        del _kept[next(iter(_kept))]
    return runner


def _given_detector(detector: Name | Detector | None, hits: Hits) -> Detector | None:
    """The detector that the caller names, which must be that of the hits."""
    if detector is None:
        return None
    found = detector if isinstance(detector, Detector) else load_detector(detector)
    share = float(np.mean(found.on_layers(hits))) if len(hits) else 1.0
    if share < MIN_SHARE:
        raise ConfigurationError(
            f"{share:.1%} of the {len(hits)} hits lie on the layers of the detector {found.name!r}, {MIN_SHARE:.0%} "
            "must. Are they in mm, and of this detector? docs/detectors.md says how to describe one of your own"
        )
    return found


def _files(job: JobConfig, model: Name | None) -> tuple[tuple[int, int], ...]:
    """Time and size of each model that is a file."""
    names = [step.settings["model"] for step in job.sequence if "model" in step.settings]
    paths = [Path(str(name)) for name in [*names, *([model] if model is not None else [])]]
    stats = [path.stat() for path in paths if path.is_file()]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


def _as_tracks(found: ProtoTracks) -> Tracks:
    return found if isinstance(found, Tracks) else Tracks.from_candidates(found)


def _text(name: Name | None) -> str | None:
    return None if name is None else os.fspath(name)
