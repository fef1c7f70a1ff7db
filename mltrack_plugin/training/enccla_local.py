"""Training of :class:`~mltrack_plugin.models.enccla_local.EncClaLocal`: classes of quantile bins, local attention."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.models.enccla_local import EncClaLocal, EncClaLocalConfig
from mltrack_plugin.training.classes import ClassTask, ClassTrainingConfig
from mltrack_plugin.training.enccla import EncClaTraining
from mltrack_plugin.training.local_class_start import started_from_embedding


class EncClaLocalTrainingConfig(ClassTrainingConfig):
    """A training run of EncCla with local attention; it may start from an EncEmb with the same encoder as well."""

    architecture: str = "enccla-local"
    targets: tuple[str, ...] = Field(min_length=1)
    """Track parameters that the encoder's last state is reduced to, beside the embedding."""
    start_width: float = Field(0.5, gt=0)
    """Start from EncEmb with a consensus of this width, in units of the embedding."""


class EncClaLocalTask(ClassTask):
    """Classes of quantile bins by local attention; validation scores the groups of equal class."""

    Config = EncClaLocalTrainingConfig

    def classifier(self) -> EncClaTraining:
        config: EncClaLocalTrainingConfig = self.config
        bins, events = self.measured_bins()
        if config.start_from is None:
            return EncClaTraining(config, EncClaLocal(self.settings(bins)))
        network = started_from_embedding(
            self._encoder, bins, config.start_from, events, config.targets, config.start_width
        )
        return EncClaTraining(config, network)

    def settings(self, bins: QuantileBins) -> EncClaLocalConfig:
        return EncClaLocalConfig.with_bins(self._encoder, bins)

    @property
    def _encoder(self) -> dict[str, Any]:
        """Settings of the network without its bins."""
        config = self.config
        return {
            **config.network,
            "length_scale": config.length_scale,
            "parameters": len(config.targets),
        }
