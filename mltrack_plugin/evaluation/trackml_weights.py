"""Hit weights of the TrackML challenge.

The weight of a hit is the product of two factors, normalised to a sum of 1 over the event:

- order along the track: nine numbers, large for the first hits, which fix the vertex, small in the middle,
  larger again for the last, which fix the momentum; interpolated to the number of hits and normalised to a
  sum of 1 per particle. Particles with three hits or fewer get 0; from the 21st hit on the weight is 0;
- transverse momentum: 0.2 up to 0.5 GeV, rising linearly to 1 at 3 GeV, then 1; 0 below 0.05 GeV.

Source: the documented recipe of the accuracy phase (arXiv:1904.06778) with the numbers of trackml-library's
``weight_hits_phase1``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mltrack_plugin.evaluation.matching import Array
from mltrack_plugin.event_data.particles import rows_of

#: Relative weights along the track, first hit to last.
ORDER_PROFILE = (10.0, 8.0, 6.0, 5.0, 3.0, 3.0, 3.0, 5.0, 6.0)
#: Particles with fewer hits have no weight.
MIN_HITS = 4
#: Hits after this many have no weight.
MAX_HITS = 20


def order_weights(n_hits: int) -> Array:
    """(min(n_hits, 20),) float64: weights of the hits along a track, sum 1; all 0 below four hits.

    >>> order_weights(5).round(4).tolist()
    [0.3571, 0.2143, 0.1071, 0.1071, 0.2143]
    """
    n = min(int(n_hits), MAX_HITS)
    if n < MIN_HITS:
        return np.zeros(n)
    profile = np.asarray(ORDER_PROFILE)
    weights = np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(profile)), profile)
    return np.asarray(weights / weights.sum())


def pt_weights(pt: npt.ArrayLike) -> Array:
    """(n,) float64: weight of particles of transverse momentum ``pt`` in GeV; NaN counts as 0."""
    values = np.asarray(pt, dtype=np.float64)
    weights = np.interp(values, [0.05, 0.5, 3.0], [0.2, 0.2, 1.0], left=0.0)
    return np.where(np.isnan(values), 0.0, weights)


def trackml_weights(
    particle_of_hit: npt.ArrayLike,
    z: npt.ArrayLike,
    particle_id: npt.ArrayLike,
    vz: npt.ArrayLike,
    pt: npt.ArrayLike,
) -> Array:
    """Weights of the hits of one event.

    Hits are ordered along a particle by the distance |z - vz| from its vertex, ties sharing the mean
    position rounded down, all as in trackml-library. Differences: the library takes the true z of the hit and
    the hit count of the particle table; here they are the measured z and the hits that are in the event.

    Args:
        particle_of_hit: (n_hits,) uint64 particle ids, 0 = noise.
        z: (n_hits,) mm.
        particle_id: (n_particles,) unique ids; hits of other particles get weight 0.
        vz: (n_particles,) mm, production vertex.
        pt: (n_particles,) GeV.

    Returns:
        (n_hits,) float64 with sum 1; all 0 if no hit deserves weight.
    """
    particle = np.asarray(particle_of_hit).astype(np.uint64, copy=False)
    ids = np.asarray(particle_id).astype(np.uint64, copy=False)
    weights = np.zeros(len(particle))
    if not len(ids) or not len(particle):
        return weights
    row = rows_of(ids, particle)
    known = np.flatnonzero((row >= 0) & (particle != 0))
    row = row[known]
    distance = np.abs(np.asarray(z, dtype=np.float64)[known] - np.asarray(vz, dtype=np.float64)[row])

    order = np.lexsort((distance, row))
    sorted_row, sorted_distance = row[order], distance[order]
    new_particle = np.ones(len(order), dtype=bool)
    new_particle[1:] = sorted_row[1:] != sorted_row[:-1]
    new_place = new_particle.copy()
    new_place[1:] |= sorted_distance[1:] != sorted_distance[:-1]
    start, n_hits = _group(new_particle)
    tie_start, tie_size = _group(new_place)
    position = tie_start - start + (tie_size - 1) // 2

    table = np.zeros((MAX_HITS + 1, MAX_HITS))
    for n in range(MIN_HITS, MAX_HITS + 1):
        table[n, :n] = order_weights(n)
    factor = np.where(
        position < MAX_HITS, table[np.minimum(n_hits, MAX_HITS), np.minimum(position, MAX_HITS - 1)], 0.0
    )
    weights[known[order]] = factor * pt_weights(pt)[sorted_row]
    total = weights.sum()
    return weights / total if total > 0 else weights


def _group(starts: Array) -> tuple[Array, Array]:
    """For each entry of consecutive groups (``starts`` marks first entries): index of the first, and size."""
    first = np.flatnonzero(starts)
    size = np.diff(np.append(first, len(starts)))
    return np.repeat(first, size), np.repeat(size, size)
