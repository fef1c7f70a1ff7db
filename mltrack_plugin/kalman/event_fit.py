"""Kalman fit of all tracks of an event: parameters at the perigee from the smoothed state at the first hit."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel, uncounted
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.helix.helix import perigee_jacobian, to_perigee
from mltrack_plugin.helix.helix_fit import HelixFit
from mltrack_plugin.kalman.hit_grid import measurements
from mltrack_plugin.kalman.inputs import checked_sigmas, positions_of, straight_track
from mltrack_plugin.kalman.material import Material, material_of
from mltrack_plugin.kalman.state import (
    STATE,
    TRANSPORT,
    path_to_closest,
    propagate,
    record_type,
)
from mltrack_plugin.kalman.track_fit import (
    COT,
    FAR,
    OMEGA,
    PHI,
    FitMemory,
    U,
    W,
    fit_memory,
    fit_track,
    full_matrix,
    smoothed_state,
)

Array = npt.NDArray[Any]

#: A helix at its perigee, see `mltrack_plugin.helix.helix`; its covariance is that of a state there.
HELIX = record_type("d0", "phi", "omega", "z0", "cot")


@kernel
def fit_event(
    positions: Array, sigmas: Array, offsets: Array, indices: Array, material: Material
) -> tuple[Array, Array, Array, Array]:
    """Fit each track and propagate it to its perigee.

    Args:
        positions, sigmas: (n_hits, 3) each, see `measurements`.
        offsets, indices: the tracks, rows of hits.
        material: of the layers.

    Returns:
        (n_tracks,) HELIX; (n_tracks, 5, 5) their covariance; (n_tracks,) chi2; (n_entries,) chi2 of each hit given the
        other hits of its track. NaN where no helix is determined.
    """
    n_tracks = len(offsets) - 1
    longest = 1
    for i in range(n_tracks):
        longest = max(longest, offsets[i + 1] - offsets[i])
    hits, helices = measurements(positions, sigmas), np.empty(n_tracks, HELIX)
    # The memory must be held while the fit works on it without counts of references.
    fit, smoothed, transport = fit_memory(longest), np.zeros(1, STATE), np.zeros(1, TRANSPORT)
    covariance, chi2, hit_chi2 = fit_each(hits, offsets, indices, helices, fit, smoothed, transport, material)
    return helices, covariance, chi2, hit_chi2


@kernel
def fit_each(
    hits: Array,
    offsets: Array,
    indices: Array,
    helices: Array,
    fit: FitMemory,
    smoothed: Array,
    transport: Array,
    material: Material,
) -> tuple[Array, Array, Array]:
    """As `fit_event`, with memory; fills ``helices``."""
    hits, indices, fit = uncounted(hits), uncounted(indices), uncounted(fit)
    state = smoothed[0]
    n_tracks = len(offsets) - 1
    longest = len(fit.path)
    covariance = np.full((n_tracks, 5, 5), np.nan)
    total = np.full(n_tracks, np.nan)
    hit_chi2 = np.full(len(indices), np.nan)
    rows, own = np.empty(longest, dtype=np.int64), np.zeros(longest)
    jacobian, cov = np.zeros((5, 5)), np.zeros((5, 5))
    jacobian[U, U] = jacobian[OMEGA, OMEGA] = jacobian[W, W] = jacobian[COT, COT] = 1.0
    for i in range(n_tracks):
        helix = helices[i]
        helix.d0 = helix.phi = helix.omega = helix.z0 = helix.cot = math.nan
        first, n = offsets[i], offsets[i + 1] - offsets[i]
        if n < 3:
            continue
        for j in range(n):
            rows[j] = indices[first + j]
        chi2 = fit_track(hits, rows, n, fit, own, material)
        if not math.isfinite(chi2):
            continue
        smoothed_state(fit, 0, state)
        s = path_to_closest(state, 0.0, 0.0)
        if not abs(s) < FAR:
            continue
        propagate(state, s, transport[0])
        d0 = state.y * state.cos_phi - state.x * state.sin_phi
        helix.d0, helix.phi, helix.omega = d0, math.atan2(state.sin_phi, state.cos_phi), state.omega
        helix.z0, helix.cot = state.z, state.cot
        # The perigee shifts along the track when the direction changes, if it is not on the axis.
        stretch = 1.0 + state.omega * d0
        jacobian[PHI, PHI] = 1.0 / stretch
        jacobian[W, PHI] = -state.cot * d0 / stretch
        full_matrix(state, cov)
        covariance[i] = jacobian @ cov @ jacobian.T
        total[i] = chi2
        # The fit has put the rows in the order of the track.
        for j in range(n):
            for m in range(n):
                if indices[first + m] == rows[j]:
                    hit_chi2[first + m] = own[j]
    return covariance, total, hit_chi2


def fit_tracks(
    hits: Hits, tracks: Tracks, sigmas: npt.ArrayLike, field_z: float, thickness: float
) -> HelixFit:
    """Kalman filter and smoother over the hits of each track, with scattering and energy loss of a pion at each hit.

    Args:
        hits: of one event.
        tracks: hit indices are rows of ``hits``.
        sigmas: (n, 3) standard deviations of the positions along r-phi, r and z, mm.
        field_z: solenoid field along z, T, not 0.
        thickness: material of a detector layer at normal incidence, radiation lengths.

    Returns:
        parameters at the perigee, their covariance, chi2, and each hit's chi2 given the other hits; tracks with fewer
        than three hits, or that determine no helix, are NaN.

    Raises:
        EventDataError: if the shape or sign of ``sigmas`` is wrong.
        ValueError: if ``field_z`` is 0 or not finite.
    """
    material = material_of(thickness, field_z)
    n = len(tracks)
    helices, covariance, chi2, hit_chi2 = fit_event(
        positions_of(hits),
        checked_sigmas(sigmas, len(hits)),
        np.array(tracks.offsets),
        np.array(tracks.hit_indices),
        material,
    )
    parameters = helices.view(np.float64).reshape(n, 5)
    jacobian = perigee_jacobian(parameters, field_z)
    return HelixFit(
        to_perigee(parameters, field_z),
        jacobian @ covariance @ jacobian.transpose(0, 2, 1),
        chi2,
        np.where(np.isnan(chi2), 0, 2 * np.diff(tracks.offsets) - 5).astype(np.int32),
        hit_chi2,
    )


def warm_up() -> None:
    """Compile the kernels, or load them from disk, on an event of one straight track."""
    hits, sigmas = straight_track()
    group = ProtoTracks.from_labels(np.zeros(len(hits), dtype=np.int64))
    fit_tracks(hits, Tracks.from_candidates(group), sigmas, 2.0, 0.02)
