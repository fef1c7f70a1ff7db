"""What the trainings of classifiers of hits share: quantile bins as classes, their losses, the score of the groups."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.clustering.class_groups import class_groups
from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.models.consensus import OUTPUTS
from mltrack_plugin.settings import Config as BaseConfig
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.data import PackedBatch, events_by_hits, pack
from mltrack_plugin.training.encreg import measure
from mltrack_plugin.training.settings import TrainingConfig, portable_settings
from mltrack_plugin.training.targets import PARAMETERS, hit_targets
from mltrack_plugin.training.task import Task, TaskModule, with_hits
from mltrack_plugin.training.validation import ScoredModule, event_weights


class ClassTrainingConfig(TrainingConfig):
    """A training run of a classifier of hits."""

    bins: dict[str, int] = Field(min_length=1)
    """Binned track parameters and their number of quantile bins; all combinations are classes."""
    bin_events: int = Field(2000, ge=1)
    """Training events that the edges of the bins are measured on."""
    smoothing: float = Field(0.0, ge=0.0, le=0.5)
    """Labels are shared with the neighbouring bin up to this distance from the border, as a fraction of the bin."""
    class_weight: float = Field(1.0, ge=0)
    """Weight of the cross entropy of the classes."""
    agreement_weight: float = Field(0.0, ge=0)
    """Weight of the agreement of the hits of a particle, and of its parting from other particles; 0 = as published."""
    anchors: int = Field(64, ge=1)
    """Hits per event that the agreement compares with all others."""
    batch_hits: int = Field(3000, ge=1)
    """Packed batches: events are added until a batch has so many hits."""
    start_from: str | None = None
    """Shipped model, archive or checkpoint with the same network to start from; None = untrained."""
    length_scale: float = Field(1.0, gt=0)
    """Raw coordinates are divided by this (the size of the detector), in their units."""
    min_hits: int = Field(4, ge=1)
    """Smallest group of hits that counts as a track in validation."""
    rounds: int = Field(0, ge=0)
    """Rounds of agreement in validation (see :func:`~mltrack_plugin.clustering.class_groups.settle`)."""


class ClassTraining(ScoredModule):
    """Cross entropy and agreement of classes; scores the hits of equal class on validation events.

    Args:
        config: the training run.
        network: the classifier, with its ``bins``.
    """

    def __init__(self, config: ClassTrainingConfig, network: nn.Module) -> None:
        super().__init__(config, network)
        #: Discrete parameters have no neighbours that a label could be shared with.
        self.smooth = [name for name in self.network.bins.names if name != "q"]

    @abstractmethod
    def losses(self, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(cross entropy, agreement within particles, parting of particles, what :meth:`best` reads)."""

    @abstractmethod
    def best(self, found: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and numbers (M, K) of the most probable classes of each hit, K as in the network's output."""

    def training_step(self, batch: PackedBatch, batch_index: int) -> Tensor:
        entropy, together, apart, _ = self.losses(batch)
        size = len(batch.packing.lengths)
        parts = {"classes": entropy, "together": together, "apart": apart}
        self.log_dict(parts, prog_bar=True, batch_size=size)
        config: ClassTrainingConfig = self.config
        return config.class_weight * entropy + config.agreement_weight * (together + apart)

    def validation_step(self, batch: PackedBatch, batch_index: int) -> None:
        entropy, together, apart, found = self.losses(batch)
        parts = {"val_classes": entropy, "val_together": together, "val_apart": apart}
        lengths = list(batch.packing.lengths)
        self.log_dict(parts, batch_size=len(lengths))
        best, choice = self.best(found)
        events = (torch.split(part.cpu(), lengths) for part in (choice, best, batch.particle))
        for choices, values, particle in zip(*events, strict=True):
            labels, _ = class_groups(
                choices.numpy(), values.numpy(), self.config.min_hits, rounds=self.config.rounds
            )
            self._scores.add(labels, particle.numpy(), next(self._weights))


class ClassTask(Task):
    """Classes of quantile bins; validation scores the groups of equal class."""

    Config: ClassVar[type[TrainingConfig]] = ClassTrainingConfig
    #: Columns of the network's output.
    outputs: ClassVar[tuple[str, ...]] = OUTPUTS

    @abstractmethod
    def settings(self, bins: QuantileBins) -> BaseConfig:
        """Settings of the network with these bins."""

    @abstractmethod
    def classifier(self) -> ClassTraining:
        """The module with its network, of :meth:`measured_bins`."""

    def module(self) -> ClassTraining:
        module, detector = self.classifier(), self.dataset.detector
        module.validation_weights = [event_weights(event, detector) for event in self.validation_events]
        return module

    @functools.cached_property
    def validation_events(self) -> list[SimulatedEvent]:
        """Those with hits."""
        return with_hits(self.source("validation"), self.config.validation_events)

    def measured_bins(self) -> tuple[QuantileBins, list[SimulatedEvent]]:
        """Bins of the training events, and these events; the validity ranges are measured as well."""
        config, source = self.config, self.source("train")
        names = tuple(config.bins)
        self._validity = measure(source, names).validity
        events = [source(i) for i in range(config.bin_events)]
        found = [hit_targets(event.particles, event.truth_links, names) for event in events]
        values = np.concatenate([value[row >= 0] for value, row in found])
        return QuantileBins.measured(values, config.bins), events

    def training_batches(self, start: int) -> Iterator[PackedBatch]:
        config = self.config
        batches = events_by_hits(self.source("train"), config.batch_hits, start)
        return (pack(events, tuple(config.bins)) for events in batches)

    def validation_batches(self) -> Sequence[PackedBatch]:
        return [pack([event], tuple(self.config.bins)) for event in self.validation_events]

    def card(self, module: TaskModule) -> dict[str, Any]:
        config = self.config
        card = self.common_card()
        recipe = card["training_recipe"]
        recipe["loss"] = (
            f"{config.class_weight} cross entropy (labels shared within {config.smoothing} of a bin) + "
            f"{config.agreement_weight} agreement"
        )
        recipe["batch_size"] = f"{config.batch_hits} hits"
        if config.start_from is not None:
            # A name, not a path of this machine.
            recipe |= portable_settings({"started_from": config.start_from})
        return card | {
            "hyperparameters": self.settings(module.network.bins).model_dump(mode="json"),
            "features": ["x", "y", "z"],
            "units": {
                **dict.fromkeys(("x", "y", "z"), config.length_unit),
                **{name: PARAMETERS[name][0] for name in config.bins},
                **dict.fromkeys(self.outputs, "1"),
            },
            "coordinate_system": "cartesian",
            "outputs": list(self.outputs),
            "output_scales": [1.0] * len(self.outputs),
            "validity": {name: list(limits) for name, limits in self._validity.items()},
        }
