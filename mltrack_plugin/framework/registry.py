"""Registry: algorithms, readers and writers found by name through Python entry points.

A package that declares, for example ::

    [project.entry-points."mltrack_plugin.algorithms"]
    ghost-killer = "my_experiment.tracking:GhostKiller"

adds ``ghost-killer`` to what job configurations can name, without any change here.
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal

from mltrack_plugin.errors import ConfigurationError, MltrackError, did_you_mean

Kind = Literal["algorithm", "reader", "writer"]

#: Entry point group of each kind of element.
GROUPS: dict[Kind, str] = {
    "algorithm": "mltrack_plugin.algorithms",
    "reader": "mltrack_plugin.readers",
    "writer": "mltrack_plugin.writers",
}


def available(kind: Kind) -> dict[str, EntryPoint]:
    """Entry points of a kind by name, sorted; nothing is imported.

    Raises:
        ConfigurationError: if two packages give one name to different objects.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=GROUPS[kind]):
        known = found.setdefault(point.name, point)
        if known.value != point.value:
            raise ConfigurationError(
                f"two packages provide the {kind} {point.name!r}: {_origin(known)} and {_origin(point)}. "
                "Uninstall one of them"
            )
    return dict(sorted(found.items()))


def find(kind: Kind, name: str) -> type[Any]:
    """The class behind a name.

    Raises:
        ConfigurationError: if there is none (the nearest names are given), it cannot be imported, or it is no
            element of this kind.
        MissingExtraError: if it needs an optional dependency that is not installed.
    """
    points = available(kind)
    if name not in points:
        raise ConfigurationError(f"there is no {kind} {name!r}. {did_you_mean(name, points)}")
    try:
        found = points[name].load()
    except MltrackError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"the {kind} {name!r} ({_origin(points[name])}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, _base(kind))):
        raise ConfigurationError(
            f"the {kind} {name!r} ({_origin(points[name])}) is no subclass of {_base(kind).__name__}"
        )
    return found


def _base(kind: Kind) -> type[Any]:
    from mltrack_plugin.framework import algorithm

    base: type[Any] = getattr(algorithm, kind.capitalize())
    return base


def _origin(point: EntryPoint) -> str:
    package = f" of {point.dist.name}" if point.dist is not None else ""
    return f"{point.value}{package}"
