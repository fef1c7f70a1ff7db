"""Straight lines y = intercept + slope x in detector planes as track parameters at the perigee.

A line lies in the plane z = 0 (theta = pi / 2, z0 = 0) and does not bend (q/p = 0). Conventions of ACTS, see
:mod:`mltrack_plugin.helix.helix`.
"""

from __future__ import annotations

import numpy as np

from mltrack_plugin.event_data.base import Array


def perigee_of_lines(lines: Array) -> Array:
    """(n, 5) float64 ``(d0, z0, phi, theta, q/p)``, mm and radian.

    Args:
        lines: (n, k >= 2): intercept in mm, slope.
    """
    phi = np.arctan(lines[:, 1])
    zero = np.zeros(len(lines))
    return np.stack([lines[:, 0] * np.cos(phi), zero, phi, zero + np.pi / 2, zero], axis=1)


def perigee_covariances(lines: Array) -> Array:
    """(n, 5, 5) float64: the uncertainties of intercept and slope carried over; z0, theta and q/p are exact.

    Args:
        lines: (n, k >= 5): intercept, slope, their standard deviations and correlation.
    """
    intercept, slope, sigma_intercept, sigma_slope, rho = lines[:, :5].T
    cosine = np.cos(np.arctan(slope))
    # d0 = intercept cos(phi), phi = atan(slope).
    jacobian = np.zeros((len(lines), 5, 2))
    jacobian[:, 0, 0] = cosine
    jacobian[:, 0, 1] = -intercept * slope * cosine**3
    jacobian[:, 2, 1] = cosine**2
    shared = rho * sigma_intercept * sigma_slope
    covariance = np.stack(
        [np.stack([sigma_intercept**2, shared], axis=-1), np.stack([shared, sigma_slope**2], axis=-1)], axis=1
    )
    return np.asarray(jacobian @ covariance @ jacobian.transpose(0, 2, 1))


def azimuth_at_origin(lines: Array, start: float) -> tuple[Array, Array | None]:
    """Azimuth where lines in (distance along the beam, azimuth) pass the origin.

    Args:
        lines: (n, k >= 2): place in the first plane, radian from azimuth -pi, and its change per mm; from k = 5 on
            also their standard deviations and correlation.
        start: distance of the first plane from the origin, mm.

    Returns:
        (n,) float64 in [-pi, pi), and (n,) its standard deviation, or ``None`` without uncertainties.
    """
    azimuth = (lines[:, 0] - start * lines[:, 1]) % (2.0 * np.pi) - np.pi
    if lines.shape[1] < 5:
        return azimuth, None
    sigma_place, sigma_slope, rho = lines[:, 2:5].T
    far = start * sigma_slope
    return azimuth, np.sqrt(sigma_place**2 + far**2 - 2.0 * rho * sigma_place * far)


def azimuth_covariances(sigma: Array) -> Array:
    """(n, 5, 5) float64: the variance of the azimuth; NaN for all that an image of azimuths does not show.

    Args:
        sigma: (n,) radian.
    """
    covariance = np.full((len(sigma), 5, 5), np.nan)
    covariance[:, 2, 2] = sigma**2
    return covariance
