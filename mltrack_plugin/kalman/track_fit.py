"""Fit of one track: a forward filter and a backward recursion that gives every hit's chi2 given all the others.

The start comes from the circle fit of `start`. The backward recursion is that of P. de Jong (Biometrika 76 (1989) 79):
no covariance is inverted, and a hit's residual from the fit without it comes for free.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import kernel
from mltrack_plugin.kalman.material import Material, cross_layer
from mltrack_plugin.kalman.start import start_state
from mltrack_plugin.kalman.state import (
    COVARIANCE,
    GAIN,
    STATE,
    TRANSPORT,
    Record,
    chi2_of,
    copy_state,
    path_to_closest,
    propagate,
    record_type,
    shift,
    update,
)

Array = npt.NDArray[Any]

#: What the hits from some hit on say of the state predicted there: gradient and curvature of their log-likelihood.
ADJOINT = record_type("u", "phi", "omega", "w", "cot", *COVARIANCE)
#: Order of the parameters in full vectors and matrices.
U, PHI, OMEGA, W, COT = range(5)
#: Path length beyond which a hit has nothing to do with a state, mm.
FAR = 1e5


class FitMemory(NamedTuple):
    """Records of the fit of one track, one of each kind per hit in the order of the track; and scratch memory."""

    #: (n,) STATE, predicted at each hit from the hits before it.
    predicted: Array
    #: (n,) TRANSPORT, of the propagation to each hit.
    transport: Array
    #: (n,) GAIN, of the update with each hit.
    gain: Array
    #: (n,) ADJOINT.
    adjoint: Array
    #: (n,) path lengths from the start to the hits, mm.
    path: Array
    #: (1,) STATE after the last hit.
    filtered: Array
    #: (5, 5) each, and (5,): a covariance, an adjoint matrix, their product, a vector.
    covariance: Array
    curvature: Array
    product: Array
    change: Array


@kernel
def fit_memory(most_hits: int) -> FitMemory:
    """Memory for tracks of so many hits or fewer."""
    return FitMemory(
        np.zeros(most_hits, STATE),
        np.zeros(most_hits, TRANSPORT),
        np.zeros(most_hits, GAIN),
        np.zeros(most_hits, ADJOINT),
        np.zeros(most_hits),
        np.zeros(1, STATE),
        np.zeros((5, 5)),
        np.zeros((5, 5)),
        np.zeros((5, 5)),
        np.zeros(5),
    )


@kernel
def filter_forward(hits: Array, rows: Array, n: int, fit: FitMemory, material: Material) -> float:
    """Filter hits in order, starting from ``fit.filtered`` near the first, which ends behind the last.

    Fills ``predicted``, ``transport`` and ``gain``.

    Returns:
        chi2 of the track; not finite if the filter failed.
    """
    state = fit.filtered[0]
    total = 0.0
    for i in range(n):
        hit = hits[rows[i]]
        s = path_to_closest(state, hit.x, hit.y)
        if not abs(s) < FAR:
            return math.inf
        propagate(state, s, fit.transport[i])
        copy_state(state, fit.predicted[i])
        total += update(state, hit, fit.gain[i])
        cross_layer(state, material, False)
    return total


@kernel
def transported_back(
    transport: Record, ru: float, rf: float, ro: float, rw: float, rl: float
) -> tuple[float, float, float, float, float]:
    """F^T r for the transport Jacobian F."""
    return (
        transport.cos_turn * ru + transport.phi_u * rf + transport.w_u * rw,
        transport.u_phi * ru + transport.cos_turn * rf + transport.w_phi * rw,
        transport.u_omega * ru + transport.u_phi * rf + ro + transport.w_omega * rw,
        rw,
        transport.path * rw + rl,
    )


@kernel
def smooth_backward(fit: FitMemory, n: int, hit_chi2: Array) -> None:
    """Backward recursion over the records of `filter_forward`.

    Fills ``adjoint``, and ``hit_chi2`` (>= n,) with the chi2 of each hit's residual from the fit to all other hits (two
    degrees of freedom).
    """
    # Gradient r and curvature N in the order u, phi, omega, w, cot; numbers keep the formulas short.
    r0 = r1 = r2 = r3 = r4 = 0.0
    n00 = n01 = n02 = n03 = n04 = n11 = n12 = n13 = n14 = n22 = n23 = n24 = n33 = n34 = n44 = 0.0
    for i in range(n - 1, -1, -1):
        g = fit.gain[i]
        u0, u1, u2, u3, u4 = g.u_u, g.phi_u, g.omega_u, g.w_u, g.cot_u
        w0, w1, w2, w3, w4 = g.u_w, g.phi_w, g.omega_w, g.w_w, g.cot_w
        # N K, K^T N K, K^T r.
        a0 = n00 * u0 + n01 * u1 + n02 * u2 + n03 * u3 + n04 * u4
        a1 = n01 * u0 + n11 * u1 + n12 * u2 + n13 * u3 + n14 * u4
        a2 = n02 * u0 + n12 * u1 + n22 * u2 + n23 * u3 + n24 * u4
        a3 = n03 * u0 + n13 * u1 + n23 * u2 + n33 * u3 + n34 * u4
        a4 = n04 * u0 + n14 * u1 + n24 * u2 + n34 * u3 + n44 * u4
        b0 = n00 * w0 + n01 * w1 + n02 * w2 + n03 * w3 + n04 * w4
        b1 = n01 * w0 + n11 * w1 + n12 * w2 + n13 * w3 + n14 * w4
        b2 = n02 * w0 + n12 * w1 + n22 * w2 + n23 * w3 + n24 * w4
        b3 = n03 * w0 + n13 * w1 + n23 * w2 + n33 * w3 + n34 * w4
        b4 = n04 * w0 + n14 * w1 + n24 * w2 + n34 * w3 + n44 * w4
        duu = g.inverse_uu + u0 * a0 + u1 * a1 + u2 * a2 + u3 * a3 + u4 * a4
        duw = g.inverse_uw + w0 * a0 + w1 * a1 + w2 * a2 + w3 * a3 + w4 * a4
        dww = g.inverse_ww + w0 * b0 + w1 * b1 + w2 * b2 + w3 * b3 + w4 * b4
        u, w = g.residual_u, g.residual_w
        eu = g.inverse_uu * u + g.inverse_uw * w - (u0 * r0 + u1 * r1 + u2 * r2 + u3 * r3 + u4 * r4)
        ew = g.inverse_uw * u + g.inverse_ww * w - (w0 * r0 + w1 * r1 + w2 * r2 + w3 * r3 + w4 * r4)
        hit_chi2[i] = chi2_of(eu, ew, duu, duw, dww)
        # Back through the update.
        r0 += eu
        r3 += ew
        n00 += duu - 2.0 * a0
        n01 -= a1
        n02 -= a2
        n03 += duw - a3 - b0
        n04 -= a4
        n13 -= b1
        n23 -= b2
        n33 += dww - 2.0 * b3
        n34 -= b4
        own = fit.adjoint[i]
        own.u, own.phi, own.omega, own.w, own.cot = r0, r1, r2, r3, r4
        own.u_u, own.u_phi, own.u_omega, own.u_w, own.u_cot = n00, n01, n02, n03, n04
        own.phi_phi, own.phi_omega, own.phi_w, own.phi_cot = n11, n12, n13, n14
        own.omega_omega, own.omega_w, own.omega_cot = n22, n23, n24
        own.w_w, own.w_cot, own.cot_cot = n33, n34, n44
        # Back through the propagation.
        f = fit.transport[i]
        r0, r1, r2, r3, r4 = transported_back(f, r0, r1, r2, r3, r4)
        m00, m10, m20, m30, _ = transported_back(f, n00, n01, n02, n03, n04)
        m01, m11, m21, m31, _ = transported_back(f, n01, n11, n12, n13, n14)
        m02, m12, m22, m32, _ = transported_back(f, n02, n12, n22, n23, n24)
        m03, m13, m23, m33, m43 = transported_back(f, n03, n13, n23, n33, n34)
        m04, m14, m24, m34, m44 = transported_back(f, n04, n14, n24, n34, n44)
        n00, n01, n02, n03, n04 = transported_back(f, m00, m01, m02, m03, m04)
        _, n11, n12, n13, n14 = transported_back(f, m10, m11, m12, m13, m14)
        _, _, n22, n23, n24 = transported_back(f, m20, m21, m22, m23, m24)
        _, _, _, n33, n34 = transported_back(f, m30, m31, m32, m33, m34)
        n44 = f.path * m43 + m44


@kernel
def full_matrix(upper: Record, matrix: Array) -> None:
    """Fill a symmetric (5, 5) matrix from the fields of its upper triangle."""
    matrix[U, U] = upper.u_u
    matrix[U, PHI] = matrix[PHI, U] = upper.u_phi
    matrix[U, OMEGA] = matrix[OMEGA, U] = upper.u_omega
    matrix[U, W] = matrix[W, U] = upper.u_w
    matrix[U, COT] = matrix[COT, U] = upper.u_cot
    matrix[PHI, PHI] = upper.phi_phi
    matrix[PHI, OMEGA] = matrix[OMEGA, PHI] = upper.phi_omega
    matrix[PHI, W] = matrix[W, PHI] = upper.phi_w
    matrix[PHI, COT] = matrix[COT, PHI] = upper.phi_cot
    matrix[OMEGA, OMEGA] = upper.omega_omega
    matrix[OMEGA, W] = matrix[W, OMEGA] = upper.omega_w
    matrix[OMEGA, COT] = matrix[COT, OMEGA] = upper.omega_cot
    matrix[W, W] = upper.w_w
    matrix[W, COT] = matrix[COT, W] = upper.w_cot
    matrix[COT, COT] = upper.cot_cot


@kernel
def smoothed_state(fit: FitMemory, i: int, state: Record) -> None:
    """State at hit i of the track from all its hits, into ``state``."""
    predicted, adjoint = fit.predicted[i], fit.adjoint[i]
    copy_state(predicted, state)
    p, q, pq, change = fit.covariance, fit.curvature, fit.product, fit.change
    full_matrix(predicted, p)
    full_matrix(adjoint, q)
    for a in range(5):
        for b in range(5):
            element = 0.0
            for c in range(5):
                element += p[a, c] * q[b, c]
            pq[a, b] = element
        change[a] = 0.0
        change[a] += p[a, U] * adjoint.u
        change[a] += p[a, PHI] * adjoint.phi
        change[a] += p[a, OMEGA] * adjoint.omega
        change[a] += p[a, W] * adjoint.w
        change[a] += p[a, COT] * adjoint.cot
    # The loss of covariance, P N P, takes the place of N.
    for a in range(5):
        for b in range(a, 5):
            element = 0.0
            for c in range(5):
                element += pq[a, c] * p[b, c]
            q[a, b] = element
    state.u_u -= q[U, U]
    state.u_phi -= q[U, PHI]
    state.u_omega -= q[U, OMEGA]
    state.u_w -= q[U, W]
    state.u_cot -= q[U, COT]
    state.phi_phi -= q[PHI, PHI]
    state.phi_omega -= q[PHI, OMEGA]
    state.phi_w -= q[PHI, W]
    state.phi_cot -= q[PHI, COT]
    state.omega_omega -= q[OMEGA, OMEGA]
    state.omega_w -= q[OMEGA, W]
    state.omega_cot -= q[OMEGA, COT]
    state.w_w -= q[W, W]
    state.w_cot -= q[W, COT]
    state.cot_cot -= q[COT, COT]
    shift(state, change[U], change[PHI], change[OMEGA], change[W], change[COT])


@kernel
def fit_track(hits: Array, rows: Array, n: int, fit: FitMemory, hit_chi2: Array, material: Material) -> float:
    """Order the hits of a track, filter and smooth them.

    Args:
        hits: (n_hits,) MEASUREMENT.
        rows: the first ``n`` (3 or more) are rows of ``hits``; they are put in order.
        fit: receives the records of the fit.
        hit_chi2: (>= n,) receives each hit's chi2 given the other hits.
        material: of the layers.

    Returns:
        chi2 (2 n - 5 degrees of freedom); infinite if the hits determine no helix.
    """
    if not start_state(hits, rows, n, fit.filtered[0], fit.path):
        return math.inf
    total = filter_forward(hits, rows, n, fit, material)
    if not math.isfinite(total):
        return math.inf
    smooth_backward(fit, n, hit_chi2)
    return total
