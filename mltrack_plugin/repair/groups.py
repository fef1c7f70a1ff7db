"""Repair of groups of hits: what algorithms and scripts call."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.following.passes import follow_passes
from mltrack_plugin.helix.quality import hit_compatibility
from mltrack_plugin.kalman.inputs import checked_sigmas, detector_layers, sorted_event, straight_track
from mltrack_plugin.kalman.material import material_of
from mltrack_plugin.repair.candidates import repair_record
from mltrack_plugin.repair.competition import repair_event
from mltrack_plugin.repair.settings import RepairSettings

Array = npt.NDArray[Any]


def repair_groups(
    hits: Hits,
    groups: ProtoTracks,
    sigmas: npt.ArrayLike,
    field_z: float,
    thickness: float,
    settings: RepairSettings,
    *,
    found: ProtoTracks | None = None,
) -> ProtoTracks:
    """Better groups from groups, with memberships.

    Args:
        hits: of one event, with layers: ``geometry_id``, or ``volume_id`` and ``layer_id``.
        groups: hit indices are rows of ``hits``.
        sigmas: (n, 3) standard deviations of the positions along r-phi, r and z, mm. Layers without an error along r
            are barrels, those without one along z are discs.
        field_z: solenoid field along z, T, not 0.
        thickness: material of a detector layer at normal incidence, radiation lengths. A generous value makes the
            repair tolerant to the tails of scattering.
        settings: of the repair.
        found: tracks that stay as they are and are part of the result; their hits are taken out of the groups.

    Raises:
        EventDataError: if the hits have no layers, a group names a hit that does not exist, or the shape or sign of
            ``sigmas`` is wrong.
        ValueError: if ``field_z`` is 0 or not finite.
    """
    n = len(hits)
    repair = repair_record(settings, material_of(thickness, field_z), len(groups))
    for tracks in (groups, found):
        if tracks is not None and len(tracks.hit_indices) and int(tracks.hit_indices.max()) >= n:
            raise EventDataError(f"a group holds hit {tracks.hit_indices.max()}, but the event has {n} hits")
    if not n:
        detector_layers(hits)
        checked_sigmas(sigmas, n)
        return ProtoTracks.from_labels(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    event, given, place = sorted_event(hits, sigmas)
    taken = np.zeros(n, dtype=np.bool_)
    if found is not None:
        taken[found.hit_indices] = True
        if taken[groups.hit_indices].any():
            groups = ProtoTracks.from_labels(np.where(taken, -1, groups.labels(n)))
    taken = taken[given]
    event.tags["used"] = taken
    # Writable copies, so that the kernels are compiled once, for one type.
    labels, chi2 = repair_event(np.array(groups.offsets), place[groups.hit_indices], taken, event, repair)
    if settings.seeds is not None:
        follow_passes(event, (settings.seeds,), labels, chi2, taken, repair.search, settings.min_hits)
    labels, chi2 = labels[place], chi2[place]
    membership = hit_compatibility(chi2).astype(np.float32)
    if found is not None:
        labels[found.hit_indices] = found.track_of_entry() + (labels.max() + 1)
        membership[found.hit_indices] = 1.0 if found.membership is None else found.membership
    return ProtoTracks.from_labels(labels, membership)


def warm_up() -> None:
    """Compile the kernels, or load them from disk, on an event of one straight track."""
    hits, sigmas = straight_track()
    group = ProtoTracks.from_labels(np.zeros(len(hits), dtype=np.int64))
    repair_groups(hits, group, sigmas, 2.0, 0.02, RepairSettings())
