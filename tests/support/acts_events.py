"""Events of the particle gun in the GenericDetector, and track candidates from their truth."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from mltrack_plugin.event_data import ProtoTracks, Tracks, TruthLinks
from mltrack_plugin.framework.algorithm import Algorithm, ProcessCode
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.event import SimulatedEvent


@functools.cache
def gun_event(particles: int = 50, noise: float = 0.15, index: int = 0, **settings: Any) -> SimulatedEvent:
    """A gun event, the same for the same arguments."""
    dataset = make_dataset("acts-gun", {"tracks": (particles, particles), "noise": noise, **settings})
    return dataset.event(index, seed=3, split="test")


def shuffled(event: SimulatedEvent, seed: int = 0) -> tuple[SimulatedEvent, np.ndarray]:
    """The event with its hits in another order, and the old row of each new one."""
    rows = np.random.default_rng(seed).permutation(len(event.hits))
    truth = TruthLinks(event.truth_links.particle_id[rows])
    return dataclasses.replace(event, hits=event.hits.take(rows), truth_links=truth), rows


def true_candidates(truth: TruthLinks, min_hits: int = 7) -> ProtoTracks:
    """One candidate per particle with enough hits."""
    _, labels = np.unique(truth.particle_id, return_inverse=True)
    labels = np.where(truth.particle_id == 0, -1, labels)
    return ProtoTracks.from_labels(labels.astype(np.int64), min_hits=min_hits)


class TrueGroups(Algorithm):
    """Candidates from the truth, as an algorithm."""

    Config = Config

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._truth = self.read_handle(TruthLinks, "truth_links")
        self._candidates = self.write_handle(Tracks, "candidate_tracks")

    def execute(self, event_store: EventStore) -> ProcessCode:
        candidates = true_candidates(self._truth(event_store))
        self._candidates(event_store, Tracks.from_candidates(candidates))
        return ProcessCode.SUCCESS


def generated(event: SimulatedEvent, rows: np.ndarray) -> Mapping[str, np.ndarray]:
    """theta, q/p and z0 of prompt particles (rows of Particles) as generated; the beam spot is a few microns wide."""
    p = event.particles
    momentum = np.stack([p.px, p.py, p.pz], axis=1)[rows].astype(float)
    absolute = np.linalg.norm(momentum, axis=1)
    return {"theta": np.arccos(momentum[:, 2] / absolute), "qop": p.q[rows] / absolute, "z0": p.vz[rows]}
