"""Tracks from seeds: pairs of hits that point to the beam axis are followed through the detector.

Passes go from clear tracks to doubtful ones. What makes a track clear is not its number of hits but how unlikely it is
that a wrong seed finds as many hits by chance: five hits say much in an empty event and nothing at full pile-up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks
from mltrack_plugin.following.follow import Work, new_work
from mltrack_plugin.following.pair_seeds import new_tracks
from mltrack_plugin.helix.quality import hit_compatibility
from mltrack_plugin.kalman.hit_grid import BLOCKED, TABLE, TAGS, Event
from mltrack_plugin.kalman.inputs import checked_sigmas, detector_layers, event_columns, settings_array

Array = npt.NDArray[Any]

#: Pairs that are tried per hit, about; their number is how often a track may come about by chance.
_TRIALS_PER_HIT = 10


class SeedPass(NamedTuple):
    """How seeds are chosen and which tracks are accepted in one pass over the free hits."""

    #: -log of the number of chance tracks that is accepted per event; see `complete.significance`.
    significance: float = 3.0
    #: Tracks with fewer free hits are not accepted.
    min_hits: int = 5
    #: Layers without a hit after which a seed is not followed any further.
    max_holes: int = 3
    #: Largest chi2 per degree of freedom.
    max_chi2: float = 3.0
    #: Largest angle between a pair of hits and the direction from the beam axis, radian. A track with transverse
    #: momentum p in GeV has about 0.3 B r / 2 p at the radius r in m of the second hit.
    direction: float = 0.15
    #: Largest distance of the vertex from the centre along the beam axis, mm.
    vertex: float = 225.0
    #: Radius up to which a seed may begin, mm.
    radius: float = 200.0
    #: Hits that have more possible partners start no track: where the event is too dense for such a wide window.
    max_partners: int = 1000
    #: A hit that has as many possible partners on the next layer is not paired with hits of the one after it.
    enough_partners: int = 1000
    #: Material of a layer, radiation lengths; ``None`` = that of the other settings.
    thickness: float | None = None


def follow_seeds(
    hits: Hits,
    sigmas: npt.ArrayLike,
    field_z: float,
    passes: Sequence[SeedPass],
    *,
    selection: HitSelection | None = None,
    **settings: float,
) -> ProtoTracks:
    """Tracks of particles from near the beam axis, with memberships.

    Args:
        hits: of one event, with layers: ``geometry_id``, or ``volume_id`` and ``layer_id``.
        sigmas: (n, 3) standard deviations of the positions along r-phi, r and z, mm. Layers without an error along r
            are barrels, those without one along z are discs.
        field_z: solenoid field along z, T, not 0.
        passes: in their order; each sees the hits that the earlier ones left free.
        selection: hits that take part; ``None`` = all.
        settings: of `~mltrack_plugin.kalman.inputs.DEFAULTS`, by name.

    Raises:
        EventDataError: if the hits have no layers, or the shape or sign of ``sigmas`` is wrong.
        ValueError: if ``field_z`` is 0 or not finite.
    """
    n = len(hits)
    settings_array(field_z)
    if not n:
        detector_layers(hits)
        checked_sigmas(sigmas, n)
        return ProtoTracks.from_labels(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32))
    event = event_columns(hits, sigmas)
    labels, chi2, taken = np.full(n, -1, dtype=np.int64), np.zeros(n), np.zeros(n, dtype=np.bool_)
    if selection is not None:
        taken[:] = True
        taken[event.place[selection.rows]] = False
    follow_passes(event.columns, passes, labels, chi2, taken, field_z, settings, new_work(len(event.layers)))
    labels, chi2 = labels[event.place], chi2[event.place]
    return ProtoTracks.from_labels(labels, hit_compatibility(chi2).astype(np.float32))


def follow_passes(
    event: Event,
    passes: Sequence[SeedPass],
    labels: Array,
    chi2: Array,
    taken: Array,
    field_z: float,
    settings: Mapping[str, float],
    work: Work,
) -> None:
    """Passes over the hits without a label that are not ``taken``; ``labels`` and ``chi2`` of found hits are set.

    All in the order of the event's columns.
    """
    position = event[TABLE][:, :3]
    radius, distance = np.hypot(position[:, 0], position[:, 1]), (position**2).sum(axis=1)
    chance = math.log(_TRIALS_PER_HIT * len(labels))
    for one in passes:
        free = (labels < 0) & ~taken
        event[TAGS][:, BLOCKED] = ~free
        start = np.flatnonzero(free & (radius < one.radius))
        start = start[np.argsort(distance[start], kind="stable")]
        own = dict(settings) | {
            "seed_holes": one.max_holes,
            "seed_chi2": one.max_chi2,
            "seed_direction": one.direction,
            "seed_vertex": one.vertex,
            "seed_partners": one.max_partners,
            "seed_enough": one.enough_partners,
        }
        if one.thickness is not None:
            own["thickness"] = one.thickness
        new_tracks(
            start,
            labels,
            chi2,
            int(labels.max()) + 1,
            one.min_hits,
            chance + one.significance,
            event,
            settings_array(field_z, **own),
            work,
        )
