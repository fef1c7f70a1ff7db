"""Logical layers of the GenericDetector (volumes and layers numbered as in TrackML), and which are adjacent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.detectors import load_detector
from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits

Array = npt.NDArray[Any]

_GENERIC = load_detector("generic")
#: Barrel volumes: pixels, short strips, long strips.
BARREL_VOLUMES = tuple(number for number, volume in _GENERIC.volumes.items() if volume.kind == "barrel")
#: (volume, layer) of all layers; a particle from the beam line meets them in ascending order.
ALL_LAYERS = _GENERIC.layer_ids
#: (volume, layer) of the ten barrel layers from inside out.
BARREL_LAYERS = tuple(layer for layer in ALL_LAYERS if layer[0] in BARREL_VOLUMES)
#: Their mean radii, mm.
BARREL_RADII = tuple(_GENERIC.volumes[volume].layers[layer].at for volume, layer in BARREL_LAYERS)
#: Pairs of adjacent barrel layers, as positions in BARREL_LAYERS.
BARREL_PAIRS = tuple((i, i + 1) for i in range(len(BARREL_LAYERS) - 1))


def _discs(volume: int) -> list[int]:
    """Positions in ALL_LAYERS of an endcap's discs from inside out."""
    return [i for i, layer in enumerate(ALL_LAYERS) if layer[0] == volume]


def _all_pairs() -> tuple[tuple[int, int], ...]:
    """Adjacent layers with endcaps.

    In simulated events with pT > 1 GeV these are 99% of all steps of a particle from one layer to the next one on which
    it leaves a hit; the rest skips layers.
    """
    number = {layer: i for i, layer in enumerate(ALL_LAYERS)}
    barrel = [number[layer] for layer in BARREL_LAYERS]
    pairs = [*itertools.pairwise(barrel), (barrel[2], barrel[4])]
    for volumes in ((7, 12, 16), (9, 14, 18)):
        pixel, short, long = map(_discs, volumes)
        for discs in (pixel, short, long):
            pairs += itertools.pairwise(discs)
        # From barrel to disc and back, and from inner to outer endcaps.
        pairs += [(barrel[i], pixel[0]) for i in range(3)]
        pairs += [(pixel[i], barrel[4]) for i in range(2)]
        pairs += [(barrel[4 + i], short[0]) for i in range(3)]
        pairs += [(barrel[6], long[1]), (barrel[7], long[0]), (barrel[8], long[0])]
        pairs += [(pixel[i], short[j]) for i, j in _PIXEL_TO_SHORT]
        pairs += [(short[i], long[j]) for i in range(5) for j in (i + 1, i + 2) if j < len(long)]
    return tuple(sorted(pairs))


#: Steps from pixel discs to discs of short strips, counted from inside.
_PIXEL_TO_SHORT = ((1, 0), (2, 0), (2, 1), (3, 1), (4, 2), (5, 3), (6, 3), (6, 4), (6, 5))
#: Pairs of adjacent layers, as positions in ALL_LAYERS.
ALL_PAIRS = _all_pairs()


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
