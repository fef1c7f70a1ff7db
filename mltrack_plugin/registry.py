"""Registry: everything that a job, a training or a command names is found through Python entry points.

What is shipped is declared in pyproject.toml. A package that declares, for example ::

    [project.entry-points."mltrack_plugin.algorithms"]
    ghost-killer = "my_experiment.tracking:GhostKiller"

adds ``ghost-killer`` to what job configurations can name, without any change here.
"""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, NamedTuple

from mltrack_plugin.errors import ConfigurationError, MltrackError, did_you_mean

Kind = Literal["algorithm", "reader", "writer", "detector", "network", "training task", "data set"]


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
    "data set": _Group("mltrack_plugin.datasets", "mltrack_plugin.simulation.datasets:DatasetEntry", True),
}


def available(kind: Kind) -> dict[str, EntryPoint]:
    """Entry points of a kind by name, sorted; nothing is imported.

    Raises:
        ConfigurationError: if two packages give one name to different objects.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUPS[kind].name):
        known = found.setdefault(point.name, point)
        if known.value != point.value:
            raise ConfigurationError(
                f"two packages provide the {kind} {point.name!r}: {_origin(known)} and {_origin(point)}. "
                "Uninstall one of them"
            )
    return dict(sorted(found.items()))


def find(kind: Kind, name: str) -> Any:
    """What is registered under a name: a class, a data set's entry, or what describes a detector.

    Raises:
        ConfigurationError: if there is none (the nearest names are given), it cannot be imported, or it is
            nothing of this kind.
        MissingExtraError: if it needs an optional dependency that is not installed.
    """
    points = available(kind)
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


def package_of(point: EntryPoint) -> str:
    """Name and version of the package that declares an entry point."""
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else ""


def _origin(point: EntryPoint) -> str:
    package = f" of {point.dist.name}" if point.dist is not None else ""
    return f"{point.value}{package}"
