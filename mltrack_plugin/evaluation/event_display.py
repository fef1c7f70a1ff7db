"""Event display: hits and tracks of one event in the x-y and the r-z plane. Needs the extra ``[plot]``."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mltrack_plugin.errors import ConfigurationError, require_extra
from mltrack_plugin.evaluation.figures import new_figure, plain_axes, save_figure
from mltrack_plugin.evaluation.matching import Array, match_tracks
from mltrack_plugin.event_data.tracks import Tracks

if TYPE_CHECKING:
    from mltrack_plugin.detectors import Detector
    from mltrack_plugin.event_data import Hits, ProtoTracks, TruthLinks

#: Tracks for which lines and points have their full size; for more they get thinner and more transparent.
_FULL_SIZE = 25
_OUTLINE, _NOISE, _FREE = "0.82", "0.72", "0.35"


def draw_event(
    hits: Hits,
    tracks: ProtoTracks,
    path: Path | str,
    truth: TruthLinks | None = None,
    title: str = "",
    detector: Detector | None = None,
    min_pt: float = 0.0,
) -> Path:
    """Draw one event: tracks in colours, hits on no track grey, the layers of the detector behind them.

    Args:
        hits: (n,) hits.
        tracks: track candidates or tracks of these hits; they may be empty.
        path: picture to write; the format follows the suffix (.png, .pdf, .svg).
        truth: with it, hits of noise are a lighter grey than others on no track, and hits on a track whose majority is
            another particle are circled.
        title: put above the numbers of the event.
        detector: whose layers are outlined; ``None`` = none.
        min_pt: tracks of a smaller fitted transverse momentum, GeV, are left out, with their hits.

    Returns:
        The path.

    Raises:
        ConfigurationError: if there is a cut on pT and the tracks have no fit.
        OutputError: if the picture cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    figure = new_figure(11, 5.6)
    collections = require_extra("matplotlib.collections", "plot", "drawing figures")
    labels = tracks.labels(len(hits))
    shown = _above(tracks, min_pt)
    noise = np.zeros(len(hits), dtype=bool) if truth is None else (truth.particle_id == 0) & (labels < 0)
    free = (labels < 0) & ~noise
    on_shown = np.append(shown, False)[labels]
    wrong = _wrong_hits(labels, truth) & on_shown
    x, y, z, r = (np.asarray(c, dtype=float) for c in (hits.x, hits.y, hits.z, hits.r))
    n = int(shown.sum())
    colours = track_colours(len(tracks))
    scale = min(1.0, (_FULL_SIZE / max(n, 1)) ** 0.5)
    # Hits ordered outwards give the line of a track.
    distance = np.hypot(r, z)
    members = [m for m, show in zip(_members(tracks), shown, strict=True) if show]
    lines = [m[np.argsort(distance[m], kind="stable")] for m in members]
    planes = (("x [mm]", x, "y [mm]", y), ("z [mm]", z, "r [mm]", r))
    panels = figure.subplots(1, 2)
    for axes, (x_label, first, y_label, second) in zip(panels, planes, strict=True):
        if detector is not None:
            outlines = layer_outlines(detector, transverse=x_label.startswith("x"))
            axes.add_collection(
                collections.LineCollection(outlines, colors=_OUTLINE, linewidths=0.6, zorder=0)
            )
        for group, grey, text in ((noise, _NOISE, "noise"), (free, _FREE, "on no track")):
            if group.any():
                axes.scatter(
                    first[group], second[group], s=2 + 5 * scale, color=grey, linewidths=0, label=text
                )
        axes.add_collection(
            collections.LineCollection(
                [np.column_stack([first[m], second[m]]) for m in lines],
                colors=colours[shown],
                linewidths=0.35 + 0.75 * scale,
                alpha=0.35 + 0.4 * scale,
            )
        )
        axes.scatter(
            first[on_shown],
            second[on_shown],
            s=1 + 11 * scale,
            c=colours[labels[on_shown]],
            alpha=0.5 + 0.5 * scale,
            linewidths=0,
            zorder=3,
        )
        if wrong.any():
            axes.scatter(
                first[wrong],
                second[wrong],
                s=8 + 40 * scale,
                facecolors="none",
                edgecolors="black",
                linewidths=0.8 * scale,
                zorder=4,
                label="wrong track",
            )
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        plain_axes(axes)
        if detector is not None:
            # The outlines take the place of the grid.
            axes.grid(visible=False)
            axes.autoscale_view()
    panels[0].set_aspect("equal", adjustable="datalim")
    panels[1].set_ylim(bottom=0)
    if free.any() or wrong.any() or noise.any():
        # Beside the panels, where it hides no hit.
        figure.legend(
            *panels[1].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=3,
            frameon=False,
            fontsize=8,
            markerscale=1.5,
        )
    numbers = f"{len(hits)} hits, {n} tracks"
    if min_pt:
        numbers += f" of pT >= {min_pt:g} GeV ({len(tracks) - n} below)"
    numbers += f", {int(free.sum())} hits on no track"
    if truth is not None:
        numbers += f", {int(wrong.sum())} on a wrong track, {int(noise.sum())} of noise on none"
    figure.suptitle(f"{title}: {numbers}" if title else numbers, fontsize=10)
    return save_figure(figure, path)


def layer_outlines(detector: Detector, transverse: bool) -> list[Array]:
    """Lines (k, 2), mm, that outline the layers of a detector.

    Args:
        detector: the detector.
        transverse: in (x, y), where barrels are circles and discs are left out; else in (z, r).
    """
    turn = np.linspace(0, 2 * np.pi, 181)
    lines = []
    for kind, at, (low, high) in zip(
        detector.layers.kind, detector.layers.at, detector.layers.extent, strict=True
    ):
        if kind == "barrel":
            circle = np.column_stack([at * np.cos(turn), at * np.sin(turn)])
            lines.append(circle if transverse else np.array([[low, at], [high, at]]))
        elif (kind == "disc" and not transverse) or (kind == "plane" and transverse):
            lines.append(np.array([[at, low], [at, high]]))
    return lines


def _above(tracks: ProtoTracks, min_pt: float) -> Array:
    """(n_tracks,) bool: at least this pT; a track without a fit has none and stays out of any cut."""
    if not min_pt:
        return np.ones(len(tracks), dtype=bool)
    if not isinstance(tracks, Tracks) or (len(tracks) and not tracks.fitted.any()):
        raise ConfigurationError(
            "a cut on pT needs tracks with fitted parameters, which these do not have; leave --min-pt out"
        )
    return np.asarray(tracks.pt >= min_pt)


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
