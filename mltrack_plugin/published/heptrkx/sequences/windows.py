"""Search windows: hits of a layer that are compatible with predicted Gaussians, for all predictions at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.published.heptrkx.graphs.construct import wrapped

Array = npt.NDArray[Any]

_TURN = 2.0 * np.pi


@dataclasses.dataclass(frozen=True)
class LayerHits:
    """Hits of one layer, sorted by azimuth.

    Attributes:
        rows: (m,) int64, rows of the event's hits.
        values: (m, 3) float32, (r [mm], phi [rad], z [mm]).
        keys: (3 m,) float64, azimuths with copies a turn earlier and a turn later; entry i is hit ``i % m``.
    """

    rows: Array
    values: Array
    keys: Array

    @staticmethod
    def select(values: Array, layer: Array, number: int) -> LayerHits:
        """The hits of layer ``number`` among hits (n, 3) on layers (n,)."""
        rows = np.flatnonzero(layer == number)
        rows = rows[np.argsort(values[rows, 1], kind="stable")]
        phi = values[rows, 1].astype(np.float64)
        return LayerHits(rows, values[rows], np.concatenate([phi - _TURN, phi, phi + _TURN]))

    def near(self, phi: Array, half_width: Array) -> tuple[Array, Array]:
        """All pairs of a query and a hit whose azimuths differ by at most the query's half width.

        Args:
            phi: (q,) rad, in [-pi, pi].
            half_width: (q,) rad; at most pi is looked at.

        Returns:
            (p,) queries and (p,) positions in ``rows``, sorted by query.
        """
        half = np.minimum(half_width, np.pi)
        first = np.searchsorted(self.keys, phi - half, side="left")
        counts = np.searchsorted(self.keys, phi + half, side="right") - first
        # A window of a whole turn meets a hit at its edges twice.
        counts = np.minimum(counts, len(self.rows))
        query = np.repeat(np.arange(len(phi)), counts)
        entry = np.arange(len(query)) - np.repeat(np.cumsum(counts) - counts, counts)
        return query, (first[query] + entry) % max(len(self.rows), 1)


def squared_distance(hits: Array, gaussians: Array) -> Array:
    """Squared Mahalanobis distance of hits from predicted Gaussians: chi2 with two degrees of freedom.

    Args:
        hits: (n, 3): r [mm], phi [rad], z [mm].
        gaussians: (n, 5): phi [rad], z [mm], covariance phi-phi [rad^2], phi-z [rad mm], z-z [mm^2].

    Returns:
        (n,) float64.
    """
    mean_phi, mean_z, c00, c01, c11 = gaussians.astype(np.float64).T
    phi, z = wrapped(hits[:, 1].astype(np.float64) - mean_phi), hits[:, 2] - mean_z
    determinant = c00 * c11 - c01 * c01
    return np.asarray((c11 * phi**2 - 2.0 * c01 * phi * z + c00 * z**2) / determinant)


def log_volume(gaussians: Array, radius: float) -> Array:
    """(n,) float64: logarithm of (2 pi)^2 times the determinant of the covariance in (r phi, z), mm^4."""
    _, _, c00, c01, c11 = gaussians.astype(np.float64).T
    return np.asarray(np.log((_TURN * radius) ** 2 * (c00 * c11 - c01 * c01)))


def gate(gaussians: Array, layer: LayerHits, max_distance: float) -> tuple[Array, Array, Array]:
    """Hits of a layer within the gate of each prediction.

    Args:
        gaussians: (q, 5), see :func:`squared_distance`.
        layer: the hits of the layer.
        max_distance: largest squared Mahalanobis distance.

    Returns:
        (p,) queries, (p,) positions in the layer, (p,) squared distances; sorted by query, then distance.
    """
    query, position = layer.near(gaussians[:, 0], np.sqrt(max_distance * gaussians[:, 2]))
    distance = squared_distance(layer.values[position], gaussians[query])
    inside = distance <= max_distance
    query, position, distance = query[inside], position[inside], distance[inside]
    order = np.lexsort((layer.rows[position], distance, query))
    return query[order], position[order], distance[order]


def best_of_group(group: Array, cost: Array, limit: int) -> Array:
    """(n,) bool: among the ``limit`` entries of lowest cost of its group; ties go to the earlier entry."""
    order = np.lexsort((np.arange(len(group)), cost, group))
    ordered = group[order]
    first = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)])
    rank = np.arange(len(ordered)) - np.repeat(first, np.diff(np.append(first, len(ordered))))
    keep = np.zeros(len(group), dtype=bool)
    keep[order] = rank < limit
    return keep
