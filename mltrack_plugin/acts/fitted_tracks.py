"""Fitted tracks of ACTS as Tracks.

Both sides use perigee parameters in mm, GeV, e and radian with the same signs, so numbers are taken over as
they are: (loc0, loc1, phi, theta, q/p) of ACTS are (d0, z0, phi, theta, qop) here; the fitted time is left
behind. chi2 is single precision in ACTS.

In ACTS several tracks may use a hit, and before ambiguity resolution many do; in :class:`Tracks` a hit is on
one track at most. ``shared="refuse"`` (default) raises; ``shared="best"`` leaves each shared hit on the track
with most measurements, then with the smallest chi2 / ndf, then the first. What that takes away is counted:
nothing vanishes unnoticed. Parameters and chi2 stay those of the full track.

Hits of a track are its measurements. Outliers (states that the fit rejected) are no hits of the track, as in
the truth matching of ACTS; their number and that of the holes come along.
"""

from __future__ import annotations

import dataclasses
from itertools import chain
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mltrack_plugin.acts.whiteboard import ActsEvent
from mltrack_plugin.detectors.acts_geometry import require_acts
from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Tracks

Array = npt.NDArray[Any]
Shared = Literal["refuse", "best"]

#: mm: how far from the origin the reference point may be to count as the origin.
_ORIGIN_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class FittedTracks:
    """Tracks of an ACTS container in canonical order.

    Attributes:
        tracks: with parameters, covariance, chi2 and ndf; NaN where ACTS has no parameters at the perigee.
        source: (n,) int64, position of each track in the container.
        n_outliers: (n,) int32.
        n_holes: (n,) int32.
        shared_hits: hits that were taken from a track because a better one has them, summed over tracks.
        without_hits: tracks of the container that are left with no hit of their own, and so are no tracks here.
    """

    tracks: Tracks
    source: Array
    n_outliers: Array
    n_holes: Array
    shared_hits: int = 0
    without_hits: int = 0


def track_measurements(event: ActsEvent, key: str) -> tuple[Array, Array]:
    """Measurements of the tracks under ``key`` on a whiteboard.

    Returns:
        (n_tracks,) counts and (sum of counts,) measurement indices, both int64.
    """
    acts, examples = require_acts()
    trajectories, lists = f"{key}_trajectories", f"{key}_measurement_lists"
    level = acts.logging.ERROR
    # Whiteboards are written once: a second reader takes what the first has made.
    if lists not in event.keys:
        event.run(
            examples.TracksToTrajectories(level=level, inputTracks=key, outputTrajectories=trajectories)
        )
        event.run(
            examples.TrajectoriesToProtoTracks(
                level=level, inputTrajectories=trajectories, outputProtoTracks=lists
            )
        )
    counts, indices = flat_measurements(event.read(examples.ProtoTrackContainer, lists))
    container = event.read(examples.ConstTrackContainer, key)
    if np.array_equal(counts, container.nMeasurements):
        return counts, indices
    # Trajectories leave out tracks without parameters; a loop over states leaves out none, but takes longer.
    return _looped_measurements(container)


def flat_measurements(proto_tracks: Any) -> tuple[Array, Array]:
    """Counts and measurement indices (int64) of an ``acts.examples.ProtoTrackContainer``."""
    counts = np.fromiter(map(len, proto_tracks), np.int64, len(proto_tracks))
    indices = np.fromiter(chain.from_iterable(proto_tracks), np.int64, int(counts.sum()))
    return counts, indices


def _looped_measurements(container: Any) -> tuple[Array, Array]:
    _, examples = require_acts()
    lists = [
        [
            examples.IndexSourceLink.fromSourceLink(state.uncalibratedSourceLink).index()
            for state in track.trackStatesReversed
            if state.typeFlags.hasMeasurement and not state.typeFlags.isOutlier
        ]
        for track in container
    ]
    return flat_measurements(lists)


def read_fitted_tracks(
    event: ActsEvent, key: str, hit_rows: Array, *, shared: Shared = "refuse"
) -> FittedTracks:
    """The tracks under ``key`` on a whiteboard.

    Args:
        event: the whiteboard.
        key: name of a ``ConstTrackContainer``.
        hit_rows: (n_measurements,) row of Hits of each measurement.
        shared: what to do about hits on several tracks, see above.

    Raises:
        EventDataError: see :func:`fitted_tracks`.
    """
    _, examples = require_acts()
    counts, indices = track_measurements(event, key)
    return fitted_tracks(
        event.read(examples.ConstTrackContainer, key), counts, indices, hit_rows, shared=shared
    )


def fitted_tracks(
    container: Any, counts: Array, measurements: Array, hit_rows: Array, *, shared: Shared = "refuse"
) -> FittedTracks:
    """Tracks of a container.

    Args:
        container: ``acts.examples.ConstTrackContainer``; everything is copied.
        counts: (n_tracks,) measurements of each track.
        measurements: (sum of counts,) measurement indices, track by track.
        hit_rows: (n_measurements,) row of Hits of each measurement.
        shared: what to do about hits on several tracks, see above.

    Raises:
        EventDataError: if tracks share hits and ``shared`` is ``"refuse"``, if the parameters are not at a perigee
            at the origin, or the lists are of other tracks than the container.
    """
    if len(counts) != len(container) or not np.array_equal(counts, container.nMeasurements):
        raise EventDataError(
            f"the measurement lists ({len(counts)} tracks, {counts.sum()} measurements) and the track container "
            f"({len(container)} tracks, {np.sum(container.nMeasurements)} measurements) do not belong together"
        )
    _check_reference(container)
    chi2, ndf = np.array(container.chi2, dtype=np.float64), np.array(container.ndf, dtype=np.int32)
    track = np.repeat(np.arange(len(counts)), counts)
    hits = hit_rows[measurements]
    # Best track first for every hit; the first entry of a hit keeps it.
    with np.errstate(divide="ignore", invalid="ignore"):
        by_quality = np.lexsort((chi2 / ndf, -counts))
    rank = np.empty_like(by_quality)
    rank[by_quality] = np.arange(len(rank))
    order = np.lexsort((rank[track], hits))
    hits, track = hits[order], track[order]
    first = np.r_[True, hits[1:] != hits[:-1]][: len(hits)]
    n_shared = int((~first).sum())
    if n_shared and shared == "refuse":
        raise EventDataError(
            f"{n_shared} hits are on more than one track, and a hit can be on one only; resolve the ambiguities first "
            '(GreedyAmbiguityResolutionAlgorithm with maximumSharedHits=1), or read with shared="best"'
        )
    hits, track = hits[first], track[first]
    source, offsets, hits = _canonical(hits, track)
    return FittedTracks(
        tracks=Tracks(
            offsets=offsets,
            hit_indices=hits,
            chi2=chi2[source],
            ndf=ndf[source],
            **_parameters(container, source),
        ),
        source=source,
        n_outliers=np.array(container.nOutliers, dtype=np.int32)[source],
        n_holes=np.array(container.nHoles, dtype=np.int32)[source],
        shared_hits=n_shared,
        without_hits=len(counts) - len(source),
    )


def _canonical(hits: Array, track: Array) -> tuple[Array, Array, Array]:
    """Tracks by their smallest hit: their numbers, offsets, and hits ascending within each.

    Args:
        hits: (n,) ascending.
        track: (n,) track of each.
    """
    source, smallest, counts = np.unique(track, return_index=True, return_counts=True)
    order = np.argsort(smallest)
    position = np.empty_like(order)
    position[order] = np.arange(len(order))
    by_track = np.argsort(position[np.searchsorted(source, track)], kind="stable")
    offsets = np.concatenate([[0], np.cumsum(counts[order])]).astype(np.int64)
    return source[order], offsets, hits[by_track]


def _parameters(container: Any, source: Array) -> dict[str, Array]:
    """Columns d0 ... qop and covariance of the tracks ``source``; NaN where there are none."""
    parameters = np.array(container.parameters, dtype=np.float64).reshape(-1, 6)[source, :5]
    covariance = np.array(container.covariance, dtype=np.float64).reshape(-1, 6, 6)[source, :5, :5]
    # The container's arrays hold anything for a track that was never extrapolated to a reference.
    fitted = np.fromiter((t.hasReferenceSurface for t in container), bool, len(container))[source]
    parameters[~fitted] = np.nan
    covariance[~fitted] = np.nan
    d0, z0, phi, theta, qop = parameters.T
    # -pi is the same direction, outside the half-open range of Tracks.
    phi = np.where(phi == -np.pi, np.pi, phi)
    return {"d0": d0, "z0": z0, "phi": phi, "theta": theta, "qop": qop, "covariance": covariance}


def _check_reference(container: Any) -> None:
    """One algorithm extrapolates all its tracks to one surface: the first that has any tells."""
    acts, _ = require_acts()
    track = next((t for t in container if t.hasReferenceSurface), None)
    if track is None:
        return
    surface = track.referenceSurface
    center = surface.center(acts.GeometryContext.dangerouslyDefaultConstruct())
    away = max(abs(center[axis]) for axis in range(3))
    if not isinstance(surface, acts.PerigeeSurface) or away > _ORIGIN_TOLERANCE:
        raise EventDataError(
            f"the track parameters are given at a {type(surface).__name__} at "
            f"({center[0]:g}, {center[1]:g}, {center[2]:g}) mm; Tracks have theirs at the perigee with respect to "
            "the origin: let the fit extrapolate to acts.Surface.createPerigee(acts.Vector3(0, 0, 0))"
        )
