"""Every setting says what it is: in ``--help``, ``mltrack algorithms NAME``, ``?`` and pydantic."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from itertools import pairwise

from mltrack_plugin.settings import Config


def all_configs() -> list[type[Config]]:
    """Every Config of the package, by importing all of its modules."""
    # Two folders lie beside the package where it is installed from its clone, and are not found below it.
    for root in ("mltrack_plugin", "mltrack_plugin.algorithms", "mltrack_plugin.io"):
        for module in pkgutil.walk_packages(importlib.import_module(root).__path__, f"{root}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)

    def below(kind: type[Config]) -> Iterator[type[Config]]:
        for sub in kind.__subclasses__():
            yield sub
            yield from below(sub)

    found = {kind for kind in below(Config) if kind.__module__.startswith("mltrack_plugin.")}
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


def test_every_setting_has_a_description_of_its_own():
    configs = all_configs()
    assert len(configs) > 90
    rooms = {kind.__module__.split(".")[1] for kind in configs}
    assert rooms >= {"algorithms", "io", "simulation", "training", "models", "jobs", "acts", "detectors"}
    wrong = []
    for kind in configs:
        place = f"{kind.__module__}.{kind.__qualname__}"
        fields = list(kind.model_fields.items())
        wrong += [f"{place}.{name} has no description" for name, field in fields if not field.description]
        wrong += [
            f"{place}.{name} repeats its neighbour's description"
            for (_, before), (name, field) in pairwise(fields)
            if field.description and field.description == before.description
        ]
        wrong += [
            f"{place}.{name}: {field.description!r} says nothing of this setting"
            for name, field in fields
            if field.description in ("Input key.", "Input keys.", "Output key.", "Output keys.", "Settings.")
        ]
    assert not wrong, "\n".join(wrong)


def test_setting_that_is_declared_anew_keeps_its_description():
    class Base(Config):
        size: int = 1
        """Size, mm."""

    class Larger(Base):
        size: int = 2

    class Other(Larger):
        size: int = 3
        """Size, cm."""

    assert Larger.model_fields["size"].description == "Size, mm."
    assert Other.model_fields["size"].description == "Size, cm."
    assert Base.model_fields["size"].description == "Size, mm."
