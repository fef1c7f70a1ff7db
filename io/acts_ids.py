"""Identifiers of ACTS: particle barcodes packed into 64 bits, and geometry identifiers taken apart.

Barcode layout, that of ACTS before barcodes grew to five 32-bit numbers, so that ids from files of either
time agree (most significant bits first):

    primary vertex 12 | secondary vertex 12 | particle 16 | generation 8 | sub-particle 16

Geometry identifier: volume 8 (bit 56) | boundary 8 (48) | layer 12 (36) | approach 8 (28) | sensitive 20
(8) | extra 8.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError

Array = npt.NDArray[Any]

#: Parts of a barcode and their bits, most significant first.
BARCODE_BITS = (
    ("vertex_primary", 12),
    ("vertex_secondary", 12),
    ("particle", 16),
    ("generation", 8),
    ("sub_particle", 16),
)


def pack_barcode(*parts: npt.ArrayLike) -> Array:
    """(n,) uint64 from the five parts in the order of BARCODE_BITS; all zero (no particle) gives 0.

    Raises:
        EventDataError: if a part does not fit into its bits.
    """
    packed: Array | None = None
    for (name, bits), values in zip(BARCODE_BITS, parts, strict=True):
        part = np.asarray(values).astype(np.uint64)
        if part.size and int(part.max()) >= 1 << bits:
            raise EventDataError(
                f"particle barcode part {name!r} is {part.max()}, only values below {1 << bits} fit into "
                "the 64-bit id"
            )
        packed = part if packed is None else (packed << np.uint64(bits)) | part
    assert packed is not None
    return packed


def unpack_barcode(ids: Array) -> tuple[Array, ...]:
    """The five parts, the inverse of :func:`pack_barcode`."""
    rest = np.asarray(ids, dtype=np.uint64)
    parts = []
    for _, bits in reversed(BARCODE_BITS):
        parts.append(rest & np.uint64((1 << bits) - 1))
        rest = rest >> np.uint64(bits)
    return tuple(reversed(parts))


def geometry_columns(geometry_id: Array) -> dict[str, Array]:
    """geometry_id (uint64) with volume, layer and module (sensitive) numbers."""
    ids = np.asarray(geometry_id).astype(np.uint64, copy=False)
    return {
        "geometry_id": ids,
        "volume_id": (ids >> np.uint64(56)).astype(np.int32),
        "layer_id": ((ids >> np.uint64(36)) & np.uint64(0xFFF)).astype(np.int32),
        "module_id": ((ids >> np.uint64(8)) & np.uint64(0xFFFFF)).astype(np.int32),
    }


def make_geometry_id(volume: Array, layer: Array, sensitive: Array, extra: Array | None = None) -> Array:
    """(n,) uint64 geometry identifier of sensitive surfaces."""
    u = np.uint64
    ids = (volume.astype(u) << u(56)) | (layer.astype(u) << u(36)) | (sensitive.astype(u) << u(8))
    return np.asarray(ids if extra is None else ids | extra.astype(u))
