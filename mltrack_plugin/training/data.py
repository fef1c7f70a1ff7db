"""Batches of simulated events for training: infinite, deterministic, resumable at any step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from mltrack_plugin.models.attention import Packing
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.targets import hit_targets
from mltrack_plugin.training.task import EventSource

#: features (B, N, 3), mask (B, N), targets (B, N, K), particle rows (B, N).
Batch = tuple[Tensor, Tensor, Tensor, Tensor]

#: Events that a batch of a number of hits may draw from: its numbers are ``batch * EVENTS_PER_BATCH`` and on.
EVENTS_PER_BATCH = 256

#: Batches are cut from pools of this many batches, sorted by the number of hits, to keep padding small.
POOL_BATCHES = 8


class PackedBatch(NamedTuple):
    """Events behind one another, without padding: M hits in all."""

    #: (M, 3) float32.
    features: Tensor
    #: Where each event lies.
    packing: Packing
    #: (M, K) float32.
    targets: Tensor
    #: (M,) int64: row of the hit's particle in its event, -1 for noise.
    particle: Tensor


def pack(events: Sequence[SimulatedEvent], targets: tuple[str, ...]) -> PackedBatch:
    """Put events with at least one hit behind one another."""
    events = [event for event in events if len(event.hits)]
    found = [hit_targets(event.particles, event.truth_links, targets) for event in events]
    return PackedBatch(
        torch.from_numpy(np.concatenate([event.hits.positions for event in events]).astype(np.float32)),
        Packing.of([len(event.hits) for event in events]),
        torch.from_numpy(np.concatenate([values for values, _ in found])),
        torch.from_numpy(np.concatenate([rows for _, rows in found])),
    )


def events_by_hits(source: EventSource, batch_hits: int, start: int) -> Iterator[list[SimulatedEvent]]:
    """Endless batches number ``start``, ``start + 1``, ...: events are added until there are ``batch_hits`` hits."""
    number = start
    while True:
        events: list[SimulatedEvent] = []
        hits = 0
        for i in range(EVENTS_PER_BATCH):
            events.append(source(number * EVENTS_PER_BATCH + i))
            hits += len(events[-1].hits)
            if hits >= batch_hits:
                break
        yield events
        number += 1


def collate(events: list[SimulatedEvent], targets: tuple[str, ...]) -> Batch:
    """Pad events to the longest."""
    n = max(len(event.hits) for event in events)
    features = torch.zeros(len(events), n, 3)
    mask = torch.zeros(len(events), n, dtype=torch.bool)
    values = torch.zeros(len(events), n, len(targets))
    rows = torch.full((len(events), n), -1, dtype=torch.int64)
    for i, event in enumerate(events):
        target, row = hit_targets(event.particles, event.truth_links, targets)
        m = len(row)
        features[i, :m] = torch.from_numpy(np.array(event.hits.positions))
        mask[i, :m] = True
        values[i, :m] = torch.from_numpy(target)
        rows[i, :m] = torch.from_numpy(row)
    return features, mask, values, rows


class EventBatches(IterableDataset[Batch]):
    """Batches number ``start``, ``start + 1``, ... of an endless stream.

    Args:
        source: events by index.
        targets: names of the regressed parameters.
        batch_size: events per batch.
        start: first batch; a resumed training goes on where it stopped.
        seed: order of the batches within a pool.
    """

    def __init__(
        self, source: EventSource, targets: tuple[str, ...], batch_size: int, start: int, seed: int
    ) -> None:
        self.source = source
        self.targets = targets
        self.batch_size = batch_size
        self.start = start
        self.seed = seed

    def __iter__(self) -> Iterator[Batch]:
        pool, offset = divmod(self.start, POOL_BATCHES)
        while True:
            size = POOL_BATCHES * self.batch_size
            events = [self.source(pool * size + i) for i in range(size)]
            events = sorted((e for e in events if len(e.hits)), key=lambda event: len(event.hits))
            order = np.random.default_rng([self.seed, pool]).permutation(POOL_BATCHES)
            for i in order[offset:]:
                chosen = events[i * self.batch_size : (i + 1) * self.batch_size]
                yield collate(chosen or events[-self.batch_size :], self.targets)
            pool, offset = pool + 1, 0
