"""Residuals and pulls of predicted hits, layer by layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.published.heptrkx.graphs.construct import wrapped
from mltrack_plugin.published.heptrkx.sequences.barrel import N_LAYERS, HitSequences

Array = npt.NDArray[Any]

#: First layer whose prediction knows the track's direction: with one hit alone z is known to centimetres.
FIRST_DIRECTED_LAYER = 2
#: Tracks that are predicted at a time.
_BATCH = 4096


@dataclasses.dataclass(frozen=True)
class Residuals:
    """Hit minus prediction; columns are the layers 1 ... N_LAYERS - 1, NaN where the track has no hit.

    Attributes:
        rphi: (n, N_LAYERS - 1) float64, mm.
        z: (n, N_LAYERS - 1) float64, mm.
        pull_phi: (n, N_LAYERS - 1) float64, residual over predicted standard deviation; None without a covariance.
        pull_z: the same of z.
    """

    rphi: Array
    z: Array
    pull_phi: Array | None
    pull_z: Array | None

    def columns(self) -> dict[str, Array]:
        """Name -> column, of those that there are."""
        found = {"rphi": self.rphi, "z": self.z, "pull_phi": self.pull_phi, "pull_z": self.pull_z}
        return {name: values for name, values in found.items() if values is not None}


class Spread(NamedTuple):
    """Mean and widths of a sample, with standard errors.

    Attributes:
        n: entries.
        mean: mean.
        mean_error: its standard error.
        rms: standard deviation.
        rms_error: its standard error, from the sample's fourth moment.
        core: half the width of the central 68.27%: the standard deviation of a Gaussian.
    """

    n: int
    mean: float
    mean_error: float
    rms: float
    rms_error: float
    core: float


def predict_residuals(sequences: HitSequences, predict: Callable[[Array], Array]) -> Residuals:
    """Predict each hit from the hits before it.

    Args:
        sequences: tracks along the barrel layers.
        predict: (b, N_LAYERS - 1, 3) hits -> (b, N_LAYERS - 1, K): phi, z, and for K = 5 the covariance, as the hit
            predictors return them.
    """
    hits = sequences.hits
    parts = [predict(hits[i : i + _BATCH, :-1]) for i in range(0, len(hits), _BATCH)]
    found = np.concatenate(parts).astype(np.float64) if parts else np.zeros((0, N_LAYERS - 1, 5))
    there = sequences.mask[:, 1:]
    dphi = np.where(there, wrapped(hits[:, 1:, 1].astype(np.float64) - found[..., 0]), np.nan)
    dz = np.where(there, hits[:, 1:, 2] - found[..., 1], np.nan)
    gaussian = found.shape[-1] == 5
    return Residuals(
        rphi=dphi * hits[:, 1:, 0],
        z=dz,
        pull_phi=dphi / np.sqrt(found[..., 2]) if gaussian else None,
        pull_z=dz / np.sqrt(found[..., 4]) if gaussian else None,
    )


def spread(values: Array) -> Spread:
    """Mean and widths of the finite entries; NaN where there are fewer than two."""
    x = values[np.isfinite(values)]
    n = len(x)
    if n < 2:
        return Spread(n, *[float("nan")] * 5)
    mean, rms = float(x.mean()), float(x.std())
    fourth = float(((x - mean) ** 4).mean())
    # Variance of the sample variance is (m4 - s^4) / n; the square root halves the relative error.
    rms_error = 0.5 * np.sqrt(max(fourth - rms**4, 0.0) / n) / rms if rms > 0 else 0.0
    low, high = np.percentile(x, [15.865, 84.135])
    return Spread(n, mean, rms / np.sqrt(n), rms, float(rms_error), float(high - low) / 2.0)


def per_layer(residuals: Residuals) -> list[dict[str, Spread]]:
    """For each of the layers 1 ... N_LAYERS - 1, the spread of every column."""
    columns = residuals.columns()
    return [{name: spread(values[:, k]) for name, values in columns.items()} for k in range(N_LAYERS - 1)]


def directed(residuals: Residuals) -> dict[str, Spread]:
    """The spread of every column over all layers from FIRST_DIRECTED_LAYER on."""
    first = FIRST_DIRECTED_LAYER - 1
    return {name: spread(values[:, first:]) for name, values in residuals.columns().items()}
