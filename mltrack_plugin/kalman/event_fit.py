"""Kalman fit of all tracks of an event: parameters at the perigee from the smoothed state at the first hit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel, uncounted
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.following.follow import BEND, THICKNESS
from mltrack_plugin.helix.helix import perigee_jacobian, to_perigee
from mltrack_plugin.helix.helix_fit import HelixFit
from mltrack_plugin.kalman.hit_grid import hit_table
from mltrack_plugin.kalman.inputs import checked_sigmas, positions_of, settings_array, straight_track
from mltrack_plugin.kalman.state import STATE, STEP, move, to_closest
from mltrack_plugin.kalman.track_fit import RECORD, fit_track, smoothed_state

Array = npt.NDArray[Any]


@kernel
def fit_all(
    table: Array, offsets: Array, indices: Array, thickness: float, bend: float
) -> tuple[Array, Array, Array, Array]:
    """Fit each track and move it to its perigee.

    Args:
        table: (n_hits, HIT or more) hits, see `state`.
        offsets, indices: the tracks, rows of ``table``.
        thickness, bend: see `state.cross_material`.

    Returns:
        (n_tracks, 5) d0, phi, omega, z0, cot theta at the perigee; (n_tracks, 5, 5) their covariance; (n_tracks,) chi2;
        (n_entries,) chi2 of each hit given the other hits of its track. NaN where no helix is determined.
    """
    table, indices = uncounted(table), uncounted(indices)
    n_tracks = len(offsets) - 1
    longest = 1
    for i in range(n_tracks):
        longest = max(longest, offsets[i + 1] - offsets[i])
    inner = np.full((n_tracks, 5), np.nan)
    covariance = np.full((n_tracks, 5, 5), np.nan)
    total = np.full(n_tracks, np.nan)
    hit_chi2 = np.full(len(indices), np.nan)
    rows = np.empty(longest, dtype=np.int64)
    records, own, arcs = np.zeros((longest, RECORD)), np.zeros(longest), np.zeros(longest)
    state, scratch, step = np.zeros(STATE), np.zeros(80), np.zeros(STEP)
    jacobian, cov = np.zeros((5, 5)), np.zeros((5, 5))
    for i in range(n_tracks):
        first, n = offsets[i], offsets[i + 1] - offsets[i]
        if n < 3:
            continue
        for j in range(n):
            rows[j] = indices[first + j]
        chi2 = fit_track(table, rows, n, state, records, own, arcs, thickness, bend)
        if not math.isfinite(chi2):
            continue
        smoothed_state(records[0], state, scratch)
        s = to_closest(state, 0.0, 0.0)
        if not abs(s) < 1e5:
            continue
        move(state, s, step)
        x, y, omega, lam = state[0], state[1], state[5], state[6]
        d0 = y * state[3] - x * state[4]
        bend_there = 1.0 + omega * d0
        inner[i, 0], inner[i, 1], inner[i, 2] = d0, math.atan2(state[4], state[3]), omega
        inner[i, 3], inner[i, 4] = state[2], lam
        # The perigee moves along the track when the direction changes, if it is not on the axis.
        for a in range(5):
            for b in range(5):
                jacobian[a, b] = 0.0
        jacobian[0, 0] = jacobian[2, 2] = jacobian[3, 3] = jacobian[4, 4] = 1.0
        jacobian[1, 1] = 1.0 / bend_there
        jacobian[3, 1] = -lam * d0 / bend_there
        k = 8
        for a in range(5):
            for b in range(a, 5):
                cov[a, b] = cov[b, a] = state[k]
                k += 1
        covariance[i] = jacobian @ cov @ jacobian.T
        total[i] = chi2
        # The fit has put the rows in the order of the track.
        for j in range(n):
            for m in range(n):
                if indices[first + m] == rows[j]:
                    hit_chi2[first + m] = own[j]
    return inner, covariance, total, hit_chi2


def fit_tracks(
    hits: Hits, tracks: Tracks, sigmas: npt.ArrayLike, field_z: float, thickness: float = 0.0
) -> HelixFit:
    """Kalman filter and smoother over the hits of each track, with scattering and energy loss of a pion at each hit.

    Args:
        hits: of one event.
        tracks: hit indices are rows of ``hits``.
        sigmas: (n, 3) standard deviations of the positions along r-phi, r and z, mm.
        field_z: solenoid field along z, T, not 0.
        thickness: material of a detector layer at normal incidence, in radiation lengths.

    Returns:
        parameters at the perigee, their covariance, chi2, and each hit's chi2 given the other hits; tracks with fewer
        than three hits, or that determine no helix, are NaN.

    Raises:
        EventDataError: if the hits have no layers, or the shape or sign of ``sigmas`` is wrong.
        ValueError: if ``field_z`` is 0 or not finite.
    """
    settings = settings_array(field_z, thickness=thickness)
    n = len(tracks)
    if not n:
        return HelixFit(
            np.zeros((0, 5)), np.zeros((0, 5, 5)), np.zeros(0), np.zeros(0, dtype=np.int32), np.zeros(0)
        )
    inner, covariance, chi2, hit_chi2 = fit_all(
        hit_table(positions_of(hits), checked_sigmas(sigmas, len(hits))),
        np.array(tracks.offsets),
        np.array(tracks.hit_indices),
        float(settings[THICKNESS]),
        float(settings[BEND]),
    )
    jacobian = perigee_jacobian(inner, field_z)
    return HelixFit(
        to_perigee(inner, field_z),
        jacobian @ covariance @ jacobian.transpose(0, 2, 1),
        chi2,
        np.where(np.isnan(chi2), 0, 2 * np.diff(tracks.offsets) - 5).astype(np.int32),
        hit_chi2,
    )


def warm_up() -> None:
    """Compile the kernels, or load them from disk, on an event of one straight track."""
    hits, sigmas = straight_track()
    group = ProtoTracks.from_labels(np.zeros(len(hits), dtype=np.int64))
    fit_tracks(hits, Tracks.from_candidates(group), sigmas, 2.0)
