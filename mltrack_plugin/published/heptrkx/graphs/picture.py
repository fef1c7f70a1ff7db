"""Picture of how the weights of a graph's segments evolve from iteration to iteration. Needs the extra ``[plot]``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import require_extra
from mltrack_plugin.evaluation.figures import COLOURS, new_figure, plain_axes, save_figure

Array = npt.NDArray[Any]

#: Segments of a smaller weight are not drawn: thousands of them would only slow the viewer down.
_INVISIBLE = 0.02


def draw_evolution(
    nodes: Array, edges: Array, weights: Array, target: Array | None, path: Path | str, title: str = ""
) -> Path:
    """Draw the segments of one graph, as dark as their weight, once per iteration.

    The upper row shows azimuth and radius, the lower row z and radius. With the truth, segments of particles are blue
    and the others red, and a last column shows the true ones.

    Args:
        nodes: (n, 3) r, phi, z in mm, radian, mm.
        edges: (2, m).
        weights: (I + 1, m) as the segment classifier gives them: one row per iteration, the scores last.
        target: (m,) bool, or ``None``.
        path: picture to write; the format follows the suffix (.png, .pdf, .svg).
        title: put above.

    Returns:
        The path.

    Raises:
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    columns = [(f"iteration {i + 1}", row) for i, row in enumerate(weights[:-1])] + [("score", weights[-1])]
    if target is not None:
        columns.append(("truth", target.astype(np.float64)))
    figure = new_figure(2.6 * len(columns), 5.2)
    panels = figure.subplots(2, len(columns), sharex="row", sharey=True, squeeze=False)
    collections = require_extra("matplotlib.collections", "plot", "drawing figures")
    r, phi, z = np.asarray(nodes, dtype=np.float64)[:, :3].T
    # A segment that crosses phi = pi is drawn from its inner hit across the edge.
    end = phi[edges[0]] + (phi[edges[1]] - phi[edges[0]] + np.pi) % (2.0 * np.pi) - np.pi
    lines = (
        _lines(phi[edges[0]], r[edges[0]], end, r[edges[1]]),
        _lines(z[edges[0]], r[edges[0]], z[edges[1]], r[edges[1]]),
    )
    right, wrong = COLOURS[0], COLOURS[1]
    for column, (name, weight) in enumerate(columns):
        drawn = np.flatnonzero(weight >= _INVISIBLE)
        # The strongest on top.
        drawn = drawn[np.argsort(weight[drawn], kind="stable")]
        colours = [right if target is None or target[i] else wrong for i in drawn]
        for row, (label, x) in enumerate((("phi [rad]", phi), ("z [mm]", z))):
            axes = panels[row, column]
            # matplotlib takes no empty list of transparencies.
            alpha = np.clip(weight[drawn], 0.0, 1.0) if len(drawn) else None
            axes.add_collection(
                collections.LineCollection(lines[row][drawn], colors=colours, alpha=alpha, linewidths=0.8)
            )
            axes.scatter(x, r, s=2.0, color="0.3", linewidths=0, zorder=3)
            axes.set_xlabel(label)
            plain_axes(axes)
        panels[0, column].set_title(name, fontsize=10)
    for axes in panels[:, 0]:
        axes.set_ylabel("r [mm]")
    if title:
        figure.suptitle(title, fontsize=11)
    return save_figure(figure, path)


def _lines(x0: Array, y0: Array, x1: Array, y1: Array) -> Array:
    """(m, 2, 2) end points of segments."""
    return np.stack([np.stack([x0, y0], axis=1), np.stack([x1, y1], axis=1)], axis=1)
