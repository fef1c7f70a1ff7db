"""Barrel layers of the GenericDetector, and a particle's hits as a sequence along them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventError
from mltrack_plugin.published.heptrkx.graphs.layers import BARREL_LAYERS, layer_numbers

if TYPE_CHECKING:
    from mltrack_plugin.event_data import Hits, TruthLinks

Array = npt.NDArray[Any]

#: Ten layers: four of pixels, four of short strips, two of long strips.
N_LAYERS = len(BARREL_LAYERS)


@dataclasses.dataclass(frozen=True)
class HitSequences:
    """Hits of particles, one per barrel layer, from the innermost layer on without a gap.

    Attributes:
        hits: (n, N_LAYERS, 3) float32, (r [mm], phi [rad], z [mm]); 0 from ``length`` on.
        length: (n,) int64, layers with a hit.
        rows: (n, N_LAYERS) int64, rows of the event's hits; -1 from ``length`` on.
        particle_id: (n,) uint64.
    """

    hits: Array
    length: Array
    rows: Array
    particle_id: Array

    def __len__(self) -> int:
        return len(self.length)

    @property
    def mask(self) -> Array:
        """(n, N_LAYERS) bool: has a hit there."""
        return np.asarray(np.arange(N_LAYERS) < self.length[:, None])

    @staticmethod
    def join(parts: list[HitSequences]) -> HitSequences:
        """The sequences of several events (one or more), one event after the other."""
        names = [field.name for field in dataclasses.fields(HitSequences)]
        return HitSequences(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def barrel_layer(hits: Hits) -> Array:
    """Number of each hit's barrel layer.

    Returns:
        (n,) int64, 0 = innermost, -1 = not in the barrel.

    Raises:
        EventError: if the hits carry no volume and layer numbers.
    """
    if hits.volume_id is None or hits.layer_id is None:
        missing = " and ".join(name for name in ("volume_id", "layer_id") if getattr(hits, name) is None)
        raise EventError(
            f"the hits have no {missing}, so their barrel layers are unknown; "
            "map the branches in the reader's settings"
        )
    return layer_numbers(hits.volume_id, hits.layer_id).astype(np.int64)


def cylindrical(hits: Hits) -> Array:
    """(n, 3) float32: r [mm], phi [rad], z [mm]."""
    return np.stack([hits.r, hits.phi, hits.z], axis=1).astype(np.float32)


def validity_ranges(hits: Array) -> dict[str, list[float]]:
    """Ranges of r and z (mm) for a model card: those of training hits (n, 3), widened by 5% of the largest radius."""
    r, z = hits[:, 0].astype(np.float64), hits[:, 2].astype(np.float64)
    margin = 0.05 * float(r.max())
    return {
        "r": [max(0.0, float(r.min()) - margin), float(r.max()) + margin],
        "z": [float(z.min()) - 2.0 * margin, float(z.max()) + 2.0 * margin],
    }


def particle_sequences(hits: Hits, truth_links: TruthLinks, min_length: int = 3) -> HitSequences:
    """The hits of each particle along the barrel layers.

    Where modules overlap a particle leaves several hits on a layer: the one of smallest radius is kept, as in
    the HEP.TrkX data. A sequence starts on the innermost layer and ends before the first layer without a hit.

    Args:
        hits: (n,) hits with volume and layer numbers.
        truth_links: (n,) their particles; noise is in no sequence.
        min_length: shorter sequences are left out.
    """
    layer = barrel_layer(hits)
    rows = np.flatnonzero((layer >= 0) & (truth_links.particle_id != 0))
    ids, particle = np.unique(truth_links.particle_id[rows], return_inverse=True)
    cell = particle.reshape(-1) * N_LAYERS + layer[rows]
    # The first of each cell in the order of the radius.
    order = np.lexsort((hits.r[rows], cell))
    cells, first = np.unique(cell[order], return_index=True)
    filled = np.full(len(ids) * N_LAYERS, -1, dtype=np.int64)
    filled[cells] = rows[order[first]]
    table: Array = filled.reshape(-1, N_LAYERS)
    length = np.cumprod(table >= 0, axis=1).sum(axis=1)
    table[np.arange(N_LAYERS) >= length[:, None]] = -1
    keep = length >= min_length
    table, length = table[keep], length[keep]
    values = np.zeros((*table.shape, 3), dtype=np.float32)
    values[table >= 0] = cylindrical(hits)[table[table >= 0]]
    return HitSequences(values, length, table, ids[keep])
