"""The LightningModule that trains a per-hit regression."""

from __future__ import annotations

import math
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn

from mltrack_plugin.clustering import cluster_hdbscan
from mltrack_plugin.performance.matching import match_tracks
from mltrack_plugin.performance.scores import Fraction, trackml_score
from mltrack_plugin.training.config import TrainingConfig
from mltrack_plugin.training.data import Batch
from mltrack_plugin.training.losses import contrastive_loss, regression_loss

#: Normalised targets are clipped here: a displaced particle must not outweigh the rest of its event.
MAX_TARGET = 6.0


class RegressionTraining(lightning.LightningModule):  # type: ignore[misc]
    """Regression and contrastive loss on the regressed parameters; scores clustering on validation events.

    Args:
        config: the training run.
        network: module with ``normalised(features, mask)`` and buffers ``output_mean``, ``output_scale``.
    """

    def __init__(self, config: TrainingConfig, network: nn.Module) -> None:
        super().__init__()
        self.config = config
        self.network = network
        #: Clustering scale of each normalised output.
        self.log_scale = nn.Parameter(torch.full((len(config.targets),), math.log(config.initial_scale)))
        self._validation: list[Fraction] = []

    def losses(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """(regression loss, contrastive loss, points (B, N, K) in the clustering space)."""
        features, mask, target, particle = batch
        network: Any = self.network
        output = network.normalised(features, mask).float()
        normalised = ((target - network.output_mean) / network.output_scale).clamp(-MAX_TARGET, MAX_TARGET)
        regression = regression_loss(output, normalised, particle, self.config.regression_beta)
        points = output / self.log_scale.exp()
        contrastive = contrastive_loss(points, particle, mask, self.config.anchors)
        return regression, contrastive, points

    def total_loss(self, regression: Tensor, contrastive: Tensor) -> Tensor:
        """The weighted sum of the two losses."""
        return self.config.regression_weight * regression + self.config.contrastive_weight * contrastive

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        regression, contrastive, _ = self.losses(batch)
        self.log_dict({"regression": regression, "contrastive": contrastive}, prog_bar=True)
        return self.total_loss(regression, contrastive)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        regression, contrastive, points = self.losses(batch)
        _, mask, _, particle = batch
        size = len(mask)
        self.log_dict({"val_regression": regression, "val_contrastive": contrastive}, batch_size=size)
        for i in range(size):
            real = mask[i].cpu().numpy()
            labels, _ = cluster_hdbscan(
                points[i].cpu().numpy()[real],
                min_cluster_size=self.config.clustering.min_cluster_size,
                min_samples=self.config.clustering.min_samples,
            )
            truth = (particle[i].cpu().numpy()[real] + 1).astype(np.uint64)
            self._validation.append(trackml_score(match_tracks(labels, truth)))

    def on_validation_epoch_end(self) -> None:
        correct = sum(score.numerator for score in self._validation)
        self.log("val_score", correct / sum(score.denominator for score in self._validation), prog_bar=True)
        self._validation.clear()

    def configure_optimizers(self) -> Any:
        config = self.config
        decay = [p for p in self.parameters() if p.ndim >= 2]
        other = [p for p in self.parameters() if p.ndim < 2]
        optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": config.weight_decay}, {"params": other, "weight_decay": 0.0}],
            lr=config.learning_rate,
            betas=(0.9, 0.98),
        )

        def factor(step: int) -> float:
            if step < config.warmup_steps:
                return (step + 1) / config.warmup_steps
            done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
            return 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
