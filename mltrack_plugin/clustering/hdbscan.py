"""HDBSCAN through the ``hdbscan`` package, or on the graph of nearest neighbours.

Reference: Campello, Moulavi, Sander, "Density-based clustering based on hierarchical density
estimates" (2013); McInnes, Healy, Astels, JOSS 2 (2017) 205.
"""

from __future__ import annotations

import importlib
import math
import warnings
from types import ModuleType
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.settings import Config

#: ``"eom"``: excess of mass, ``"leaf"``: the leaves of the cluster tree (more, smaller clusters).
SelectionMethod = Literal["eom", "leaf"]
#: ``"package"``: exact, by the ``hdbscan`` package. ``"knn"``: from the nearest neighbours of each point
#: (:mod:`mltrack_plugin.clustering.knn_hdbscan`), several times faster and linear in the number of points.
Backend = Literal["package", "knn"]


class ClusteringSettings(Config):
    """What tells clusters apart; the defaults are those published for REDVID."""

    min_cluster_size: int = Field(default=4, ge=2)
    """Smallest number of hits of a candidate."""
    min_samples: int | None = Field(default=2, ge=1)
    """Neighbours that define the density at a hit; larger = more hits stay unassigned; ``None`` = min_cluster_size."""
    epsilon: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """Clusters closer than this (in units of the parameters' scales) are not split."""


def cluster_hdbscan(
    points: npt.ArrayLike,
    min_cluster_size: int = 4,
    min_samples: int | None = None,
    epsilon: float = 0.0,
    cluster_selection_method: SelectionMethod = "eom",
    allow_single_cluster: bool = False,
    backend: Backend = "package",
    neighbours: int = 16,
    max_distance: float = math.inf,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Group points by density.

    Deterministic: the same points in the same order give the same labels. Fewer than
    ``min_cluster_size`` points are all noise; at least as many points that coincide are one cluster
    with probability 1, whatever ``allow_single_cluster`` says.

    Args:
        points: (n, k), finite; a distance of 1 means the same along every axis.
        min_cluster_size: smallest group that is a cluster, >= 2.
        min_samples: neighbours (the point itself not counted) that define the core distance; a larger
            value calls more points noise. ``None`` = ``min_cluster_size``.
        epsilon: clusters closer than this distance are not split.
        cluster_selection_method: which clusters are cut out of the tree.
        allow_single_cluster: let all points be one cluster (an event with one track).
        backend: see :data:`Backend`; "knn" has no "leaf".
        neighbours: with "knn", neighbours of each point, more than a cluster usually has.
        max_distance: with "knn", points further apart are no neighbours.

    Returns:
        labels (n,) int64, -1 = noise, and membership probabilities (n,) float32 in [0, 1], 0 for noise.

    Raises:
        EventDataError: if ``points`` is not a finite (n, k) array.
        ValueError: if a setting is out of range.
    """
    if min_cluster_size < 2:
        raise ValueError(f"min_cluster_size must be at least 2, got {min_cluster_size}")
    if min_samples is not None and min_samples < 1:
        raise ValueError(f"min_samples must be at least 1, got {min_samples}")
    if not epsilon >= 0:
        raise ValueError(f"epsilon must not be negative, got {epsilon}")
    if not max_distance > 0:
        raise ValueError(f"max_distance must be larger than 0, got {max_distance}")
    if backend == "knn" and cluster_selection_method != "eom":
        raise ValueError('the backend "knn" does not have the selection method "leaf"')
    array = np.ascontiguousarray(points, dtype=np.float64)
    if array.ndim != 2:
        raise EventDataError(f"points to cluster must have shape (n, k), got {array.shape}")
    if not np.isfinite(array).all():
        raise EventDataError("points to cluster must be finite")
    n = len(array)
    if n < min_cluster_size:
        return np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.float32)
    if (array == array[0]).all():
        return np.zeros(n, dtype=np.int64), np.ones(n, dtype=np.float32)

    min_samples = min(min_samples or min_cluster_size, n - 1)
    if backend == "knn":
        from mltrack_plugin.clustering.knn_hdbscan import cluster_knn

        return cluster_knn(
            array, min_cluster_size, min_samples, neighbours, allow_single_cluster, epsilon, max_distance
        )
    hdbscan = load_package()
    with warnings.catch_warnings():
        # The package calls interfaces that its dependencies have deprecated; nothing a user can act on.
        warnings.simplefilter("ignore")
        labels, probabilities, *_ = hdbscan.hdbscan(
            array,
            min_cluster_size=min_cluster_size,
            min_samples=min_samples,
            cluster_selection_epsilon=float(epsilon),
            cluster_selection_method=cluster_selection_method,
            allow_single_cluster=allow_single_cluster,
            # One thread: events are processed in parallel, not parts of one event.
            core_dist_n_jobs=1,
        )
    return np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float32)


def load_package() -> ModuleType:
    """The ``hdbscan`` package, whose first import takes seconds and may warn about its own code."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("hdbscan")
