"""The comparison keeps no events: memory does not grow with their number."""

from __future__ import annotations

import gc
import weakref

import numpy as np
from compared_events import fitted, make_event, true_labels

from mltrack_plugin.evaluation.comparison.accumulator import Comparison
from mltrack_plugin.evaluation.comparison.stream import ComparedEvent
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.event_data.tracks import PERIGEE_PARAMETERS
from mltrack_plugin.io.track_collection import from_rows
from mltrack_plugin.io.track_rows import TrackRows


def compared(number: int, lost: int) -> ComparedEvent:
    """An event of whose particles the second collection lacks ``lost``."""
    store = make_event(number)
    labels = true_labels(store)
    sides = []
    for cut in (0, lost):
        tracks = fitted(store, np.where(labels >= cut, labels, -1))
        columns = {name: getattr(tracks, name) for name in (*PERIGEE_PARAMETERS, "covariance")}
        sides.append(from_rows(TrackRows(number, "event", tracks.n_hits, tracks.hit_indices, columns)))
    return ComparedEvent(
        number,
        (sides[0], sides[1]),
        store.get("hits", Hits),
        store.get("truth_links", TruthLinks),
        store.get("particles", Particles),
    )


def test_no_event_outlives_its_turn_not_even_the_displayed_one():
    comparison = Comparison(("a", "b"), field_z=2.0)
    alive = []
    for number in range(6):
        event = compared(number, lost=number if number < 4 else 1)
        alive += [weakref.ref(x) for x in (*event.tracks, event.hits, event.tracks[0].hit_indices)]
        comparison.add(event)
        del event
    gc.collect()
    assert not any(ref() is not None for ref in alive)
    shown = comparison.disagreement
    assert (shown.number, shown.counts) == (3, (3, 0))
    assert [len(hits) for hits in shown.tracks[0]] == [10, 10, 10]
    assert comparison.result()["events"] == 6
