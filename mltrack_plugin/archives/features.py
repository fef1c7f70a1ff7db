"""Input features of the networks, computed from hits in one vectorised step.

Lengths come out in the unit of the hits (mm), angles in radian, ``eta`` without a unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from mltrack_plugin.errors import EventError, ModelError, did_you_mean
from mltrack_plugin.event_data import Hits
from mltrack_plugin.event_data.base import Array


def _time(hits: Hits) -> Array:
    if hits.time is None:
        raise EventError("the model needs the hits' time, which this input does not have")
    return hits.time


def _theta(hits: Hits) -> Array:
    return np.arctan2(hits.r, hits.z)


def _eta(hits: Hits) -> Array:
    """Pseudorapidity of the hit seen from the origin, finite (+-15) on the beam axis as well."""
    r = np.maximum(hits.r, np.abs(hits.z) * 1e-6)
    return np.arcsinh(np.divide(hits.z, r, out=np.zeros_like(r), where=r > 0))


_FEATURES: dict[str, Callable[[Hits], Array]] = {
    "x": lambda hits: hits.x,
    "y": lambda hits: hits.y,
    "z": lambda hits: hits.z,
    "r": lambda hits: hits.r,
    "phi": lambda hits: hits.phi,
    "sin_phi": lambda hits: np.sin(hits.phi),
    "cos_phi": lambda hits: np.cos(hits.phi),
    "theta": _theta,
    "eta": _eta,
    "time": _time,
}

#: Names that :func:`hit_features` knows.
FEATURE_NAMES = tuple(_FEATURES)


def check_feature_names(names: Iterable[str]) -> None:
    """Raise ``ModelError`` naming the unknown feature and the nearest known one."""
    for name in names:
        if name not in _FEATURES:
            raise ModelError(f"no hit feature {name!r}. {did_you_mean(name, _FEATURES)}")


def hit_features(hits: Hits, names: Iterable[str]) -> Array:
    """The named features of every hit.

    Args:
        hits: n hits.
        names: F feature names, in the order of the network's input; see ``FEATURE_NAMES``.

    Returns:
        (n, F) float32, C-contiguous.

    Raises:
        ModelError: for an unknown feature.
        EventError: if the hits lack the column a feature needs.
    """
    names = tuple(names)
    check_feature_names(names)
    result = np.empty((len(hits), len(names)), dtype=np.float32)
    for column, name in enumerate(names):
        result[:, column] = _FEATURES[name](hits)
    return result
