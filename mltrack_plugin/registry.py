"""Registry: everything that a job, a training or a command names is found through Python entry points.

What is shipped is declared in pyproject.toml. A package that declares, for example ::

    [project.entry-points."mltrack_plugin.algorithms"]
    ghost-killer = "my_experiment.tracking:GhostKiller"

adds ``ghost-killer`` to what job configurations can name, without any change here.
"""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple

from mltrack_plugin.errors import ConfigurationError, MltrackError, did_you_mean

_log = logging.getLogger(__name__)

Kind = Literal[
    "algorithm", "reader", "writer", "detector", "network", "training task", "data set", "executor"
]


class _Group(NamedTuple):
    name: str
    #: "module:class" that an entry is a subclass of, or an instance of; it is imported with the entry, so that
    #: this module imports nothing above it. None: whoever asks for the entry checks it.
    base: str | None
    instances: bool = False


#: Entry point group of each kind.
GROUPS: dict[Kind, _Group] = {
    "algorithm": _Group("mltrack_plugin.algorithms", "mltrack_plugin.framework.algorithm:Algorithm"),
    "reader": _Group("mltrack_plugin.readers", "mltrack_plugin.framework.algorithm:Reader"),
    "writer": _Group("mltrack_plugin.writers", "mltrack_plugin.framework.algorithm:Writer"),
    "detector": _Group("mltrack_plugin.detectors", None),
    "network": _Group("mltrack_plugin.networks", "torch.nn:Module"),
    "training task": _Group("mltrack_plugin.training_tasks", "mltrack_plugin.training.task:Task"),
    "executor": _Group("mltrack_plugin.executors", "mltrack_plugin.framework.executors:Executor"),
    "data set": _Group("mltrack_plugin.datasets", "mltrack_plugin.simulation.datasets:DatasetEntry", True),
}


#: Names of version 0.1.0 and what they became. They still work, with a notice.
RENAMED: dict[Kind, dict[str, str]] = {
    "algorithm": {
        "fit-helix": "fit-kalman",
        "refine-tracks": "refine-clusters",
        "refit-tracks": "fit-mixture",
    }
}


def current_name(kind: Kind, name: str) -> str:
    """What is called so today: the name itself, or what it became, which is logged once."""
    new = RENAMED.get(kind, {}).get(name)
    if new is None or name in available(kind):
        return name
    _say_renamed(kind, name, new)
    return new


@functools.cache
def _say_renamed(kind: Kind, name: str, new: str) -> None:
    _log.warning("the %s %s is now called %s", kind, name, new)


def available(kind: Kind) -> dict[str, EntryPoint]:
    """Entry points of a kind by name, sorted; nothing is imported.

    Raises:
        ConfigurationError: if two packages give one name to different objects.
    """
    return dict(_available(kind, entry_points, tuple(sys.path)))


@functools.lru_cache
def _available(kind: Kind, listing: Callable[..., Any], path: tuple[str, ...]) -> dict[str, EntryPoint]:
    """As :func:`available`: listing what is installed reads files of all packages, so it is done once per path."""
    found: dict[str, EntryPoint] = {}
    for point in listing(group=GROUPS[kind].name):
        known = found.setdefault(point.name, point)
        if known.value != point.value:
            raise ConfigurationError(
                f"two packages provide the {kind} {point.name!r}: {_origin(known)} and {_origin(point)}. "
                "Uninstall one of them"
            )
    return dict(sorted(found.items()))


def class_names(*kinds: Kind) -> list[str]:
    """Names of the classes that are registered, for completion; nothing is imported."""
    return sorted(_class_name(point) for kind in kinds for point in available(kind).values())


def class_named(module: str, name: str, *kinds: Kind) -> Any:
    """A registered class by the name of the class, for ``__getattr__`` of the module ``module``.

    Raises:
        AttributeError: if there is none, with the nearest names.
    """
    if not name.startswith("_"):
        for kind in kinds:
            for key, point in available(kind).items():
                if _class_name(point) == name:
                    return find(kind, key)
    raise AttributeError(
        f"module {module!r} has no attribute {name!r}. {did_you_mean(name, class_names(*kinds))}"
    )


def _class_name(point: EntryPoint) -> str:
    return point.value.rpartition(":")[2]


def find(kind: Kind, name: str) -> Any:
    """What is registered under a name: a class, a data set's entry, or what describes a detector.

    Raises:
        ConfigurationError: if there is none (the nearest names are given), it cannot be imported, or it is
            nothing of this kind.
        MissingExtraError: if it needs an optional dependency that is not installed.
    """
    name, points = current_name(kind, name), available(kind)
    if name not in points:
        raise ConfigurationError(f"there is no {kind} {name!r}. {did_you_mean(name, points)}")
    point = points[name]
    try:
        found = point.load()
    except MltrackError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the {kind} {name!r} ({_origin(point)}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    group = GROUPS[kind]
    if group.base is None:
        return found
    module, _, base_name = group.base.partition(":")
    base = getattr(importlib.import_module(module), base_name)
    if not (
        isinstance(found, base) if group.instances else isinstance(found, type) and issubclass(found, base)
    ):
        relation = "instance" if group.instances else "subclass"
        raise ConfigurationError(f"the {kind} {name!r} ({_origin(point)}) is no {relation} of {base_name}")
    return found


@functools.cache
def registered_name(cls: type) -> str:
    """The name under which an algorithm, reader or writer is registered, or else that of its class."""
    kinds: tuple[Kind, ...] = ("algorithm", "reader", "writer")
    for point in (point for kind in kinds for point in entry_points(group=GROUPS[kind].name)):
        if point.attr == cls.__qualname__ and getattr(sys.modules.get(point.module), point.attr, None) is cls:
            return point.name
    return cls.__name__


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that declares an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""


def _origin(point: EntryPoint) -> str:
    package = f" of {point.dist.name}" if point.dist is not None else ""
    return f"{point.value}{package}"
