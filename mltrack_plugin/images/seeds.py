"""Seeds: straight paths through the first planes of an image."""

from __future__ import annotations

import numpy as np

from mltrack_plugin.event_data.base import Array


def straight_seeds(image: Array, n_planes: int) -> Array:
    """All straight paths of hits through the first planes.

    A path joins a hit of the first with a hit of the last of these planes. In between, a straight line that begins
    and ends anywhere in these two pixels crosses one of two neighbouring pixels, one of which must be hit (the
    nearer one is taken if both are).

    Args:
        image: (P, W), more than 0 where there is a hit.
        n_planes: planes of a seed, at least 2. A track does not cross more than W pixels in P planes.

    Returns:
        (S, n_planes) int64 pixels, ordered by first and last pixel; (0, n_planes) without seeds.

    >>> image = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> straight_seeds(image, 3)
    array([[0, 1, 2]])
    """
    n_rows, width = image.shape
    first, last = np.flatnonzero(image[0] > 0), np.flatnonzero(image[n_planes - 1] > 0)
    start, stop = (grid.ravel() for grid in np.meshgrid(first, last, indexing="ij"))
    # A line from pixel a to pixel b may rise by up to a pixel more than b - a.
    steepest = width / n_rows * (n_planes - 1) + 1
    near = np.abs(stop - start) < steepest
    start, stop = start[near], stop[near]
    path = np.empty((len(start), n_planes), dtype=np.int64)
    path[:, 0], path[:, -1] = start, stop
    found = np.ones(len(start), dtype=bool)
    for plane in range(1, n_planes - 1):
        # In units of 1 / (n_planes - 1) of a pixel, so that nothing is rounded.
        lower, rest = np.divmod(start * (n_planes - 1) + (stop - start) * plane, n_planes - 1)
        upper = np.where(rest > 0, np.minimum(lower + 1, width - 1), lower)
        prefer_upper = 2 * rest > n_planes - 1
        preferred, other = np.where(prefer_upper, upper, lower), np.where(prefer_upper, lower, upper)
        hit, other_hit = image[plane, preferred] > 0, image[plane, other] > 0
        path[:, plane] = np.where(hit, preferred, other)
        found &= hit | other_hit
    return path[found]


def seeded_images(image: Array, seeds: Array) -> Array:
    """One image for each seed: the seed alone in its planes, everything behind them.

    Args:
        image: (P, W) float32.
        seeds: (S, n_planes) pixels.

    Returns:
        (S, P, W) float32.
    """
    n_seeds, n_planes = seeds.shape
    images = np.repeat(image[None].astype(np.float32), n_seeds, axis=0)
    images[:, :n_planes] = 0.0
    images[np.arange(n_seeds)[:, None], np.arange(n_planes), seeds] = 1.0
    return images
