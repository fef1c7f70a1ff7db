"""Training of :class:`~mltrack_plugin.models.gru_assignment.GruAssignment`: the slot of each hit's track."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models.gru_assignment import GruAssignment, GruAssignmentConfig
from mltrack_plugin.published.heptrkx.sequences.barrel import barrel_layer, cylindrical, validity_ranges
from mltrack_plugin.published.heptrkx.sequences.slots import order_by_azimuth, true_slots
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.settings import TrainingConfig
from mltrack_plugin.training.task import Task, TaskModule
from mltrack_plugin.training.validation import ScoredModule

Array = npt.NDArray[Any]
#: Hits (B, N, 3) in order, mask (B, N), true slots (B, N), particle ids (B, N) as int64.
Batch = tuple[Tensor, Tensor, Tensor, Tensor]
#: The same of one event, as arrays without a mask.
Sample = tuple[Array, Array, Array]


class GruAssignmentTrainingConfig(TrainingConfig):
    """A training run of the assignment to track slots."""

    architecture: str = "gru-assignment"
    training_events: int = Field(20000, ge=1)
    """Events that are kept in memory and picked from at random."""


class GruAssignmentModule(ScoredModule):
    """Cross entropy of each hit's slot; validation gives the TrackML score of the slots as tracks."""

    def _loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        hits, mask, slot, _ = batch
        logits = self.network.logits(hits, mask)
        return functional.cross_entropy(logits[mask], slot[mask]), logits.argmax(2)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        loss, _ = self._loss(batch)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        loss, found = self._loss(batch)
        _, mask, slot, particle = batch
        size = int(mask.sum())
        self.log("val_loss", loss, batch_size=size)
        self.log("val_accuracy", (found == slot)[mask].float().mean(), batch_size=size)
        for i in range(len(mask)):
            label = found[i][mask[i]].cpu().numpy() - 1
            # Ids of particles count from 1, as rows from 0 do.
            self._scores.add(label, particle[i][mask[i]].cpu().numpy() - 1)


def sample(event: SimulatedEvent, slots: int) -> Sample:
    """Barrel hits in order (n, 3), their true slots (n,), their particle ids (n,)."""
    rows = np.flatnonzero(barrel_layer(event.hits) >= 0)
    order, ordered = order_by_azimuth(cylindrical(event.hits)[rows])
    particle_id = event.truth_links.particle_id[rows[order]]
    return ordered, true_slots(ordered, particle_id, slots), particle_id


def collate(samples: Sequence[Sample]) -> Batch:
    """Pad events to the longest."""
    n = max(len(slot) for _, slot, _ in samples)
    hits = torch.zeros(len(samples), n, 3)
    slots = torch.zeros(len(samples), n, dtype=torch.int64)
    particles = torch.zeros(len(samples), n, dtype=torch.int64)
    mask = torch.zeros(len(samples), n, dtype=torch.bool)
    for i, (ordered, slot, particle_id) in enumerate(samples):
        hits[i, : len(slot)] = torch.from_numpy(ordered)
        slots[i, : len(slot)] = torch.from_numpy(slot)
        particles[i, : len(slot)] = torch.from_numpy(particle_id.astype(np.int64))
        mask[i, : len(slot)] = True
    return hits, mask, slots, particles


class GruAssignmentTask(Task):
    """Assignment of hits to track slots, at low multiplicity."""

    Config = GruAssignmentTrainingConfig

    @property
    def _slots(self) -> int:
        return self.settings_for(GruAssignmentConfig).slots

    def samples(self, split: str, n_events: int) -> list[Sample]:
        """The first events of a split; those without barrel hits are left out.

        Raises:
            ConfigurationError: if none has barrel hits.
        """
        source = self.source(split)
        found = [sample(source(i), self._slots) for i in range(n_events)]
        found = [one for one in found if len(one[1])]
        if not found:
            raise ConfigurationError(
                f"none of {n_events} {split} events of {self.config.dataset!r} has hits on the barrel layers"
            )
        return found

    @functools.cached_property
    def _pool(self) -> list[list[Sample]]:
        """Training events by their number of hits: batches of equal length need no padding and take half the time."""
        by_length: dict[int, list[Sample]] = {}
        for one in self.samples("train", self.config.training_events):
            by_length.setdefault(len(one[1]), []).append(one)
        return [by_length[n] for n in sorted(by_length)]

    def module(self) -> GruAssignmentModule:
        return GruAssignmentModule(self.config, GruAssignment(self.settings_for(GruAssignmentConfig)))

    def training_batches(self, start: int) -> Iterator[Batch]:
        config, groups = self.config, self._pool
        share = np.array([len(group) for group in groups], dtype=np.float64)
        number = start
        while True:
            rng = np.random.default_rng([config.seed, number])
            group = groups[rng.choice(len(groups), p=share / share.sum())]
            batch = collate([group[i] for i in rng.integers(len(group), size=config.batch_size)])
            # The detector is the same on both sides of z = 0: every event is two.
            batch[0][..., 2] *= torch.from_numpy(rng.choice([-1.0, 1.0], (config.batch_size, 1))).float()
            yield batch
            number += 1

    def validation_batches(self) -> Sequence[Batch]:
        found = self.samples("validation", self.config.validation_events)
        size = self.config.batch_size
        return [collate(found[i : i + size]) for i in range(0, len(found), size)]

    def card(self, module: TaskModule) -> dict[str, Any]:
        card = self.common_card()
        card["training_recipe"]["loss"] = "cross entropy of each hit's slot"
        settings = self.settings_for(GruAssignmentConfig)
        hits = np.concatenate([ordered for group in self._pool for ordered, _, _ in group])
        names = ["none", *(f"slot_{i}" for i in range(1, settings.slots + 1))]
        most = float(max(len(group[0][1]) for group in self._pool))
        return card | {
            "kind": "sequence",
            "hyperparameters": settings.model_dump(mode="json"),
            "features": ["r", "phi", "z"],
            "units": {"r": "mm", "phi": "rad", "z": "mm", **dict.fromkeys(names, "1")},
            "coordinate_system": "cylindrical",
            "outputs": names,
            "validity": {**validity_ranges(hits), "n_hits": [1.0, most]},
        }
