"""Particle barcodes of ACTS, packed into 64 bits.

The layout is that of ACTS before barcodes grew to five 32-bit numbers, so that ids from files of either
time agree (most significant bits first):

    primary vertex 12 | secondary vertex 12 | particle 16 | generation 8 | sub-particle 16
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data.base import Array

# Packed barcodes start here (particle 1 of vertex 0); smaller ids are plain numbers.
_SMALLEST = 1 << 24
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


def barcode_parts(particle_id: Array) -> tuple[Array, ...]:
    """(n,) uint32 each: vertex_primary, vertex_secondary, particle, generation, sub_particle.

    Ids too small to be packed ACTS barcodes (those of REDVID are 1, 2, ...) are particle numbers of vertex 0.
    """
    plain = particle_id < _SMALLEST
    parts = [np.where(plain, 0, part).astype(np.uint32) for part in unpack_barcode(particle_id)]
    parts[2][plain] = particle_id[plain]
    return tuple(parts)
