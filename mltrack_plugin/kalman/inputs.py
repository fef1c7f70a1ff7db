"""What kernels start from: checked positions, standard deviations, layers and modules of the hits of an event."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import inlined, kernel
from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Hits
from mltrack_plugin.kalman.hit_grid import ALONG_R, ALONG_RPHI, ALONG_Z, SortedHits, X, Y, Z, make_event

Array = npt.NDArray[Any]


def checked_sigmas(sigmas: npt.ArrayLike, n: int) -> Array:
    """(n, 3) float64 standard deviations along r-phi, r and z, mm.

    Raises:
        EventDataError: if the shape or a sign is wrong.
    """
    errors = np.asarray(sigmas, dtype=np.float64)
    if errors.shape != (n, 3):
        raise EventDataError(f"sigmas must have shape ({n}, 3), got {errors.shape}")
    if not (np.isfinite(errors).all() and (errors >= 0).all()):
        raise EventDataError("sigmas must be finite and not negative")
    if (errors[:, ALONG_RPHI] == 0).any() or (errors[:, ALONG_R] + errors[:, ALONG_Z] == 0).any():
        raise EventDataError("sigmas along r-phi, and along r or z, must be larger than 0 for every hit")
    return errors


def sorted_event(hits: Hits, sigmas: npt.ArrayLike) -> SortedHits:
    """Hits, one or more, and their layers as the kernels take them.

    Args:
        hits: of one event, with layers: ``geometry_id``, or ``volume_id`` and ``layer_id``.
        sigmas: (n, 3) standard deviations of the positions along r-phi, r and z, mm. Layers without an error along r
            are barrels, those without one along z are discs.

    Raises:
        EventDataError: if the hits have no layers, or ``sigmas`` are wrong.
    """
    return make_event(positions_of(hits), *detector_layers(hits), checked_sigmas(sigmas, len(hits)))


def positions_of(hits: Hits) -> Array:
    """(n, 3) float64, mm."""
    positions = np.empty((len(hits), 3))
    positions[:, X], positions[:, Y], positions[:, Z] = hits.x, hits.y, hits.z
    return positions


def detector_layers(hits: Hits) -> tuple[Array, Array]:
    """Layer (dense from 0) and module of each hit, (n,) int64 each; module -1 where it is not known.

    Raises:
        EventDataError: naming the columns, if the hits have no layers.
    """
    if hits.volume_id is not None and hits.layer_id is not None:
        key = hits.volume_id.astype(np.int64) << 32 | hits.layer_id.astype(np.int64)
    elif hits.geometry_id is not None:
        # ACTS: volume, boundary and layer are above bit 36.
        key = (hits.geometry_id >> np.uint64(36)).astype(np.int64)
    else:
        missing = "layer_id" if hits.volume_id is not None else "volume_id"
        raise EventDataError(
            f"repair-tracks needs the layer of each hit, but the hits have no {missing} and no geometry_id "
            "(volume_id and layer_id, or geometry_id); map the branches in the reader's settings"
        )
    layer = dense_numbers(key)
    if hits.geometry_id is not None:
        return layer, hits.geometry_id.astype(np.int64)
    if hits.module_id is not None:
        module = layer << 32 | hits.module_id.astype(np.int64)
        return layer, np.where(hits.module_id < 0, -1, module)
    return layer, np.full(len(hits), -1, dtype=np.int64)


@kernel
def dense_numbers(keys: Array) -> Array:
    """(n,) numbers from 0 on for keys (n,) int64, in the order in which they come for the first time."""
    n, size, used = len(keys), 1024, 0
    numbers = np.empty(n, dtype=np.int64)
    slots, values = np.full(size, -1, dtype=np.int64), np.empty(size, dtype=np.int64)
    for i in range(n):
        if i > 0 and keys[i] == keys[i - 1]:
            numbers[i] = numbers[i - 1]
            continue
        at = hashed(keys[i]) % size
        while slots[at] >= 0 and values[at] != keys[i]:
            at = (at + 1) % size
        if slots[at] < 0:
            slots[at], values[at] = used, keys[i]
            used += 1
            numbers[i] = used - 1
            if 2 * used > size:
                old_slots, old_values = slots, values
                size *= 4
                slots, values = np.full(size, -1, dtype=np.int64), np.empty(size, dtype=np.int64)
                for j in range(len(old_slots)):
                    if old_slots[j] >= 0:
                        at = hashed(old_values[j]) % size
                        while slots[at] >= 0:
                            at = (at + 1) % size
                        slots[at], values[at] = old_slots[j], old_values[j]
        else:
            numbers[i] = slots[at]
    return numbers


@inlined
def hashed(key: int) -> int:
    """A number of 31 bits that differs where keys differ in a few bits."""
    return int(((key ^ (key >> 29)) * 0x1E3779B97F4A7C15 >> 32) & 0x7FFFFFFF)


def volumes_of(hits: Hits) -> Array:
    """(n,) volume number of each hit, from ``volume_id`` or ``geometry_id``.

    Raises:
        EventDataError: naming the columns, if the hits have neither.
    """
    if hits.volume_id is not None:
        return hits.volume_id
    if hits.geometry_id is not None:
        return np.asarray((hits.geometry_id >> np.uint64(56)).astype(np.int64))
    raise EventDataError(
        "resolutions by volume need the column volume_id (or geometry_id), which the hits do not have; map the branch "
        "in the reader's settings, or leave volumes out"
    )


def straight_track() -> tuple[Hits, Array]:
    """Five hits on a line and their sigmas: what kernels are compiled with before the first event."""
    r, ones = np.arange(1.0, 6.0) * 100, np.ones(5, dtype=np.int32)
    hits = Hits(np.arange(5), r, np.zeros(5), np.zeros(5), volume_id=ones, layer_id=np.arange(5))
    return hits, np.full((5, 3), 0.1)
