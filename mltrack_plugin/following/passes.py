"""Tracks from seeds: pairs of hits that point to the beam axis are followed through the detector.

Passes go from clear tracks to doubtful ones. What makes a track clear is not its number of hits but how unlikely it is
that a wrong seed finds as many hits by chance: five hits say much in an empty event and nothing at full pile-up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.following.pair_seeds import SeedCuts, new_tracks
from mltrack_plugin.following.search import Search, search_record
from mltrack_plugin.following.settings import FollowSettings, SeedPass
from mltrack_plugin.helix.quality import hit_compatibility
from mltrack_plugin.kalman.hit_grid import Event
from mltrack_plugin.kalman.inputs import checked_sigmas, detector_layers, sorted_event, straight_track
from mltrack_plugin.kalman.material import material_of

Array = npt.NDArray[Any]

#: Pairs that are tried per hit, about; their number is how often a track may come about by chance.
_TRIALS_PER_HIT = 10
#: Seeds that were followed to fewer hits are not fitted.
_MIN_FOLLOWED = 4


def follow_seeds(
    hits: Hits,
    sigmas: npt.ArrayLike,
    field_z: float,
    thickness: float,
    settings: FollowSettings,
    *,
    selection: HitSelection | None = None,
) -> ProtoTracks:
    """Tracks of particles from near the beam axis, with memberships.

    Args:
        hits: of one event, with layers: ``geometry_id``, or ``volume_id`` and ``layer_id``.
        sigmas: (n, 3) standard deviations of the positions along r-phi, r and z, mm. Layers without an error along r
            are barrels, those without one along z are discs.
        field_z: solenoid field along z, T, not 0.
        thickness: material of a detector layer at normal incidence, radiation lengths.
        settings: passes, each of which sees the hits that the earlier ones left free, and the search for hits.
        selection: hits that take part; ``None`` = all.

    Raises:
        EventDataError: if the hits have no layers, or the shape or sign of ``sigmas`` is wrong.
        ValueError: if ``field_z`` is 0 or not finite.
    """
    n = len(hits)
    search = search_record(settings, material_of(thickness, field_z))
    if not n:
        detector_layers(hits)
        checked_sigmas(sigmas, n)
        return ProtoTracks.from_labels(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    event, _, place = sorted_event(hits, sigmas)
    labels, chi2, taken = np.full(n, -1, dtype=np.int64), np.zeros(n), np.zeros(n, dtype=np.bool_)
    if selection is not None:
        taken[:] = True
        taken[place[selection.rows]] = False
    follow_passes(event, settings.passes, labels, chi2, taken, search)
    return ProtoTracks.from_labels(labels[place], hit_compatibility(chi2[place]).astype(np.float32))


def follow_passes(
    event: Event,
    passes: Sequence[SeedPass],
    labels: Array,
    chi2: Array,
    taken: Array,
    search: Search,
    min_followed: int = _MIN_FOLLOWED,
) -> None:
    """Passes over the hits without a label that are not ``taken``; ``labels`` and ``chi2`` of found hits are set.

    All in the order of the event's hits. Seeds that were followed to fewer hits than ``min_followed`` are not fitted.
    """
    x, y, z = (event.hits[name] for name in "xyz")
    radius, distance = np.hypot(x, y), x**2 + y**2 + z**2
    chance = math.log(_TRIALS_PER_HIT * len(labels))
    for one in passes:
        free = (labels < 0) & ~taken
        event.tags["used"] = ~free
        start = np.flatnonzero(free & (radius < one.radius))
        start = start[np.argsort(distance[start], kind="stable")]
        cuts = SeedCuts(
            significance=chance + one.significance,
            min_followed=float(min_followed),
            min_hits=float(one.min_hits),
            max_holes=float(one.max_holes),
            max_chi2=float(one.max_chi2),
            direction=float(one.direction),
            vertex=float(one.vertex),
            max_partners=float(one.max_partners),
            enough_partners=float(one.enough_partners),
        )
        own = search
        if one.thickness is not None:
            own = search._replace(material=search.material._replace(thickness=float(one.thickness)))
        new_tracks(start, labels, chi2, int(labels.max()) + 1, event, own, cuts)


def warm_up() -> None:
    """Compile the kernels, or load them from disk, on an event of one straight track."""
    hits, sigmas = straight_track()
    follow_seeds(hits, sigmas, 2.0, 0.02, FollowSettings())
