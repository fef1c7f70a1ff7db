"""What the search for hits of a track works with: its settings, its memory, the density of random hits."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.compiled import inlined, kernel
from mltrack_plugin.following.settings import SearchSettings
from mltrack_plugin.kalman.material import Material
from mltrack_plugin.kalman.state import GAIN, STATE, TRANSPORT, Record
from mltrack_plugin.kalman.track_fit import FitMemory, fit_memory

Array = npt.NDArray[Any]

#: Largest number of hits on a track; longer groups are cut into several tracks.
MAX_HITS = 64
#: Most hits that one look-up gives.
MAX_FOUND = 128


class Search(NamedTuple):
    """`SearchSettings` for kernels."""

    material: Material
    attach_chi2: float
    drop_chi2: float
    odds: float
    max_holes: float
    #: Chi2 by which a hit of the track's own group is preferred.
    own_group_chi2: float


def search_record(settings: SearchSettings, material: Material, own_group_chi2: float = 0.0) -> Search:
    """The settings with the material of the layers, for kernels."""
    return Search(
        material,
        float(settings.attach_chi2),
        float(settings.drop_chi2),
        float(settings.odds),
        float(settings.max_holes),
        float(own_group_chi2),
    )


class Memory(NamedTuple):
    """Memory of the search for one track after the other."""

    #: The latest fit.
    fit: FitMemory
    #: (1,) STATE that is followed, and one at a layer where hits are looked for.
    trial: Array
    near: Array
    #: (1,) TRANSPORT and GAIN of the latest propagation and update.
    transport: Array
    gain: Array
    #: (MAX_FOUND,) int64: rows of the hits that were looked up.
    found: Array
    #: (m,) bool: layers that have been searched.
    searched: Array


@kernel
def new_memory(n_layers: int) -> Memory:
    """Memory for an event."""
    return Memory(
        fit_memory(MAX_HITS),
        np.zeros(1, STATE),
        np.zeros(1, STATE),
        np.zeros(1, TRANSPORT),
        np.zeros(1, GAIN),
        np.zeros(MAX_FOUND, dtype=np.int64),
        np.zeros(n_layers, dtype=np.bool_),
    )


@inlined
def random_density(layer: Record, running: float) -> float:
    """Hits per mm^2 of a layer where the running coordinate is ``running``; on discs it falls with r squared."""
    if layer.disc:
        return float(layer.density / max(running * running, 1.0))
    return float(layer.density)
