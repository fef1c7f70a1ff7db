"""Training of :class:`~mltrack_plugin.models.enccla.EncCla`: classes of quantile bins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mltrack_plugin.clustering.class_groups import class_groups
from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.models.attention import Backend, check_flash_ready, use_backend
from mltrack_plugin.models.enccla import OUTPUTS, EncCla, EncClaConfig
from mltrack_plugin.performance.matching import match_tracks
from mltrack_plugin.performance.scores import Fraction, trackml_score
from mltrack_plugin.training.class_start import started_from
from mltrack_plugin.training.config import TrainingConfig
from mltrack_plugin.training.data import PackedBatch, events_by_hits, pack
from mltrack_plugin.training.encreg import measure
from mltrack_plugin.training.losses import agreement_loss, class_loss
from mltrack_plugin.training.targets import PARAMETERS, hit_targets
from mltrack_plugin.training.task import Task, TaskModule


class EncClaTrainingConfig(TrainingConfig):
    """A training run of EncCla."""

    architecture: str = "enccla"
    #: Binned track parameters and their number of quantile bins; all combinations are classes.
    bins: dict[str, int] = Field(min_length=1)
    #: Training events that the edges of the bins are measured on.
    bin_events: int = Field(2000, ge=1)
    #: Labels are shared with the neighbouring bin up to this distance from the border, as a fraction of the bin.
    smoothing: float = Field(0.0, ge=0.0, le=0.5)
    #: Weight of the cross entropy of the classes.
    class_weight: float = Field(1.0, ge=0)
    #: Weight of the agreement of the hits of a particle, and of its parting from other particles; 0 = as published.
    agreement_weight: float = Field(0.0, ge=0)
    #: Hits per event that the agreement compares with all others.
    anchors: int = Field(64, ge=1)
    #: How attention is computed (see :mod:`mltrack_plugin.models.attention`); "flash" needs a GPU and half precision.
    attention: Backend = "sdpa"
    #: Packed batches: events are added until a batch has so many hits.
    batch_hits: int = Field(3000, ge=1)
    #: Shipped model, archive or checkpoint of EncReg or EncCla with the same encoder to start from; None = untrained.
    start_from: str | None = None
    #: Without ``start_from``: start with attention to the hits nearest in phi and eta, of this sharpness.
    kernel_start: float | None = Field(None, gt=0)
    #: Raw coordinates are divided by this (the size of the detector), in their units.
    length_scale: float = Field(1.0, gt=0)
    #: Smallest group of hits that counts as a track in validation.
    min_hits: int = Field(4, ge=1)


class ClassTraining(TaskModule):
    """Cross entropy and agreement of classes; scores the hits of equal class on validation events.

    Args:
        config: the training run.
        network: the classifier.
    """

    def __init__(self, config: EncClaTrainingConfig, network: EncCla) -> None:
        super().__init__(config, network)
        #: Discrete parameters have no neighbours that a label could be shared with.
        self.smooth = [name for name in network.bins.names if name != "q"]
        self._validation: list[Fraction] = []
        if config.attention != "sdpa":
            use_backend(network, config.attention)

    def losses(self, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(cross entropy, agreement within particles, parting of particles, probabilities (M, C))."""
        config, device = self.config, batch.particle.device
        logits = self.network.logits_packed(batch.features, batch.packing).float()
        log_probability = torch.log_softmax(logits, dim=1)
        found, weights = self.network.bins.shared(batch.targets.cpu().numpy(), config.smoothing, self.smooth)
        classes, shares = torch.from_numpy(found).to(device), torch.from_numpy(weights).to(device)
        entropy = class_loss(log_probability, classes, shares * (batch.particle >= 0)[:, None])
        # Not exp(): it takes four times as long, on denormal results.
        probability = torch.softmax(log_probability, dim=1)
        with torch.autocast(device.type, enabled=False):
            together, apart = agreement_loss(
                probability, batch.particle, batch.packing.lengths, config.anchors
            )
        return entropy, together, apart, probability

    def training_step(self, batch: PackedBatch, batch_index: int) -> Tensor:
        entropy, together, apart, _ = self.losses(batch)
        size = len(batch.packing.lengths)
        parts = {"classes": entropy, "together": together, "apart": apart}
        self.log_dict(parts, prog_bar=True, batch_size=size)
        config: EncClaTrainingConfig = self.config
        return config.class_weight * entropy + config.agreement_weight * (together + apart)

    def validation_step(self, batch: PackedBatch, batch_index: int) -> None:
        entropy, together, apart, probability = self.losses(batch)
        parts = {"val_classes": entropy, "val_together": together, "val_apart": apart}
        lengths = list(batch.packing.lengths)
        self.log_dict(parts, batch_size=len(lengths))
        best, choice = probability.topk(2, dim=1)
        events = (torch.split(part.cpu(), lengths) for part in (choice, best, batch.particle))
        for choices, values, particle in zip(*events, strict=True):
            labels, _ = class_groups(choices.numpy(), values.numpy(), self.config.min_hits)
            truth = (particle.numpy() + 1).astype(np.uint64)
            self._validation.append(trackml_score(match_tracks(labels, truth)))

    def on_validation_epoch_end(self) -> None:
        correct = sum(score.numerator for score in self._validation)
        self.log("val_score", correct / sum(score.denominator for score in self._validation), prog_bar=True)
        self._validation.clear()


class EncClaTask(Task):
    """Classes of quantile bins; validation scores the groups of equal class."""

    Config = EncClaTrainingConfig

    def check(self, device: str) -> None:
        if self.config.attention == "flash":
            check_flash_ready(device, half=self.config.precision != "32-true")

    def module(self) -> ClassTraining:
        config, source = self.config, self.source("train")
        names = tuple(config.bins)
        self._validity = measure(source, names).validity
        events = [source(i) for i in range(config.bin_events)]
        found = [hit_targets(event.particles, event.truth_links, names) for event in events]
        values = np.concatenate([value[row >= 0] for value, row in found])
        bins = QuantileBins.measured(values, config.bins)
        if config.start_from is not None:
            return ClassTraining(config, started_from(self._encoder, bins, config.start_from, events))
        network = EncCla(EncClaConfig.with_bins(self._encoder, bins))
        if config.kernel_start is not None:
            network.start_as_kernel(config.kernel_start)
        return ClassTraining(config, network)

    @property
    def _encoder(self) -> dict[str, Any]:
        """Settings of the network without its bins."""
        config = self.config
        return {**config.network, "input_mean": (0.0,) * 3, "input_scale": (config.length_scale,) * 3}

    def training_batches(self, start: int) -> Iterator[PackedBatch]:
        config = self.config
        batches = events_by_hits(self.source("train"), config.batch_hits, start)
        return (pack(events, tuple(config.bins)) for events in batches)

    def validation_batches(self) -> Sequence[PackedBatch]:
        source = self.source("validation")
        events = [source(i) for i in range(self.config.validation_events)]
        return [pack([event], tuple(self.config.bins)) for event in events if len(event.hits)]

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
            recipe["started_from"] = config.start_from
        return card | {
            "hyperparameters": EncClaConfig.with_bins(self._encoder, module.network.bins).model_dump(
                mode="json"
            ),
            "features": ["x", "y", "z"],
            "units": {
                **dict.fromkeys(("x", "y", "z"), config.length_unit),
                **{name: PARAMETERS[name][0] for name in config.bins},
                **dict.fromkeys(OUTPUTS, "1"),
            },
            "coordinate_system": "cartesian",
            "outputs": list(OUTPUTS),
            "output_scales": [1.0] * len(OUTPUTS),
            "validity": {name: list(limits) for name, limits in self._validity.items()},
        }
