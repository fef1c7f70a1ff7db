"""Logical layers of the GenericDetector (volumes and layers numbered as in TrackML), and which are adjacent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits

Array = npt.NDArray[Any]

#: Barrel volumes: pixels, short strips, long strips.
BARREL_VOLUMES = (8, 13, 17)
#: (volume, layer) of the ten barrel layers from inside out.
BARREL_LAYERS = (
    *((8, layer) for layer in (2, 4, 6, 8)),
    *((13, layer) for layer in (2, 4, 6, 8)),
    *((17, layer) for layer in (2, 4)),
)
#: Pairs of adjacent barrel layers, as positions in BARREL_LAYERS.
BARREL_PAIRS = tuple((i, i + 1) for i in range(len(BARREL_LAYERS) - 1))


def layer_numbers(volume: Array, layer: Array, layers: Sequence[tuple[int, int]] = BARREL_LAYERS) -> Array:
    """Position of each hit's layer in ``layers``.

    Args:
        volume: (n,) integers.
        layer: (n,) integers.
        layers: (volume, layer) of each logical layer.

    Returns:
        (n,) int32; -1 for hits on none of the layers.
    """
    codes = np.array([v * 4096 + n for v, n in layers], dtype=np.int64)
    order = np.argsort(codes)
    wanted = np.asarray(volume, dtype=np.int64) * 4096 + np.asarray(layer, dtype=np.int64)
    found = order[np.minimum(np.searchsorted(codes, wanted, sorter=order), len(codes) - 1)]
    return np.where(codes[found] == wanted, found, -1).astype(np.int32)


def hit_layers(hits: Hits, layers: Sequence[tuple[int, int]] = BARREL_LAYERS) -> Array:
    """:func:`layer_numbers` of hits.

    Raises:
        EventError: if the hits carry no volume and layer numbers.
    """
    if hits.volume_id is None or hits.layer_id is None:
        missing = " and ".join(n for n in ("volume_id", "layer_id") if getattr(hits, n) is None)
        raise EventError(
            f"the hits have no {missing}; a graph connects hits on adjacent layers, so each hit's layer must be known"
        )
    return layer_numbers(hits.volume_id, hits.layer_id, layers)


def distinct_per_layer(particle: Array, volume: Array, layer: Array, radius: Array) -> Array:
    """One hit of each particle on each layer: the one nearest to the beam; modules that overlap give further ones.

    Args:
        particle: (n,) integers.
        volume: (n,) integers.
        layer: (n,) integers.
        radius: (n,) mm.

    Returns:
        (n,) bool.
    """
    order = np.lexsort((radius, layer, volume, particle))
    keys = np.stack([particle, volume, layer])[:, order]
    keep = np.zeros(len(order), dtype=bool)
    keep[order] = np.concatenate([[True], (keys[:, 1:] != keys[:, :-1]).any(axis=0)])[: len(order)]
    return keep
