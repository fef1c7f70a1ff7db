"""Seeds: straight paths through the first planes of an image."""

from __future__ import annotations

import numpy as np

from mltrack_plugin.event_data.base import Array


def straight_seeds(image: Array, n_planes: int, *, tolerance: int = 0, around: bool = False) -> Array:
    """All straight paths of hits through the first planes.

    A path joins a hit of the first with a hit of the last of these planes. In between, a straight line that begins
    and ends anywhere in these two pixels crosses one of two neighbouring pixels; one of them, or of ``tolerance``
    pixels more to either side, must be hit (the one nearest to the line is taken).

    Args:
        image: (P, W), more than 0 where there is a hit.
        n_planes: planes of a seed, at least 2. A track does not cross more than W pixels in P planes.
        tolerance: pixels by which a hit may lie beside its line.
        around: the first and the last pixel of a plane are neighbours.

    Returns:
        (S, n_planes) int64 pixels, ordered by first and last pixel; (0, n_planes) without seeds.

    >>> image = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> straight_seeds(image, 3)
    array([[0, 1, 2]])
    """
    n_rows, width = image.shape
    first, last = np.flatnonzero(image[0] > 0), np.flatnonzero(image[n_planes - 1] > 0)
    start, stop = (grid.ravel() for grid in np.meshgrid(first, last, indexing="ij"))
    if around:
        stop = start + (stop - start + width // 2) % width - width // 2
    # A line from pixel a to pixel b may rise by up to a pixel more than b - a.
    steepest = width / n_rows * (n_planes - 1) + 1
    near = np.abs(stop - start) < steepest
    start, stop = start[near], stop[near]
    path = np.empty((len(start), n_planes), dtype=np.int64)
    path[:, 0], path[:, -1] = start, stop
    found = np.ones(len(start), dtype=bool)
    for plane in range(1, n_planes - 1):
        # In units of 1 / (n_planes - 1) of a pixel, so that nothing is rounded.
        line = start * (n_planes - 1) + (stop - start) * plane
        # On a pixel's centre the line crosses that pixel alone, whatever else lies within the tolerance.
        lowest, rest = line // (n_planes - 1) - tolerance, line % (n_planes - 1)
        highest = lowest + 2 * tolerance + (rest > 0)
        best = np.full(len(start), np.iinfo(np.int64).max)
        for step in range(2 * tolerance + 2):
            pixel = lowest + step
            there = (pixel <= highest) if around else (pixel >= 0) & (pixel <= np.minimum(highest, width - 1))
            distance = np.abs(pixel * (n_planes - 1) - line)
            better = there & (image[plane, pixel % width] > 0) & (distance < best)
            path[better, plane], best[better] = pixel[better], distance[better]
        found &= best < np.iinfo(np.int64).max
    seeds: Array = path[found] % width
    return seeds


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
