"""Detectors by name or file: those that packages provide, through entry points.

A package that declares ::

    [project.entry-points."mltrack_plugin.detectors"]
    mine = "my_experiment.geometry"

adds the detector that ``mine.yaml`` in the package ``my_experiment.geometry`` describes. With an attribute,
``"my_experiment.geometry:make"``, it is that Detector, or what that function returns. The shipped ones are found in the
same way.
"""

from __future__ import annotations

import functools
import os
from importlib import resources
from pathlib import Path
from types import ModuleType

from mltrack_plugin.detectors.detector import Detector
from mltrack_plugin.errors import ConfigurationError, MltrackError, did_you_mean
from mltrack_plugin.registry import available, find


def available_detectors() -> list[str]:
    """Names of the detectors that are known, sorted; nothing is loaded.

    Raises:
        ConfigurationError: if two packages give one name to different objects.
    """
    if not (points := available("detector")):
        raise ConfigurationError("the installed package lists no detectors: install mltrack-plugin anew")
    return list(points)


def load_detector(name_or_path: str | os.PathLike[str] | Detector) -> Detector:
    """A detector by its name, by another name that it goes by, or from a YAML file; a Detector is returned as it is.

    Raises:
        ConfigurationError: if there is neither (the nearest names are given), or the description is wrong.
    """
    if isinstance(name_or_path, Detector):
        return name_or_path
    text = os.fspath(name_or_path)
    if (found := find_detector(text)) is not None:
        return found
    path = Path(text)
    if path.is_file():
        try:
            return Detector.from_yaml(path.read_text(encoding="utf-8"), text)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{text}: cannot be read as text ({error})") from error
    if path.suffix in (".yaml", ".yml") or path.name != text:
        raise ConfigurationError(f"{text}: no such file with the description of a detector")
    names = [name for known in available_detectors() for name in _load(known).names]
    raise ConfigurationError(
        f"no detector {text!r}: neither known by this name nor a file. {did_you_mean(text, names)} "
        "How to describe one is in docs/detectors.md"
    )


def find_detector(name: str) -> Detector | None:
    """The detector of a name, or of another name that it goes by; ``None`` = there is none."""
    names = available_detectors()
    if name in names:
        return _load(name)
    return next((found for known in names if name in (found := _load(known)).aliases), None)


def lookup(name_or_path: str) -> Detector | None:
    """As :func:`load_detector`; ``None`` = there is neither such a name nor such a file.

    Raises:
        ConfigurationError: if the description is wrong.
    """
    found = find_detector(name_or_path)
    return load_detector(name_or_path) if found is None and Path(name_or_path).is_file() else found


def names_of(detector: str | Detector) -> tuple[str, ...]:
    """All names of a detector that is known, or that a YAML file describes; of any other the name that is given."""
    if isinstance(detector, Detector):
        return detector.names
    found = lookup(detector)
    return (detector,) if found is None else (detector, *found.names)


def same_detector(one: str | Detector, other: str | Detector) -> bool:
    """Whether two names, YAML files or descriptions are of one detector."""
    return one == other or not set(names_of(one)).isdisjoint(names_of(other))


def has_momenta(detector: str | None) -> bool:
    """Whether the particles of a detector have momenta; also those of a detector that is not known."""
    found = None if detector is None else lookup(detector)
    return found is None or found.momenta


@functools.cache
def _load(name: str) -> Detector:
    found = find("detector", name)
    if isinstance(found, ModuleType):
        file = resources.files(found) / f"{name}.yaml"
        place = f"{found.__name__}/{name}.yaml"
        try:
            return Detector.from_yaml(file.read_text(encoding="utf-8"), place)
        except OSError as error:
            raise ConfigurationError(f"the detector {name!r}: {place} cannot be read: {error}") from error
    try:
        detector = found() if callable(found) else found
    except MltrackError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the detector {name!r} cannot be made: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(detector, Detector):
        raise ConfigurationError(f"the detector {name!r} is no Detector, and no function that returns one")
    return detector
