"""Unseen events of the benchmark; what several figures are measured on is simulated once."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent

QCD, TRACKS = "heptrkx-qcd", "heptrkx-tracks"
#: Groups of 2000 gun particles that barrel tracks are taken from.
_SOURCES = 2
#: QCD events simulated for the published selection, which holds a third of them, in units of those of other figures.
SELECTION = 3


def unseen_events(dataset: str, settings: Mapping[str, Any], seed: int, events: int) -> list[SimulatedEvent]:
    """The first events of the test split."""
    if dataset == QCD and not settings:
        return list(qcd_events(seed, events)[:events])
    if dataset == TRACKS:
        settings = {"sources": _SOURCES, **settings}
    return list(make_dataset(dataset, settings).events(events, seed, "test"))


@functools.lru_cache(maxsize=1)
def qcd_events(seed: int, events: int) -> tuple[SimulatedEvent, ...]:
    """``SELECTION * events`` QCD events with pile-up."""
    return tuple(make_dataset(QCD).events(SELECTION * events, seed, "test"))
