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
from mltrack_plugin.models.enccla import OUTPUTS, EncCla, EncClaConfig
from mltrack_plugin.performance.matching import match_tracks
from mltrack_plugin.performance.scores import Fraction, trackml_score
from mltrack_plugin.training.config import TrainingConfig
from mltrack_plugin.training.data import Batch, EventBatches, collate
from mltrack_plugin.training.encreg import measure
from mltrack_plugin.training.losses import agreement_loss, class_loss
from mltrack_plugin.training.targets import PARAMETERS, hit_targets
from mltrack_plugin.training.task import Task, TaskModule
from mltrack_plugin.training.warm_start import warm_started


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
    #: Model (shipped, or a file) of EncReg or EncCla of the same sizes that gives the initial weights; None = random.
    warm_start: str | None = None
    #: Without a warm start: start with attention to the hits nearest in phi and eta, of this sharpness.
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

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(cross entropy, agreement within particles, parting of particles, probabilities (B, N, C))."""
        features, mask, values, particle = batch
        log_probability = torch.log_softmax(self.network.logits(features, mask).float(), dim=2)
        shape = (*particle.shape, -1)
        found, weights = self.network.bins.shared(
            values.flatten(0, 1).cpu().numpy(), self.config.smoothing, self.smooth
        )
        classes, shares = (torch.from_numpy(array).to(mask.device).view(shape) for array in (found, weights))
        entropy = class_loss(log_probability, classes, shares * (particle >= 0)[..., None])
        # Not exp(): it takes four times as long, on denormal results.
        probability = torch.softmax(log_probability, dim=2)
        together, apart = agreement_loss(probability, particle, self.config.anchors)
        return entropy, together, apart, probability

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        entropy, together, apart, _ = self.losses(batch)
        self.log_dict({"classes": entropy, "together": together, "apart": apart}, prog_bar=True)
        return self.config.class_weight * entropy + self.config.agreement_weight * (together + apart)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        entropy, together, apart, probability = self.losses(batch)
        _, mask, _, particle = batch
        size = len(mask)
        names = {"val_classes": entropy, "val_together": together, "val_apart": apart}
        self.log_dict(names, batch_size=size)
        best, choice = (tensor.cpu().numpy() for tensor in probability.topk(2, dim=2))
        for i in range(size):
            real = mask[i].cpu().numpy()
            labels, _ = class_groups(choice[i][real], best[i][real], self.config.min_hits)
            truth = (particle[i].cpu().numpy()[real] + 1).astype(np.uint64)
            self._validation.append(trackml_score(match_tracks(labels, truth)))

    def on_validation_epoch_end(self) -> None:
        correct = sum(score.numerator for score in self._validation)
        self.log("val_score", correct / sum(score.denominator for score in self._validation), prog_bar=True)
        self._validation.clear()


class EncClaTask(Task):
    """Classes of quantile bins; validation scores the groups of equal class."""

    Config = EncClaTrainingConfig

    def module(self) -> ClassTraining:
        config, source = self.config, self.source("train")
        names = tuple(config.bins)
        self._validity = measure(source, names).validity
        events = [source(i) for i in range(config.bin_events)]
        found = [hit_targets(event.particles, event.truth_links, names) for event in events]
        values = np.concatenate([value[row >= 0] for value, row in found])
        bins = QuantileBins.measured(values, config.bins)
        if config.warm_start is not None:
            return ClassTraining(config, warm_started(self._encoder, bins, config.warm_start, events))
        network = EncCla(EncClaConfig.with_bins(self._encoder, bins))
        if config.kernel_start is not None:
            network.start_as_kernel(config.kernel_start)
        return ClassTraining(config, network)

    @property
    def _encoder(self) -> dict[str, Any]:
        """Settings of the network without its bins."""
        config = self.config
        return {**config.network, "input_mean": (0.0,) * 3, "input_scale": (config.length_scale,) * 3}

    def training_batches(self, start: int) -> Iterator[Batch]:
        config = self.config
        source = self.source("train")
        return iter(EventBatches(source, tuple(config.bins), config.batch_size, start, config.seed))

    def validation_batches(self) -> Sequence[Batch]:
        config = self.config
        source = self.source("validation")
        events = [source(i) for i in range(config.validation_events)]
        chunks = [events[i : i + config.batch_size] for i in range(0, len(events), config.batch_size)]
        return [collate(chunk, tuple(config.bins)) for chunk in chunks]

    def card(self, module: TaskModule) -> dict[str, Any]:
        config = self.config
        card = self.common_card()
        recipe = card["training_recipe"]
        recipe["loss"] = (
            f"{config.class_weight} cross entropy (labels shared within {config.smoothing} of a bin) + "
            f"{config.agreement_weight} agreement"
        )
        recipe["warm_start"] = config.warm_start
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
