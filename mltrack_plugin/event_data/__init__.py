"""Event data model: columnar collections, validated on construction.

- `hits` (and truth links), `particles`, `vertices`; `parameters`, `selection`, `graph`: what algorithms add to hits.
- `tracks`: proto tracks and tracks of an event; `estimates`: what a network says of tracks; `event_tracks`: tracks of
  many events; `file_tracks`: tracks as files of other programs have them.
- `base`: what collections share; `barcodes`: particle ids of ACTS.

Units everywhere: mm, GeV, e, T, radian; time in mm (c = 1), as in ACTS.
"""

from mltrack_plugin.event_data.base import Collection
from mltrack_plugin.event_data.estimates import TrackEstimates
from mltrack_plugin.event_data.event_tracks import EventTracks
from mltrack_plugin.event_data.graph import HitGraph
from mltrack_plugin.event_data.hits import Hits, TruthLinks
from mltrack_plugin.event_data.parameters import HitParameters
from mltrack_plugin.event_data.particles import Particles
from mltrack_plugin.event_data.selection import HitSelection
from mltrack_plugin.event_data.tracks import ProtoTracks, Tracks
from mltrack_plugin.event_data.vertices import Vertices

__all__ = [
    "Collection",
    "EventTracks",
    "HitGraph",
    "HitParameters",
    "HitSelection",
    "Hits",
    "Particles",
    "ProtoTracks",
    "TrackEstimates",
    "Tracks",
    "TruthLinks",
    "Vertices",
]
