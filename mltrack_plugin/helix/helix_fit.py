"""What a fit of helices to tracks gives."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True)
class HelixFit:
    """Result of a fit; rows of tracks that cannot be fitted are NaN, their ndf 0."""

    #: (n_tracks, 5) float64: d0 [mm], z0 [mm], phi, theta, q/p [e/GeV] at the perigee.
    parameters: Array
    #: (n_tracks, 5, 5) float64, same order and units.
    covariance: Array
    #: (n_tracks,) float64.
    chi2: Array
    #: (n_tracks,) int32: 2 x hits - 5.
    ndf: Array
    #: (n_entries,) float64: each hit's share of chi2 (two degrees of freedom); of a Kalman fit, each hit's chi2 given
    #: the other hits.
    hit_chi2: Array

    def columns(self) -> dict[str, Array]:
        """The columns of Tracks that the fit gives."""
        d0, z0, phi, theta, qop = self.parameters.T
        return {
            "d0": d0,
            "z0": z0,
            "phi": phi,
            "theta": theta,
            "qop": qop,
            "covariance": self.covariance,
            "chi2": self.chi2,
            "ndf": self.ndf,
            "hit_chi2": self.hit_chi2,
        }
