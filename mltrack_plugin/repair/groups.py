"""Repair of groups of hits: what algorithms and scripts call."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.following.follow import new_work
from mltrack_plugin.following.passes import SeedPass, follow_passes
from mltrack_plugin.helix.quality import hit_compatibility
from mltrack_plugin.kalman.hit_grid import BLOCKED
from mltrack_plugin.kalman.inputs import (
    checked_sigmas,
    detector_layers,
    event_columns,
    settings_array,
    straight_track,
)
from mltrack_plugin.repair.competition import repair_event

Array = npt.NDArray[Any]


def repair_groups(
    hits: Hits,
    groups: ProtoTracks,
    sigmas: npt.ArrayLike,
    field_z: float,
    *,
    found: ProtoTracks | None = None,
    seeds: SeedPass | None = None,
    significance: float | None = None,
    **settings: float,
) -> ProtoTracks:
    """Better groups from groups, with memberships.

    Args:
        hits: of one event, with layers: ``geometry_id``, or ``volume_id`` and ``layer_id``.
        groups: hit indices are rows of ``hits``.
        sigmas: (n, 3) standard deviations of the positions along r-phi, r and z, mm. Layers without an error along r
            are barrels, those without one along z are discs.
        field_z: solenoid field along z, T, not 0.
        found: tracks that stay as they are and are part of the result; their hits are taken out of the groups.
        seeds: how tracks are built from hits left over; ``None`` = they are not.
        significance: -log of the number of tracks from groups that may come about by chance in the event; ``None`` = no
            such requirement.
        settings: of `~mltrack_plugin.kalman.inputs.DEFAULTS`, by name.

    Raises:
        EventDataError: if the hits have no layers, a group names a hit that does not exist, or the shape or sign of
            ``sigmas`` is wrong.
        ValueError: if ``field_z`` is 0 or not finite.
    """
    n = len(hits)
    if significance is not None:
        # Every group is a chance.
        settings["significance"] = math.log(max(len(groups.offsets) - 1, 1)) + significance
    values = settings_array(field_z, **settings)
    for tracks in (groups, found):
        if tracks is not None and len(tracks.hit_indices) and int(tracks.hit_indices.max()) >= n:
            raise EventDataError(f"a group holds hit {tracks.hit_indices.max()}, but the event has {n} hits")
    if not n:
        detector_layers(hits)
        checked_sigmas(sigmas, n)
        return ProtoTracks.from_labels(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    event = event_columns(hits, sigmas)
    work = new_work(len(event.layers))
    taken = np.zeros(n, dtype=np.bool_)
    if found is not None:
        taken[found.hit_indices] = True
        if taken[groups.hit_indices].any():
            groups = ProtoTracks.from_labels(np.where(taken, -1, groups.labels(n)))
    taken = taken[event.given]
    event.tags[:, BLOCKED] = taken
    # Writable copies, so that the kernels are compiled once, for one type.
    labels, chi2 = repair_event(
        np.array(groups.offsets), event.place[groups.hit_indices], taken, event.columns, values, work
    )
    if seeds is not None:
        follow_passes(event.columns, (seeds,), labels, chi2, taken, field_z, settings, work)
    labels, chi2 = labels[event.place], chi2[event.place]
    membership = hit_compatibility(chi2).astype(np.float32)
    if found is not None:
        labels[found.hit_indices] = found.track_of_entry() + (labels.max() + 1)
        membership[found.hit_indices] = 1.0 if found.membership is None else found.membership
    return ProtoTracks.from_labels(labels, membership)


def warm_up() -> None:
    """Compile the kernels, or load them from disk, on an event of one straight track."""
    hits, sigmas = straight_track()
    group = ProtoTracks.from_labels(np.zeros(len(hits), dtype=np.int64))
    repair_groups(hits, group, sigmas, 2.0, seeds=SeedPass())
