"""Event display: hits and tracks of one event in the x-y and the r-z plane. Needs the extra ``[plot]``."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mltrack_plugin.errors import require_extra
from mltrack_plugin.evaluation.figures import new_figure, plain_axes, save_figure
from mltrack_plugin.evaluation.matching import Array, match_tracks

if TYPE_CHECKING:
    from mltrack_plugin.event_data import Hits, ProtoTracks, TruthLinks

#: Above this many tracks, lines and points get thinner.
_MANY_TRACKS = 100


def draw_event(
    hits: Hits,
    tracks: ProtoTracks,
    path: Path | str,
    truth: TruthLinks | None = None,
    title: str = "",
) -> Path:
    """Draw one event: tracks in colours, hits on no track in grey.

    Args:
        hits: (n,) hits.
        tracks: track candidates or tracks of these hits; they may be empty.
        path: picture to write; the format follows the suffix (.png, .pdf, .svg).
        truth: with it, hits on a track whose majority is another particle are circled.
        title: put above the numbers of the event.

    Returns:
        The path.

    Raises:
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    figure = new_figure(11, 5.6)
    collections = require_extra("matplotlib.collections", "plot", "drawing figures")
    panels = figure.subplots(1, 2)
    labels = tracks.labels(len(hits))
    free = labels < 0
    x, y, z, r = (np.asarray(c, dtype=float) for c in (hits.x, hits.y, hits.z, hits.r))
    planes = (("x [mm]", x, "y [mm]", y), ("z [mm]", z, "r [mm]", r))
    wrong = _wrong_hits(labels, truth)
    n = len(tracks)
    colours = track_colours(n)
    size, width = (4.0, 0.5) if n > _MANY_TRACKS else (12.0, 0.9)
    # Hits ordered outwards give the line of a track.
    distance = np.hypot(r, z)
    lines = [members[np.argsort(distance[members], kind="stable")] for members in _members(tracks)]
    for axes, (x_label, first, y_label, second) in zip(panels, planes, strict=True):
        if free.any():
            axes.scatter(
                first[free], second[free], s=0.6 * size, color="0.65", linewidths=0, label="on no track"
            )
        paths = [np.column_stack([first[members], second[members]]) for members in lines]
        axes.add_collection(collections.LineCollection(paths, colors=colours, linewidths=width, alpha=0.65))
        axes.scatter(first[~free], second[~free], s=size, c=colours[labels[~free]], linewidths=0, zorder=3)
        if wrong.any():
            axes.scatter(
                first[wrong],
                second[wrong],
                s=4 * size,
                facecolors="none",
                edgecolors="black",
                linewidths=0.8,
                zorder=4,
                label="wrong track",
            )
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        plain_axes(axes)
    panels[0].set_aspect("equal", adjustable="datalim")
    panels[1].set_ylim(bottom=0)
    if free.any() or wrong.any():
        panels[1].legend(frameon=False, loc="upper right", fontsize=8)
    numbers = f"{len(hits)} hits, {n} tracks, {int(free.sum())} hits on no track"
    if truth is not None:
        numbers += f", {int(wrong.sum())} on a wrong track"
    figure.suptitle(f"{title}: {numbers}" if title else numbers, fontsize=11)
    return save_figure(figure, path)


def track_colours(n: int) -> Array:
    """(n, 3) RGB in [0, 1]: neighbours in number far apart in hue (golden ratio), none pale or grey."""
    rows = [
        colorsys.hls_to_rgb((0.58 + 0.618034 * i) % 1.0, (0.36, 0.46, 0.54)[i % 3], (0.85, 0.75)[i % 2])
        for i in range(n)
    ]
    return np.array(rows, dtype=float).reshape(n, 3)


def _members(tracks: ProtoTracks) -> list[Any]:
    return np.split(tracks.hit_indices, tracks.offsets[1:-1]) if len(tracks) else []


def _wrong_hits(labels: Array, truth: TruthLinks | None) -> Array:
    """(n,) bool: on a track, but not from its majority particle."""
    if truth is None:
        return np.zeros(len(labels), dtype=bool)
    matching = match_tracks(labels, truth.particle_id)
    # Track labels of a collection are 0 .. n - 1; a track of noise only has no majority.
    majority = np.zeros(matching.n_tracks, dtype=np.uint64)
    has = matching.track_particle >= 0
    majority[has] = matching.particle_ids[matching.track_particle[has]]
    on_track = labels >= 0
    wrong = np.zeros(len(labels), dtype=bool)
    mine = truth.particle_id[on_track]
    wrong[on_track] = (mine == 0) | (mine != majority[labels[on_track]])
    return wrong
