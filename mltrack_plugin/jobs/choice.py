"""Which shipped job configuration fits an input.

A job fits if it is made for the detector that the hits lie on, its model is there, and the hits of the first events
lie in the ranges in which the model was trained. Jobs for straight and for curved tracks are told apart by the hits;
where more than one is left, one may state that it is the first choice.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from mltrack_plugin.detectors import Detector, recognise
from mltrack_plugin.errors import ConfigurationError, InputError, MltrackError

if TYPE_CHECKING:
    from mltrack_plugin.archives.card import ModelCard
    from mltrack_plugin.event_data import Hits
    from mltrack_plugin.framework.algorithm import Reader
    from mltrack_plugin.jobs.config import JobConfig

#: Events, and hits, after which enough has been looked at.
SAMPLE_EVENTS = 20
SAMPLE_HITS = 200_000
#: Share of the hits that must lie in a model's ranges, and of the events that must not be too dense.
MIN_INSIDE = 0.9
#: Further hits in the same direction that make a straight line from the origin likely.
_MIN_NEIGHBOURS = 3


@dataclasses.dataclass(frozen=True)
class Sample:
    """What the choice is based on."""

    detector: Detector
    #: Why it is this one.
    reason: str
    #: Hits of the first readable events that have any.
    events: tuple[Hits, ...]


def choose_job(reader: Reader, model: str | None = None, detector: Detector | None = None) -> tuple[str, str]:
    """The shipped job that fits an initialized reader's events.

    Args:
        reader: the events.
        model: a model that shall run in the job, instead of the job's own: only jobs for its architecture and
            detectors are looked at, and its ranges count.
        detector: what the hits are from; ``None`` = recognised.

    Returns:
        Its name, and why it was chosen.

    Raises:
        ConfigurationError: if the detector is not known, no job fits (with the reason for each), or several fit
            equally well.
        InputError: if no event can be read.
    """
    sample = look_at(reader, detector)
    verdicts = _judge(sample, model)
    fitting = [(name, reason, job) for name, fits, reason, job in verdicts if fits]
    if not fitting:
        reasons = "\n".join(f"  {name}: {reason}" for name, _, reason, _ in verdicts)
        raise ConfigurationError(
            f"no shipped job configuration fits {reader.source}:\n{reasons or '  (none is shipped)'}\n"
            "Name one with --config NAME|FILE; with --detector it may be one that is made for another detector"
        )
    if len(fitting) > 1:
        fitting = _narrow(fitting, sample)
    if len(fitting) > 1 and len(first := [entry for entry in fitting if entry[2].first_choice]) == 1:
        others = ", ".join(f"--config {name}" for name, _, _ in fitting if name != first[0][0])
        fitting = [(name, f"{reason}; others fit as well: {others}", job) for name, reason, job in first]
    if len(fitting) > 1:
        raise ConfigurationError(
            f"several job configurations fit {reader.source} equally well: "
            f"{', '.join(name for name, _, _ in fitting)}. Name one with --config"
        )
    name, reason, _ = fitting[0]
    return name, reason


def fitting_jobs(sample: Sample) -> list[tuple[str, bool, str]]:
    """Every shipped job with whether it fits, and why (not)."""
    return [(name, fits, reason) for name, fits, reason, _ in _judge(sample)]


def look_at(reader: Reader, detector: Detector | None = None) -> Sample:
    """The first readable events of an initialized reader, and the detector that they are from.

    Args:
        reader: the events.
        detector: what they are from; ``None`` = recognised.

    Raises:
        ConfigurationError: if the hits do not lie on the detector, or it is not known.
        InputError: if there is no readable event, with the first event's error.
    """
    events = first_events(reader)
    stated = detector if detector is not None else getattr(reader, "detector", None)
    found = recognise(events, stated, reader.source)
    return Sample(found.detector, found.reason, tuple(hits for hits in events if len(hits)))


def first_events(reader: Reader, most: int = SAMPLE_EVENTS) -> list[Hits]:
    """The hits of the first readable events of an initialized reader.

    Raises:
        InputError: if there is none among them, with the first event's error.
    """
    from mltrack_plugin.event_data import Hits

    key = next(handle.key for handle in reader.outputs if handle.kind is Hits)
    read, error = [], None
    for event in reader.events(0, most):
        if event.error is None:
            read.append(event.collections[key])
            if sum(map(len, read)) > SAMPLE_HITS:
                break
        else:
            error = error or event.error
    if not read and error is not None:
        raise InputError(f"none of the first {most} events can be read: {error}")
    return read


def jobs_for_model(model: str) -> list[str]:
    """Shipped jobs that a model can run in: their first network has its architecture and they share a detector.

    The job that a shipped model ships with is the only one.

    Raises:
        ModelError: if the model cannot be read.
        ConfigurationError: if no shipped job runs such models.
    """
    from mltrack_plugin.archives.manifest import available_models
    from mltrack_plugin.jobs.config import available_jobs, load_job

    shipped = available_models()
    if model in shipped and (own := shipped[model].job) is not None:
        return [own]
    card = _card(model)
    found = []
    for name in available_jobs():
        job = load_job(name)
        architectures = [_card(own).architecture for own in _models(job)[:1] if own in shipped]
        if card.architecture in architectures and any(map(job.takes, card.detectors)):
            found.append(name)
    if not found:
        raise ConfigurationError(
            f"no shipped job configuration runs models of the architecture {card.architecture!r} for "
            f"{' or '.join(card.detectors)}. Name a job configuration with --config"
        )
    return found


def _models(job: JobConfig) -> list[str]:
    """Names of the models in a job's steps."""
    return [str(step.settings["model"]) for step in job.sequence if "model" in step.settings]


def _judge(sample: Sample, model: str | None = None) -> list[tuple[str, bool, str, JobConfig]]:
    from mltrack_plugin.jobs.config import available_jobs, load_job

    names = available_jobs() if model is None else jobs_for_model(model)
    return [(name, *_fits(job := load_job(name), sample, model), job) for name in names]


def _fits(job: JobConfig, sample: Sample, model: str | None = None) -> tuple[bool, str]:
    """Whether a job, or a model in it, fits, and why (not)."""
    if not job.takes(sample.detector):
        return False, f"made for the detector {job.detector_name}, the input is from {sample.detector.name}"
    if model is None and not job.general:
        return False, f"chosen only where it is named: --config {job.name}"
    why = sample.reason
    for number, own in enumerate(_models(job)):
        try:
            card = _card(own if number or model is None else model)
        except MltrackError as error:
            return False, f"its model cannot be used: {error}"
        fits, reason = compare(card, sample.events)
        if not fits:
            return False, reason
        why += f"; {reason}"
    return True, why


def _card(model: str) -> ModelCard:
    from mltrack_plugin.archives.archive import read_model_file
    from mltrack_plugin.archives.manifest import available_models

    return _shipped_card(model) if model in available_models() else read_model_file(model).card


@functools.cache
def _shipped_card(model: str) -> ModelCard:
    """Card of a shipped model: reading it checks the whole archive."""
    from mltrack_plugin.archives.archive import read_model_file

    return read_model_file(model).card


def compare(card: ModelCard, events: tuple[Hits, ...]) -> tuple[bool, str]:
    """Whether hits lie in the ranges in which a model was trained, in words."""
    import numpy as np

    if not events:
        return True, "there are no hits to compare with the model's ranges"
    counts = np.array([len(hits) for hits in events])
    limit = card.validity.get("n_hits", (0.0, np.inf))[1]
    if np.mean(counts <= limit) < MIN_INSIDE:
        return False, f"events have up to {counts.max()} hits, the model was trained with at most {limit:.0f}"
    columns: dict[str, Any] = {
        key: np.concatenate([getattr(hits, key) for hits in events])
        for key in ("r", "z")
        if key in card.validity
    }
    for key, values in columns.items():
        low, high = card.validity[key]
        inside = float(np.mean((values >= low) & (values <= high)))
        if inside < MIN_INSIDE:
            return False, (
                f"{1 - inside:.0%} of the hits have {key} outside [{low:g}, {high:g}], the range of the "
                f"model (hits reach from {values.min():g} to {values.max():g})"
            )
    if columns and (reach := _reach(card, columns)) < 0.1:
        unit = "m" if reach * 1000 <= 2 else "cm"
        return False, (
            f"the hits reach only {reach:.1%} of the model's range; if their unit is not mm, state it with "
            f"reader: {{length_unit: {unit}}}"
        )
    return (
        True,
        f"{int(np.median(counts))} hits per event, {', '.join(columns) or 'n_hits'} in the model's range",
    )


def _reach(card: ModelCard, columns: dict[str, Any]) -> float:
    """Largest coordinate compared with the largest that the model knows."""
    return max(
        float(abs(values).max()) / max(map(abs, card.validity[key]), default=1.0)
        for key, values in columns.items()
    )


def _narrow(fitting: list[tuple[str, str, JobConfig]], sample: Sample) -> list[tuple[str, str, JobConfig]]:
    """Of several jobs that fit, those that fit best."""
    if len({job.tracks for _, _, job in fitting}) > 1 and sample.events:
        import numpy as np

        share = float(np.mean([straight_fraction(hits) for hits in sample.events]))
        text = f"{share:.0%} of the hits lie on straight lines from the origin"
        return [
            (name, f"{text}; {reason}", job)
            for name, reason, job in fitting
            if job.tracks is None or (job.tracks == "straight") == (share > 0.5)
        ]
    return fitting


def straight_fraction(hits: Hits) -> float:
    """Share of hits with at least three others in the same direction from the origin.

    The direction is (phi, polar angle); "the same" is within 0.06 in both, about twice REDVID's resolution,
    so on straight tracks of 4 to 9 hits nearly every hit has them, on curved tracks only few by chance.
    """
    import numpy as np
    from scipy.spatial import cKDTree

    theta = np.arctan2(hits.r, hits.z).astype(np.float64)
    phi = np.mod(hits.phi.astype(np.float64), 2 * np.pi)
    # The polar angle must not wrap around; its box is larger than its range.
    tree = cKDTree(np.stack([phi, theta], axis=1) % [2 * np.pi, 100.0], boxsize=[2 * np.pi, 100.0])
    counts = tree.query_ball_point(tree.data, 0.06, p=np.inf, return_length=True)
    return float(np.mean(np.asarray(counts) - 1 >= _MIN_NEIGHBOURS))
