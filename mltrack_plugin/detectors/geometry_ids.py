"""Geometry identifiers of ACTS, taken apart and put together.

Volume 8 bits (from bit 56) | boundary 8 (48) | layer 12 (36) | approach 8 (28) | sensitive 20 (8) | extra 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def split_geometry_id(geometry_id: Array) -> tuple[Array, Array, Array]:
    """Volume, layer and module (= sensitive surface) numbers, each (n,) int32, of ACTS geometry ids."""
    ids = np.asarray(geometry_id, dtype=np.uint64)
    volume = (ids >> np.uint64(56)) & np.uint64(0xFF)
    layer = (ids >> np.uint64(36)) & np.uint64(0xFFF)
    module = (ids >> np.uint64(8)) & np.uint64(0xFFFFF)
    return volume.astype(np.int32), layer.astype(np.int32), module.astype(np.int32)


def join_geometry_id(volume: Array, layer: Array, module: Array, extra: Array | None = None) -> Array:
    """The inverse of :func:`split_geometry_id`: (n,) uint64; ``extra`` fills the lowest bits."""
    u = np.uint64
    ids = (volume.astype(u) << u(56)) | (layer.astype(u) << u(36)) | (module.astype(u) << u(8))
    return np.asarray(ids if extra is None else ids | extra.astype(u))


def geometry_columns(geometry_id: Array) -> dict[str, Array]:
    """Columns of hits by name: geometry_id (uint64) with volume, layer and module numbers (int32)."""
    volume, layer, module = split_geometry_id(geometry_id)
    ids = np.asarray(geometry_id).astype(np.uint64, copy=False)
    return {"geometry_id": ids, "volume_id": volume, "layer_id": layer, "module_id": module}
