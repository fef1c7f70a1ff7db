"""Residuals and pulls of fitted tracks against the true perigee parameters of their particles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mltrack_plugin.evaluation.comparison.truth import EventTruth
from mltrack_plugin.evaluation.comparison.widths import N_BINS, bin_of, difference, width
from mltrack_plugin.evaluation.summary import ETA_EDGES, PT_EDGES, bin_index
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.file_tracks import FileTracks
from mltrack_plugin.helix.helix import wrap_angle

#: Name -> unit. The last one is the residual of q/pT times the true pT, the relative resolution of pT.
PARAMETERS = {
    "d0": "mm",
    "z0": "mm",
    "phi": "rad",
    "theta": "rad",
    "q_over_pt": "1/GeV",
    "relative_pt": "",
}
#: Parameters that have a pull: the pull of the last one is that of q/pT.
PULLS = tuple(PARAMETERS)[:5]
#: Variables, true values of the particle, against which widths are given.
AGAINST = {"pt": PT_EDGES, "eta": ETA_EDGES}


class Residuals:
    """Histograms of residuals (fit minus truth) and pulls (residual over the fit's error)."""

    def __init__(self) -> None:
        self._residual: Array = np.zeros((len(PARAMETERS), N_BINS), dtype=np.int64)
        self._pull: Array = np.zeros((len(PULLS), N_BINS), dtype=np.int64)
        self._against = {
            name: np.zeros((len(edges) - 1, len(PARAMETERS), N_BINS), dtype=np.int64)
            for name, edges in AGAINST.items()
        }

    def add(self, tracks: FileTracks, rows: Array, particles: Array, truth: EventTruth) -> None:
        """Add tracks of an event.

        Args:
            tracks: the tracks.
            rows: (n,) those to add, all with a fit.
            particles: (n,) their particles, as rows of ``truth``; unknown parameters are left out.
            truth: the event's particles.
        """
        true = truth.perigee[particles]
        known = np.flatnonzero(np.isfinite(true).all(axis=1))
        if not len(known):
            return
        true, fit, particles = true[known], tracks.perigee[rows[known]], particles[known]
        residual = np.empty((len(known), len(PARAMETERS)))
        residual[:, :4] = fit[:, :4] - true[:, :4]
        residual[:, 2] = wrap_angle(residual[:, 2])
        true_q_over_pt = true[:, 4] / np.sin(true[:, 3])
        residual[:, 4] = fit[:, 4] / np.sin(fit[:, 3]) - true_q_over_pt
        residual[:, 5] = residual[:, 4] / true_q_over_pt
        self._fill(self._residual, residual)
        for name, edges in AGAINST.items():
            index = bin_index(truth.values[name][particles], edges)
            inside = np.flatnonzero(index < len(edges) - 1)
            np.add.at(
                self._against[name],
                (index[inside, None], np.arange(len(PARAMETERS)), bin_of(residual[inside])),
                1,
            )
        if tracks.covariance is not None:
            error = standard_errors(fit, tracks.covariance[rows[known]])
            good = (np.isfinite(error) & (error > 0)).all(axis=1)
            self._fill(self._pull, residual[good, :5] / error[good])

    @staticmethod
    def _fill(table: Array, values: Array) -> None:
        for row, column in zip(table, values.T, strict=True):
            row += np.bincount(bin_of(column), minlength=N_BINS)

    def result(self) -> dict[str, Any]:
        """``residuals``, ``pulls`` and ``against``: widths with their intervals, and coarse histograms."""
        return {
            "residuals": {
                name: {"unit": unit, **width(row)._asdict()}
                for (name, unit), row in zip(PARAMETERS.items(), self._residual, strict=True)
            },
            "pulls": {name: width(row)._asdict() for name, row in zip(PULLS, self._pull, strict=True)},
            "against": {
                variable: {
                    "edges": list(AGAINST[variable]),
                    **{
                        name: [width(row)._asdict() for row in table[:, i]]
                        for i, name in enumerate(PARAMETERS)
                    },
                }
                for variable, table in self._against.items()
            },
            "histograms": {
                "residuals": dict(zip(PARAMETERS, map(_sparse, self._residual), strict=True)),
                "pulls": dict(zip(PULLS, map(_sparse, self._pull), strict=True)),
            },
        }


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """First minus second of what `Residuals.result` gives: biases and widths of ``residuals`` and ``pulls``."""
    return {
        kind: {
            name: {
                quantity: difference(first[kind][name], second[kind][name], quantity)
                for quantity in ("bias", "width")
            }
            for name in first[kind]
        }
        for kind in ("residuals", "pulls")
    }


def standard_errors(perigee: Array, covariance: Array) -> Array:
    """(n, 5) errors of d0, z0, phi, theta and q/pT from perigee parameters and their covariance.

    The error of q/pT takes the correlation of theta and q/p into account.

    Args:
        perigee: (n, 5) d0, z0, phi, theta, q/p.
        covariance: (n, 5, 5).
    """
    theta, qop = perigee[:, 3], perigee[:, 4]
    by_theta = -qop * np.cos(theta) / np.sin(theta) ** 2
    by_qop = 1 / np.sin(theta)
    variance = np.diagonal(covariance, axis1=1, axis2=2).copy()
    variance[:, 4] = (
        by_theta**2 * covariance[:, 3, 3]
        + 2 * by_theta * by_qop * covariance[:, 3, 4]
        + by_qop**2 * covariance[:, 4, 4]
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(np.sqrt(variance))


def _sparse(counts: Array) -> dict[str, list[int]]:
    """Filled bins of `widths.EDGES`."""
    filled = np.flatnonzero(counts)
    return {"bin": filled.tolist(), "count": counts[filled].tolist()}
