"""Track candidates that grow from seeds, layer by layer, steered by a predictor of the next hit.

The use of the HEP.TrkX Gaussian hit predictor that its authors had begun: a combinatorial search as in a Kalman filter,
with the network in place of the filter. All candidates of an event take a step together: the network predicts a
Gaussian on the next layer for each, hits within the gate of its covariance continue the candidate, several hits make
branches. A candidate without a hit in its gate gets a hole and goes on from the predicted point.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mltrack_plugin.published.heptrkx.graphs.construct import connect
from mltrack_plugin.published.heptrkx.sequences.barrel import N_LAYERS
from mltrack_plugin.published.heptrkx.sequences.windows import LayerHits, best_of_group, gate, log_volume
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]
#: (c, t, 3) float32 hits of candidates on the first t layers -> (c, t, 5) float32 Gaussians on the next layer each.
Predictor = Callable[[Array], Array]

#: Hits of a seed: one on each of the two innermost layers.
SEED_HITS = 2
#: Spread of hits around the predictions of lstm-hit-predictor in r phi and z, mm: on layer 1, before it knows a
#: direction, then on pixels, short strips and long strips.
HIT_SPREAD = ((0.4, 60.0), *((0.09, 0.35),) * 2, *((0.2, 1.2),) * 4, *((0.36, 3.4),) * 2)


class BuilderConfig(Config):
    """Settings of the search."""

    seed_dphi: float = Field(0.03, gt=0, le=3.1)
    """Largest difference in azimuth between the two hits of a seed, rad; 0.03 is a particle of 0.4 GeV in 2 T."""
    seed_z0: float = Field(250.0, gt=0)
    """Largest absolute z at which the line through a seed crosses the beam axis, mm."""
    gate: float = Field(20.0, gt=0, allow_inf_nan=False)
    """Largest squared Mahalanobis distance of a hit from its prediction; 20 keeps 99.995% of Gaussian hits."""
    branches: int = Field(3, ge=1)
    """Hits of a layer that may continue one candidate."""
    candidates_per_seed: int = Field(5, ge=1)
    """Candidates of a seed that go on to the next layer."""
    max_holes: int = Field(1, ge=0)
    """Layers in a row without a hit after which a candidate ends."""


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Track candidates of one event.

    Attributes:
        seed: (c,) int64, which seed a candidate grew from.
        hits: (c, N_LAYERS, 3) float32, (r [mm], phi [rad], z [mm]); the predicted point at a hole, 0 beyond the end.
        rows: (c, N_LAYERS) int64, rows of the event's hits; -1 at holes and beyond the end.
        distance: (c, N_LAYERS) float64, squared Mahalanobis distance from the prediction; 0 for seeds, the gate at
            holes, 0 beyond the end.
        log_likelihood: (c,) float64, sum over the steps of the log density of the hits in (r phi, z), mm^-2; a hole
            counts as a hit at the edge of the gate.
        holes: (c,) int64, holes since the last hit.
    """

    seed: Array
    hits: Array
    rows: Array
    distance: Array
    log_likelihood: Array
    holes: Array

    def __len__(self) -> int:
        return len(self.seed)

    def take(self, which: Array) -> Candidates:
        """Some of the candidates, by rows or mask; copies."""
        return Candidates(*(getattr(self, field.name)[which] for field in dataclasses.fields(self)))

    @staticmethod
    def join(parts: Sequence[Candidates]) -> Candidates:
        """One or more sets as one."""
        names = [field.name for field in dataclasses.fields(Candidates)]
        return Candidates(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @property
    def n_hits(self) -> Array:
        """(c,) int64."""
        return np.asarray((self.rows >= 0).sum(axis=1))

    @property
    def length(self) -> Array:
        """(c,) int64: layers up to the last hit."""
        return np.asarray(N_LAYERS - np.argmax((self.rows >= 0)[:, ::-1], axis=1))


def seeds(values: Array, layer: Array, settings: BuilderConfig) -> Candidates:
    """Pairs of hits on the two innermost layers that point to the beam line.

    Args:
        values: (n, 3): r [mm], phi [rad], z [mm].
        layer: (n,) barrel layers; -1 = elsewhere.
        settings: of the search.
    """
    r, phi, z = values.T
    pairs = connect(
        layer, r, phi, z, [(0, 1)], max_dphi=settings.seed_dphi, max_dz=np.inf, max_z0=settings.seed_z0
    )
    n = pairs.shape[1]
    hits = np.zeros((n, N_LAYERS, 3), dtype=np.float32)
    rows = np.full((n, N_LAYERS), -1, dtype=np.int64)
    hits[:, :SEED_HITS], rows[:, :SEED_HITS] = values[pairs.T], pairs.T
    return Candidates(
        np.arange(n), hits, rows, np.zeros((n, N_LAYERS)), np.zeros(n), np.zeros(n, dtype=np.int64)
    )


def build_candidates(
    values: Array, layer: Array, predict: Predictor, radii: Sequence[float], settings: BuilderConfig
) -> Candidates:
    """Grow all seeds of an event through the barrel.

    Args:
        values: (n, 3): r [mm], phi [rad], z [mm].
        layer: (n,) barrel layers; -1 = elsewhere.
        predict: the network.
        radii: (N_LAYERS,) mm: where a predicted point lies.
        settings: of the search.

    Returns:
        Every candidate that is left in the end, of any length.
    """
    active = seeds(values, layer, settings)
    ended: list[Candidates] = []
    for number in range(SEED_HITS, N_LAYERS):
        if not len(active):
            break
        gaussians = predict(np.ascontiguousarray(active.hits[:, :number]))[:, -1]
        grown, stopped = _step(
            active, gaussians, LayerHits.select(values, layer, number), number, radii[number], settings
        )
        ended.append(stopped)
        active = grown.take(best_of_group(grown.seed, -grown.log_likelihood, settings.candidates_per_seed))
    return Candidates.join([*ended, active])


def with_spread(
    predict: Callable[[Array], Array], radii: Sequence[float], spread: Sequence[tuple[float, float]]
) -> Predictor:
    """Predictor of Gaussians from one of points, with the same uncorrelated spread for all tracks.

    Args:
        predict: (c, t, 3) hits -> (c, t, 2): phi [rad] and z [mm] on the next layer each.
        radii: (N_LAYERS,) mm.
        spread: (N_LAYERS - 1,) standard deviations in r phi and z on the second, third, ... layer, mm.
    """
    sigma = np.asarray(spread) / np.stack([np.asarray(radii)[1:], np.ones(len(radii) - 1)], axis=1)
    variances = np.stack([sigma[:, 0] ** 2, np.zeros(len(sigma)), sigma[:, 1] ** 2], axis=1)

    def gaussians(hits: Array) -> Array:
        points = predict(hits)
        there = np.broadcast_to(variances[: points.shape[1]], (*points.shape[:2], 3))
        return np.concatenate([points, there], axis=2).astype(np.float32)

    return gaussians


def _step(
    active: Candidates,
    gaussians: Array,
    layer: LayerHits,
    number: int,
    radius: float,
    settings: BuilderConfig,
) -> tuple[Candidates, Candidates]:
    """Candidates that go on through layer ``number``, and those that end before it."""
    log_norm = -0.5 * log_volume(gaussians, radius)
    query, position, distance = gate(gaussians, layer, settings.gate)
    best = best_of_group(query, distance, settings.branches)
    query, position, distance = query[best], position[best], distance[best]
    found = active.take(query)
    found.hits[:, number], found.rows[:, number] = layer.values[position], layer.rows[position]
    found.distance[:, number] = distance
    found.log_likelihood[:] += log_norm[query] - 0.5 * distance
    found.holes[:] = 0

    without = np.ones(len(active), dtype=bool)
    without[query] = False
    last = active.holes >= settings.max_holes
    missed = active.take(without & ~last)
    predicted = gaussians[without & ~last]
    missed.hits[:, number, 0] = radius
    missed.hits[:, number, 1:] = predicted[:, :2]
    missed.distance[:, number] = settings.gate
    missed.log_likelihood[:] += log_norm[without & ~last] - 0.5 * settings.gate
    missed.holes[:] += 1
    return Candidates.join([found, missed]), active.take(without & last)
