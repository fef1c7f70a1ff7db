"""Paths of pixels, one through the planes of an image for each seed or line, and the pixels they keep."""

from __future__ import annotations

import numpy as np

from mltrack_plugin.event_data.base import Array


def best_pixels(probability: Array, image: Array) -> tuple[Array, Array]:
    """The most probable hit of each plane.

    Args:
        probability: (S, P, W) for each path.
        image: (P, W), more than 0 where there is a hit: only hits compete.

    Returns:
        (S, P) int64 pixels and (S, P) their probabilities, 0 in planes without hits.
    """
    masked = np.where(image[None] > 0, probability, 0.0)
    pixel = masked.argmax(axis=2)
    return pixel, np.take_along_axis(masked, pixel[:, :, None], axis=2)[:, :, 0]


def claim_pixels(pixel: Array, score: Array, *, width: int, min_score: float, min_pixels: int) -> Array:
    """Give every pixel to one path: the best path keeps all of its pixels, the next one what is left, and so on.

    Args:
        pixel: (S, P) pixel of each path in each plane.
        score: (S, P) in [0, 1]; the sum over its planes ranks a path (equal ones in their order).
        width: pixels of a plane.
        min_score: smaller entries are no part of their path.
        min_pixels: a path with fewer pixels left for it, or with less than half of its pixels left, is a repetition
            or a chance and is dropped.

    Returns:
        (P, width) int64: path of each pixel, -1 = none.
    """
    part = score >= min_score
    owner = np.full((pixel.shape[1], width), -1, dtype=np.int64)
    for path in np.argsort(-np.where(part, score, 0.0).sum(axis=1), kind="stable"):
        planes = np.flatnonzero(part[path])
        chosen = pixel[path, planes]
        free = owner[planes, chosen] < 0
        if free.sum() >= max(min_pixels, 0.5 * len(planes)):
            owner[planes[free], chosen[free]] = path
    return owner


def line_owners(
    intercept: Array,
    slope: Array,
    x: Array,
    y: Array,
    plane: Array,
    *,
    window: float,
    period: float | None = None,
) -> tuple[Array, Array]:
    """The line that each hit belongs to: the nearest one, if the hit is the line's nearest in its plane.

    Args:
        intercept: (L,) mm: y of the lines at x = 0.
        slope: (L,) dy/dx.
        x: (n,) mm.
        y: (n,) mm.
        plane: (n,) integers from 0.
        window: largest distance along y, mm.
        period: y repeats after this; ``None`` = it does not.

    Returns:
        (n,) int64: line of each hit, -1 = none, and (n,) float64 distances from the nearest line, mm.
    """
    if not len(intercept) or not len(x):
        return np.full(len(x), -1, dtype=np.int64), np.full(len(x), np.inf)
    distance = np.abs(y[:, None] - intercept - slope * x[:, None])
    if period is not None:
        distance = np.abs((distance + 0.5 * period) % period - 0.5 * period)
    line = distance.argmin(axis=1)
    nearest = distance[np.arange(len(x)), line]
    owner = np.where(nearest <= window, line, -1)
    # One hit of a line in a plane: the first of each (line, plane) in the order of distances.
    order = np.lexsort((nearest, plane, owner))
    repeated = np.zeros(len(x), dtype=bool)
    repeated[order[1:]] = (np.diff(owner[order]) == 0) & (np.diff(np.asarray(plane)[order]) == 0)
    return np.where(repeated, -1, owner), nearest
