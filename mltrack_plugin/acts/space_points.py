"""Space points of the ACTS whiteboard as hits, and track candidates as ACTS proto tracks.

Space points and measurements are numbered apart: space points follow the order in which the space point
maker visits the volumes, a strip space point comes from two measurements, and a measurement may have none.
Hits are space points, row by row; proto tracks list measurements; :class:`MeasurementLinks` connects them.
"""

from __future__ import annotations

import dataclasses
import functools
from itertools import chain
from typing import Any

import numpy as np

from mltrack_plugin.acts.whiteboard import ActsEvent
from mltrack_plugin.detectors.acts_geometry import require_acts
from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.event_data.base import Array

acts, examples = require_acts()

#: Space points on a seed, and so on a proto track that is fitted or becomes a seed: ACTS counts them in 8 bits.
MAX_SPACE_POINTS = 255

#: Where the coordinates of space points can be: columns, and the rows to take of a packed one.
_LAYOUTS: tuple[tuple[tuple[str, ...], int | None], ...] = (
    (("x", "y", "z"), None),
    (("xyzColumn",), 3),
    (("xyzrColumn",), 3),
)


@dataclasses.dataclass(frozen=True)
class MeasurementLinks:
    """Which measurements each space point was made of.

    Attributes:
        offsets: (n_space_points + 1,) int64; space point i has ``indices[offsets[i]:offsets[i + 1]]``.
        indices: (n_links,) int64, positions in the measurement container.
    """

    offsets: Array
    indices: Array

    @property
    def one_to_one(self) -> bool:
        """Every space point comes from exactly one measurement, as with pixels."""
        return len(self.indices) == len(self.offsets) - 1

    def of(self, rows: Array) -> tuple[Array, Array]:
        """Measurements of the given space points.

        Args:
            rows: (m,) int64, space points.

        Returns:
            Their measurements one after the other, and the position in ``rows`` (not the space point) of each.
        """
        if self.one_to_one:
            return self.indices[rows], np.arange(len(rows))
        starts, counts = self.offsets[rows], np.diff(self.offsets)[rows]
        entry = np.repeat(np.arange(len(rows)), counts)
        first = np.cumsum(counts) - counts
        return self.indices[np.repeat(starts - first, counts) + np.arange(len(entry))], entry


def measurement_links(space_points: Any) -> MeasurementLinks:
    """The measurements behind an ``acts.SpacePointContainer`` of the event that is being processed.

    Source links are opaque in Python, and visiting them one by one takes 14 microseconds each. So ACTS does
    it: the space points become seeds on a whiteboard of our own, and ``SeedsToProtoTracks`` lists their measurements.
    """
    n = len(space_points)
    indices = np.fromiter(chain.from_iterable(_measurement_lists(space_points, MAX_SPACE_POINTS)), np.int64)
    if len(indices) == n:
        return MeasurementLinks(np.arange(n + 1, dtype=np.int64), indices)
    # Some have several: one list per space point tells how many.
    lists = _measurement_lists(space_points, 1)
    offsets = np.concatenate([[0], np.cumsum([len(entry) for entry in lists])]).astype(np.int64)
    return MeasurementLinks(offsets, np.fromiter(chain.from_iterable(lists), np.int64, offsets[-1]))


def _measurement_lists(space_points: Any, size: int) -> list[list[int]]:
    """Measurements of ``size`` space points at a time."""
    n = len(space_points)
    seeds = acts.SeedContainer()
    seeds.assignSpacePointContainer(space_points)
    for start in range(0, n, size):
        seeds.createSeed().assignSpacePointIndices(range(start, min(start + size, n)))
    event = ActsEvent()
    event.write(acts.SeedContainer, "seeds", seeds)
    event.run(_seeds_to_proto_tracks())
    return [list(entry) for entry in event.read(examples.ProtoTrackContainer, "proto_tracks")]


@functools.cache
def _seeds_to_proto_tracks() -> Any:
    return examples.SeedsToProtoTracks(
        level=acts.logging.WARNING, inputSeeds="seeds", outputProtoTracks="proto_tracks"
    )


def measurement_geometry_ids(measurements: Any) -> Array:
    """(n,) uint64 geometry ids of an ``acts.examples.MeasurementContainer``.

    ACTS offers no array of them; the loop costs about one microsecond per measurement.
    """
    return np.fromiter((m.geometryId.value for m in measurements), np.uint64, len(measurements))


def hits_of(space_points: Any, links: MeasurementLinks, geometry_ids: Array | None) -> Hits:
    """Space points as hits; every array is a copy that outlives the event.

    Args:
        space_points: ``acts.SpacePointContainer``.
        links: their measurements.
        geometry_ids: (n_measurements,) uint64; ``None`` = unknown.

    Returns:
        Hit i is space point i, with i as its id; volume, layer and module are those of its first measurement.

    Raises:
        EventError: if a space point has no position or no measurement, or one that does not exist.
        EventDataError: if coordinates are not finite.
    """
    n = len(space_points)
    columns: dict[str, Array] = {"hit_id": np.arange(n, dtype=np.uint64)}
    columns |= zip("xyz", _positions(space_points), strict=True)
    if (np.diff(links.offsets) == 0).any():
        raise EventError("a space point has no source link, so it cannot be traced to a measurement")
    if geometry_ids is not None:
        first = links.indices[links.offsets[:-1]]
        if n and links.indices.max() >= len(geometry_ids):
            raise EventError(
                f"a space point comes from measurement {links.indices.max()}, but there are only "
                f"{len(geometry_ids)}; inputMeasurements must be the container that the space points were made of"
            )
        columns["geometry_id"] = geometry_ids[first]
        volume, layer, module = split_geometry_id(columns["geometry_id"])
        columns |= {"volume_id": volume, "layer_id": layer, "module_id": module}
    return Hits(**columns)


def _positions(space_points: Any) -> Array:
    """(3, n) float32, mm, copied; the container may hold the coordinates apart or packed."""
    for names, part in _LAYOUTS:
        try:
            found = [np.asarray(getattr(space_points, name)) for name in names]
        except AttributeError:
            # ACTS has no columns of this name in this container.
            continue
        rows = found if part is None else found[0].T[:part]
        return np.array(rows, dtype=np.float32)
    if not len(space_points):
        return np.empty((3, 0), dtype=np.float32)
    raise EventError(
        "the space points have no x, y, z columns (SpacePointColumns X, Y, Z, PackedXYZ or PackedXYZR)"
    )


def acts_proto_tracks(tracks: ProtoTracks, hits: Hits, links: MeasurementLinks) -> tuple[Any, int]:
    """Track candidates as an ``acts.examples.ProtoTrackContainer``.

    The measurements of a track are listed from the inside out (by the distance of their space points from the
    origin), each once. Candidates of more than 255 space points are left out: ACTS would miscount them.

    Returns:
        The container, to be written at once (ACTS takes it over), and the number of candidates left out.
    """
    container = examples.ProtoTrackContainer()
    counts = tracks.n_hits
    fits = counts <= MAX_SPACE_POINTS
    track, rows = tracks.track_of_entry(), tracks.hit_indices
    if not fits.all():
        kept = fits[track]
        track, rows = track[kept], rows[kept]
    distance = hits.x[rows] ** 2 + hits.y[rows] ** 2 + hits.z[rows] ** 2
    inside_out = np.lexsort((distance, track))
    measurements, entry = links.of(rows[inside_out])
    owner = track[inside_out][entry]
    if not links.one_to_one:
        # Two strip space points may share a measurement.
        key = owner * (links.indices.max(initial=0) + 1) + measurements
        first = np.sort(np.unique(key, return_index=True)[1])
        measurements, owner = measurements[first], owner[first]
    ends = np.cumsum(np.bincount(owner, minlength=len(tracks))[fits]).tolist()
    values, start = measurements.tolist(), 0
    for end in ends:
        container.append(examples.ProtoTrack(values[start:end]))
        start = end
    return container, int(np.count_nonzero(~fits))
