"""Job configurations: which algorithms run in which order with which settings, as YAML.

A job file::

    name: encreg-redvid-10-50-linear
    description: EncReg and HDBSCAN for straight tracks in REDVID events.
    detector: redvid
    datasets: [redvid-10-50-linear]
    reader: {length_unit: mm}          # settings of the reader; `format` chooses it
    sequence:
      - {algorithm: encreg, model: encreg-redvid-10-50-linear}
      - {algorithm: hdbscan, min_cluster_size: 4}
      - {algorithm: build-tracks}
    writers:                           # default: chosen by the name of the output
      - {writer: root-tracks}
      - {writer: acts-tracksummary, path: "{stem}.tracksummary.root"}
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import Field, field_validator, model_validator

from mltrack_plugin.detectors import Detector, TrackShape, find_detector, same_detector
from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.framework.algorithm import Algorithm, Writer
from mltrack_plugin.jobs.variants import jobs_in, to_yaml
from mltrack_plugin.registry import Kind, current_name, find
from mltrack_plugin.reprs import html_table, short, text_table
from mltrack_plugin.settings import Config, load_yaml, validated

_log = logging.getLogger(__name__)


class Step(Config):
    """One element of a sequence: its registered name and its settings."""

    name: str
    """Registered name of an algorithm or writer."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Its settings that differ from the defaults."""

    @classmethod
    def parse(cls, kind: Kind, entry: object) -> Step:
        """From ``{kind: name, setting: value, ...}``, or from a bare name."""
        if isinstance(entry, Step):
            return entry
        if isinstance(entry, str):
            entry = {kind: entry}
        if not isinstance(entry, Mapping) or not isinstance(entry.get(kind), str):
            raise ValueError(f"write '- {kind}: NAME', with settings as further keys (got {entry!r})")
        settings = {str(k): v for k, v in entry.items() if k != kind}
        return cls(name=current_name(kind, entry[kind]), settings=settings)


class TinyVariant(Config):
    """Changes that turn a job into one that tests run in a second, with an untrained network."""

    events: int = Field(default=3, ge=1)
    """Simulated events."""
    dataset: dict[str, Any] = Field(default_factory=dict)
    """Parameters of the data set."""
    steps: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Algorithm name -> settings that replace the job's."""

    @field_validator("steps")
    @classmethod
    def _names_of_today(cls, steps: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {current_name("algorithm", name): settings for name, settings in steps.items()}


class Figures(Config):
    """How good a job is: what was measured once, on test events that nothing was tuned on."""

    dataset: str
    """Simulated data set (``mltrack simulate``) of the events."""
    events: int = Field(ge=1)
    """Number of events."""
    sample: str = ""
    """What the events hold, where it is not the data set with its defaults."""
    metrics: dict[str, float]
    """Metrics as ``mltrack evaluate`` calls them, as fractions of 1."""


class JobConfig(Config):
    """A reconstruction job."""

    name: str
    """Name of the job."""
    description: str = ""
    """What the job is for, in one sentence."""
    detector: str | Detector | None = None
    """Name, YAML file or description of the detector that the job is made for; ``None`` = that of the input."""
    tracks: TrackShape | None = None
    """Shape of the tracks that the job finds; ``None`` = any that the detector has."""
    datasets: tuple[str, ...] = ()
    """Simulated data sets (``mltrack simulate``) that the job is made for."""
    general: bool = True
    """May be chosen for any input that fits; if not, it runs only where it is named."""
    first_choice: bool = False
    """The one that is chosen without ``--config`` where other jobs fit as well."""
    reader: dict[str, Any] = Field(default_factory=dict)
    """``format`` and settings of the reader."""
    sequence: tuple[Step, ...] = Field(min_length=1)
    """Algorithms in the order in which they run."""
    writers: tuple[Step, ...] = ()
    """Writers; a ``path`` may contain ``{stem}``, the output without its suffix. Empty: by the output's name."""
    figures: tuple[Figures, ...] = Field(default=(), exclude=True)
    """Figures of merit; they change nothing in a job and are no part of what its output records."""
    tiny: TinyVariant = TinyVariant()
    """Changes that turn the job into one of a second."""

    @model_validator(mode="before")
    @classmethod
    def _detectors_of_before(cls, content: object) -> object:
        """Job files of version 0.1.0 list ``detectors``; the first that is registered is the job's."""
        if not isinstance(content, Mapping) or "detectors" not in content or "detector" in content:
            return content
        rest = {key: value for key, value in content.items() if key != "detectors"}
        named = content["detectors"]
        names = [named] if isinstance(named, str) else list(named or [])
        known = next((found.name for name in names if (found := find_detector(str(name)))), None)
        _log.warning("job %s: 'detectors' is now 'detector: %s'", rest.get("name", ""), known)
        return rest if known is None else {**rest, "detector": known}

    @field_validator("sequence", "writers", mode="before")
    @classmethod
    def _steps(cls, entries: object, info: Any) -> object:
        kind: Kind = "algorithm" if info.field_name == "sequence" else "writer"
        if not isinstance(entries, list | tuple):
            raise ValueError("must be a list")
        return tuple(Step.parse(kind, entry) for entry in entries)

    @model_validator(mode="after")
    def _known_tiny_steps(self) -> Self:
        names = [step.name for step in self.sequence]
        for name in self.tiny.steps:
            if name not in names:
                raise ValueError(f"tiny: no step {name!r} in the sequence. {did_you_mean(name, names)}")
        return self

    def __repr__(self) -> str:
        rows = [(f"{k}.", name, settings) for k, name, settings in self._steps_in_words()]
        return f"{self._headline()}\n{text_table(rows, indent='  ')}"

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return html_table(self._headline(), self._steps_in_words(), ("", "algorithm", "settings"))

    def _headline(self) -> str:
        made_for = f" (for {self.detector_name})" if self.detector else ""
        return f"job {self.name}{made_for}: {self.description}".removesuffix(": ")

    def _steps_in_words(self) -> list[tuple[int, str, str]]:
        return [
            (k, step.name, ", ".join(f"{name}={short(value)}" for name, value in step.settings.items()))
            for k, step in enumerate(self.sequence, start=1)
        ]

    def takes(self, detector: str | Detector | None) -> bool:
        """Whether the job can take events of a detector; ``None``: it is not known, so it may."""
        return detector is None or self.detector is None or same_detector(self.detector, detector)

    @property
    def detector_name(self) -> str | None:
        """Name of the detector, or the YAML file that describes it; ``None`` = any."""
        return self.detector.name if isinstance(self.detector, Detector) else self.detector

    def tiny_job(self) -> JobConfig:
        """The job with the settings of its tiny variant."""
        steps = tuple(
            Step(name=step.name, settings={**step.settings, **self.tiny.steps.get(step.name, {})})
            for step in self.sequence
        )
        return self.model_copy(update={"sequence": steps})

    def algorithms(self, **overrides: object) -> list[Algorithm]:
        """Construct the algorithms.

        Args:
            overrides: settings (``device``, ``detector``) that replace those of every algorithm that has them, and
                ``model``, which replaces that of the first; ``None`` leaves the job's. The job's own detector is that
                of every algorithm that states none.

        Raises:
            ConfigurationError: for an unknown algorithm or setting (naming the nearest), or if a ``model``
                is given and no algorithm has one.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        used: set[str] = set()
        made: list[Algorithm] = []
        for number, step in enumerate(self.sequence, start=1):
            with _Where(f"job {self.name!r}, step {number} ({step.name})"):
                kind = find("algorithm", step.name)
                fitting = given.keys() & kind.Config.model_fields.keys()
                fitting -= {"model"} & used
                used |= fitting
                own = {"detector": self.detector} if "detector" in kind.Config.model_fields else {}
                made.append(kind({**own, **step.settings, **{name: given[name] for name in fitting}}))
        if "model" in given and "model" not in used:
            raise ConfigurationError(f"job {self.name!r} has no algorithm that takes a model")
        return made

    def make_writers(self, output: str | os.PathLike[str], overwrite: bool) -> list[Writer]:
        """Construct the job's writers; the first one writes ``output`` unless it has a path of its own.

        Raises:
            ConfigurationError: for an unknown writer or setting, or a further writer without a path.
        """
        path = Path(output)
        made: list[Writer] = []
        for number, step in enumerate(self.writers, start=1):
            with _Where(f"job {self.name!r}, writer {number} ({step.name})"):
                settings = dict(step.settings)
                if number > 1 and "path" not in settings:
                    raise ConfigurationError('needs a path, for example "{stem}.csv"')
                stem = str(path.with_suffix(""))
                settings["path"] = str(settings.get("path", path)).replace("{stem}", stem)
                made.append(find("writer", step.name)({**settings, "overwrite": overwrite}))
        return made


class _Where:
    """Puts the place in the job file before a ``ConfigurationError``'s message."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConfigurationError):
            raise ConfigurationError(f"{self.place}: {error}") from error


def available_jobs() -> list[str]:
    """Names of the shipped jobs, sorted."""
    return sorted(_shipped())


def job_text(name: str) -> str:
    """YAML of a shipped job: its file, or what its file and its variant make together.

    Raises:
        ConfigurationError: if there is none of this name (the nearest are given).
    """
    if name not in (jobs := _shipped()):
        raise ConfigurationError(f"no shipped job configuration {name!r}. {did_you_mean(name, jobs)}")
    file, content, alone = jobs[name]
    if alone:
        return file.read_text(encoding="utf-8")
    return to_yaml({key: content[key] for key in JobConfig.model_fields if key in content})


def load_job(name_or_path: str | os.PathLike[str]) -> JobConfig:
    """A job configuration from a shipped name or a YAML file; ``FILE:NAME`` is a variant in a file of several.

    Raises:
        ConfigurationError: if there is neither, the file is no YAML, or a setting is wrong.
    """
    text = os.fspath(name_or_path)
    if text in (shipped := _shipped()):
        return _validated(shipped[text].content, text)
    path, variant = Path(text), None
    if not path.is_file() and ":" in path.name:
        file, _, variant = text.rpartition(":")
        path = Path(file)
    if path.is_file():
        try:
            return parse_job(path.read_text(encoding="utf-8"), os.fspath(path), variant)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path}: cannot be read as text ({error})") from error
    if path.suffix in (".yaml", ".yml") or path.name != text:
        raise ConfigurationError(f"{path}: no such job configuration file")
    raise ConfigurationError(
        f"no job configuration {text!r}: neither shipped nor a file. {did_you_mean(text, shipped)} "
        "(see: mltrack configs)"
    )


def parse_job(text: str, source: str, variant: str | None = None) -> JobConfig:
    """A job configuration from YAML text.

    Args:
        text: YAML.
        source: name or path, for messages; its stem is the name of a job that states none.
        variant: which of the text's jobs, where it has ``variants``.

    Raises:
        ConfigurationError: naming source and setting, or the variants, if there are several and none is chosen.
    """
    jobs = jobs_in(load_yaml(text, source), source)
    if variant is None and len(jobs) > 1:
        raise ConfigurationError(f"{source} holds several jobs: {', '.join(jobs)}. Name one: {source}:NAME")
    if variant is not None and variant not in jobs:
        raise ConfigurationError(f"{source} holds no job {variant!r}. {did_you_mean(variant, jobs)}")
    return _validated(next(iter(jobs.values())) if variant is None else jobs[variant], source)


def _validated(content: Mapping[str, Any], source: str) -> JobConfig:
    job = validated(JobConfig, {"name": Path(source).stem, **content}, source)
    assert isinstance(job, JobConfig)
    return job


class _Shipped(NamedTuple):
    """A shipped job: its file, what it says, and whether the file holds nothing else."""

    file: Traversable
    content: dict[str, Any]
    alone: bool


@functools.cache
def _shipped() -> dict[str, _Shipped]:
    """The shipped jobs by name, from ``configs/<detector>/<design>.yaml``."""
    import yaml

    # Reading in C takes a tenth of the time; these files need no checks.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = {}
    for folder in resources.files("mltrack_plugin.configs").iterdir():
        if folder.name == "training" or not folder.is_dir():
            continue
        for file in folder.iterdir():
            if file.name.endswith(".yaml"):
                source = f"{folder.name}/{file.name}"
                jobs = jobs_in(yaml.load(file.read_text(encoding="utf-8"), loader), source)
                found.update({name: _Shipped(file, job, len(jobs) == 1) for name, job in jobs.items()})
    return found
