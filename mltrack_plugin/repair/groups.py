"""Repair of groups of hits: what algorithms and scripts call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.repair.event import repair_event
from mltrack_plugin.repair.follow import SETTINGS, new_work
from mltrack_plugin.repair.layers import make_event
from mltrack_plugin.tracking.helix import GEV_PER_TESLA_MM
from mltrack_plugin.tracking.quality import hit_compatibility

Array = npt.NDArray[Any]

#: Settings of :func:`repair_groups`; what they mean is said at the algorithm ``repair-tracks``.
DEFAULTS: dict[str, float] = {
    "thickness": 0.04,
    "min_hits": 4,
    "attach_chi2": 20.0,
    "drop_chi2": 80.0,
    "odds": 10.0,
    "max_holes": 3,
    "max_chi2": 5.0,
    "loyalty": 4.0,
    "seed_hits": 5,
    "seed_chi2": 3.0,
    "loose": 3.0,
}


def repair_groups(
    hits: Hits, groups: ProtoTracks, sigmas: npt.ArrayLike, field_z: float, **settings: float
) -> ProtoTracks:
    """Better groups from groups, with memberships.

    Args:
        hits: of one event, with layers: ``geometry_id``, or ``volume_id`` and ``layer_id``.
        groups: hit indices are rows of ``hits``.
        sigmas: (n, 3) standard deviations of the positions along r-phi, r and z, mm. Layers without an error along r
            are barrels, those without one along z are discs.
        field_z: solenoid field along z, T, not 0.
        settings: of `DEFAULTS`, by name.

    Raises:
        EventDataError: if the hits have no layers, a group names a hit that does not exist, or the shape or sign of
            ``sigmas`` is wrong.
        ValueError: if ``field_z`` is 0 or not finite.
    """
    if not np.isfinite(field_z) or field_z == 0:
        raise ValueError(f"track repair needs a solenoid field, got {field_z} T")
    n = len(hits)
    layer, module = detector_layers(hits)
    errors = np.asarray(sigmas, dtype=np.float64)
    if errors.shape != (n, 3):
        raise EventDataError(f"sigmas must have shape ({n}, 3), got {errors.shape}")
    if not (np.isfinite(errors).all() and (errors >= 0).all()):
        raise EventDataError("sigmas must be finite and not negative")
    if (errors[:, 0] == 0).any() or (errors[:, 1] + errors[:, 2] == 0).any():
        raise EventDataError("sigmas along r-phi, and along r or z, must be larger than 0 for every hit")
    if len(groups.hit_indices) and int(groups.hit_indices.max()) >= n:
        raise EventDataError(f"a group holds hit {groups.hit_indices.max()}, but the event has {n} hits")
    if not n:
        return ProtoTracks.from_labels(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    values = {**DEFAULTS, **settings, "bend": GEV_PER_TESLA_MM * abs(field_z)}
    event = make_event(hits.positions.astype(np.float64), layer, module, *errors.T)
    labels, chi2 = repair_event(
        # Writable copies, so that the kernels are compiled once, for one type.
        np.array(groups.offsets),
        np.array(groups.hit_indices),
        (event.table, event.tags, event.layers, event.start, event.rows),
        np.array([values[name] for name in SETTINGS]),
        new_work(len(event.layers)),
        int(values["seed_hits"]),
    )
    return ProtoTracks.from_labels(labels, hit_compatibility(chi2).astype(np.float32))


def detector_layers(hits: Hits) -> tuple[Array, Array]:
    """Layer (dense from 0) and module of each hit, (n,) int64 each; module -1 where it is not known.

    Raises:
        EventDataError: naming the columns, if the hits have no layers.
    """
    if hits.volume_id is not None and hits.layer_id is not None:
        key = hits.volume_id.astype(np.int64) << 32 | hits.layer_id.astype(np.int64)
    elif hits.geometry_id is not None:
        # ACTS: volume, boundary and layer are above bit 36.
        key = (hits.geometry_id >> np.uint64(36)).astype(np.int64)
    else:
        missing = "layer_id" if hits.volume_id is not None else "volume_id"
        raise EventDataError(
            f"repair-tracks needs the layer of each hit, but the hits have no {missing} and no geometry_id "
            "(volume_id and layer_id, or geometry_id); map the branches in the reader's settings"
        )
    layer = np.unique(key, return_inverse=True)[1].reshape(-1)
    if hits.geometry_id is not None:
        return layer, np.unique(hits.geometry_id, return_inverse=True)[1].reshape(-1)
    if hits.module_id is not None:
        module = layer << 32 | hits.module_id.astype(np.int64)
        return layer, np.where(hits.module_id < 0, -1, module)
    return layer, np.full(len(hits), -1, dtype=np.int64)


def volumes_of(hits: Hits) -> Array:
    """(n,) volume number of each hit, from ``volume_id`` or ``geometry_id``.

    Raises:
        EventDataError: naming the columns, if the hits have neither.
    """
    if hits.volume_id is not None:
        return hits.volume_id
    if hits.geometry_id is not None:
        return np.asarray((hits.geometry_id >> np.uint64(56)).astype(np.int64))
    raise EventDataError(
        "resolutions by volume need the column volume_id (or geometry_id), which the hits do not have; map the branch "
        "in the reader's settings, or leave volumes out"
    )


def warm_up() -> None:
    """Compile the kernels, or load them from disk, on an event of one straight track."""
    r = np.arange(1.0, 6.0) * 100
    hits = Hits(
        np.arange(5), r, np.zeros(5), np.zeros(5), volume_id=np.ones(5, dtype=np.int32), layer_id=np.arange(5)
    )
    repair_groups(hits, ProtoTracks.from_labels(np.zeros(5, dtype=np.int64)), np.full((5, 3), 0.1), 2.0)
