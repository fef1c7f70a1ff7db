"""Hits in the order in which they are assigned to track slots, and the true slot of each hit.

Hits are sorted by azimuth. The circle is cut where the azimuths leave the widest gap: a track is then hardly ever cut
in two, and the order does not depend on how the event is turned. Slots are ordered as the hits are: by the azimuth of
the track's innermost hit, from the cut on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_TURN = 2.0 * np.pi


def order_by_azimuth(hits: Array) -> tuple[Array, Array]:
    """Sort hits by azimuth from the widest gap on.

    Args:
        hits: (n, 3): r [mm], phi [rad], z [mm].

    Returns:
        (n,) int64: rows in order; (n, 3) float32: hits in order, phi from the middle of the gap, in [0, 2 pi).
    """
    phi = np.mod(hits[:, 1].astype(np.float64), _TURN)
    # Hits at the same azimuth: from the inside out, so that the order does not depend on that of the input.
    order = np.lexsort((hits[:, 2], hits[:, 0], phi))
    if not len(order):
        return order, hits.astype(np.float32)
    rising = phi[order]
    gaps = np.append(rising[1:], rising[0] + _TURN) - rising
    cut = int(np.argmax(gaps)) + 1
    order = np.roll(order, -cut)
    seam = rising[cut - 1] + gaps[cut - 1] / 2.0
    ordered = hits[order].astype(np.float32)
    # Rounding to float32 may reach a full turn.
    ordered[:, 1] = np.minimum(
        np.mod(phi[order] - seam, _TURN), np.nextafter(np.float32(_TURN), np.float32(0))
    )
    return order, ordered


def true_slots(ordered: Array, particle_id: Array, slots: int) -> Array:
    """The slot of each hit.

    Particles take the slots 1, 2, ... by the azimuth of their innermost hit. Noise, and particles beyond the last
    slot, are in slot 0.

    Args:
        ordered: (n, 3) hits as :func:`order_by_azimuth` returns them.
        particle_id: (n,) unsigned integers, row by row; 0 = noise.
        slots: number of track slots.

    Returns:
        (n,) int64, 0 ... slots.
    """
    result = np.zeros(len(particle_id), dtype=np.int64)
    rows = np.flatnonzero(particle_id)
    if not len(rows):
        return result
    _, particle = np.unique(particle_id[rows], return_inverse=True)
    particle = particle.reshape(-1)
    inwards = np.lexsort((ordered[rows, 0], particle))
    innermost = rows[inwards[np.unique(particle[inwards], return_index=True)[1]]]
    rank = np.empty(len(innermost), dtype=np.int64)
    rank[np.lexsort((innermost, ordered[innermost, 1]))] = np.arange(1, len(innermost) + 1)
    rank[rank > slots] = 0
    result[rows] = rank[particle]
    return result
