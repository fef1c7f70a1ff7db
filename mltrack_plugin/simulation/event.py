"""SimulatedEvent: the hits of an event with their truth."""

from __future__ import annotations

import dataclasses

from mltrack_plugin.event_data import Hits, Particles, TruthLinks


@dataclasses.dataclass(frozen=True)
class SimulatedEvent:
    """One simulated event; ``truth_links`` is row by row beside ``hits``."""

    hits: Hits
    truth_links: TruthLinks
    particles: Particles
