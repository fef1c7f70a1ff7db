"""Training of :class:`~mltrack_plugin.models.enccla.EncCla`: classes of quantile bins."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.models.attention import Backend, check_flash_ready, use_backend
from mltrack_plugin.models.enccla import EncCla, EncClaConfig
from mltrack_plugin.training.class_start import started_from
from mltrack_plugin.training.classes import ClassTask, ClassTraining, ClassTrainingConfig
from mltrack_plugin.training.data import PackedBatch
from mltrack_plugin.training.losses import agreement_loss, class_loss


class EncClaTrainingConfig(ClassTrainingConfig):
    """A training run of EncCla; it may start from an EncReg with the same encoder as well."""

    architecture: str = "enccla"
    attention: Backend = "sdpa"
    """How attention is computed (see :mod:`mltrack_plugin.models.attention`); "flash" needs a GPU and half precision.
    """
    kernel_start: float | None = Field(None, gt=0)
    """Without ``start_from``: start with attention to the hits nearest in phi and eta, of this sharpness."""
    start_width: float = Field(0.5, gt=0)
    """Start from EncReg with a consensus of this width, in units of its clustering scales; denser events want less."""


class EncClaTraining(ClassTraining):
    """The losses of the logits of all classes.

    Args:
        config: the training run.
        network: the classifier, with ``logits_packed(features, packing)``.
    """

    def losses(self, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As in the base; the last are the probabilities (M, C)."""
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
                [probability[:, None]], batch.particle, batch.packing.lengths, config.anchors
            )
        return entropy, together, apart, probability

    def best(self, found: Tensor) -> tuple[Tensor, Tensor]:
        best, number = found.topk(2, dim=1)
        return best, number


class EncClaTask(ClassTask):
    """Classes of quantile bins by attention; validation scores the groups of equal class."""

    Config = EncClaTrainingConfig

    def check(self, device: str) -> None:
        if self.config.attention == "flash":
            check_flash_ready(device, half=self.config.precision != "32-true")

    def classifier(self) -> EncClaTraining:
        config = self.config
        bins, events = self.measured_bins()
        if config.start_from is not None:
            network = started_from(self._encoder, bins, config.start_from, events, config.start_width)
        else:
            network = EncCla(self.settings(bins))
            if config.kernel_start is not None:
                network.start_as_kernel(config.kernel_start)
        if config.attention != "sdpa":
            use_backend(network, config.attention)
        return EncClaTraining(config, network)

    def settings(self, bins: QuantileBins) -> EncClaConfig:
        return EncClaConfig.with_bins(self._encoder, bins)

    @property
    def _encoder(self) -> dict[str, Any]:
        """Settings of the network without its bins."""
        config = self.config
        return {**config.network, "input_mean": (0.0,) * 3, "input_scale": (config.length_scale,) * 3}
