"""What decides a result, as text: for the metadata of outputs and the fingerprint of a job."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import sys
from collections.abc import Mapping
from typing import Any

from mltrack_plugin.framework.algorithm import SequenceElement

#: Libraries whose version can change a result.
_LIBRARIES = ("mltrack-plugin", "torch", "numpy", "hdbscan", "scipy", "uproot", "awkward")


def configuration(element: SequenceElement, facts: Mapping[str, str]) -> str:
    """Class, settings and further facts of an element as JSON."""
    kind = type(element)
    described: dict[str, Any] = {"class": f"{kind.__module__}.{kind.__qualname__}"}
    described["config"] = element.config.model_dump(mode="json")
    return json.dumps({**described, **facts}, sort_keys=True)


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a result."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for library in _LIBRARIES:
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
