"""Reconstruction algorithms, one a file: thin shells around the kernels of mltrack_plugin.

Every registered algorithm is an attribute, those of other packages among them: ``mltrack_plugin.algorithms.FitKalman``.
"""

from __future__ import annotations

from typing import Any

from mltrack_plugin.registry import class_named, class_names


def __getattr__(name: str) -> Any:
    return class_named(__name__, name, "algorithm")


def __dir__() -> list[str]:
    return class_names("algorithm")
