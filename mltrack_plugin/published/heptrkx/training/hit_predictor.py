"""Training of the predictors of a track's next hit, with squared errors or with the Gaussian log-likelihood."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models.gaussian_hit_predictor import (
    GaussianHitPredictor,
    GaussianHitPredictorConfig,
    gaussian_nll,
)
from mltrack_plugin.models.hit_predictor import (
    HitPredictor,
    HitPredictorConfig,
    StraightLine,
    wrap,
)
from mltrack_plugin.published.heptrkx.sequences.barrel import (
    HitSequences,
    particle_sequences,
    validity_ranges,
)
from mltrack_plugin.training.settings import TrainingConfig
from mltrack_plugin.training.task import Task, TaskModule

#: Hits (B, L, 3) and mask (B, L).
Batch = tuple[Tensor, Tensor]
#: Steps of a sequence before the direction is known: one hit alone predicts the next one by centimetres.
UNDIRECTED_STEPS = 1


class HitPredictorTrainingConfig(TrainingConfig):
    """A training run of a hit predictor; a batch holds ``batch_size`` tracks."""

    architecture: str = "hit-predictor"
    training_events: int = Field(400, ge=1)
    """Events whose tracks are kept in memory and picked from at random."""
    min_length: int = Field(3, ge=2)
    """Tracks with hits on fewer layers are left out."""


class HitPredictorModule(TaskModule):
    """Mean squared error of the deviation from the straight line, in units of its spread on each layer."""

    def loss(self, hits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Loss of each prediction (B, L - 1) and its residual (B, L - 1, 2): phi [rad], z [mm]."""
        output, line = self.network.normalised(hits[:, :-1])
        miss = self._target(hits, line) - output
        return miss.square().sum(-1), miss * self.network.line.output_scale

    def _target(self, hits: Tensor, line: Tensor) -> Tensor:
        """(B, L - 1, 2): true deviation from the line on the next layer, in units of the output scale."""
        deviation = torch.stack([wrap(hits[:, 1:, 1] - line[..., 0]), hits[:, 1:, 2] - line[..., 1]], 2)
        scale: Tensor = self.network.line.output_scale
        return deviation / scale

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        hits, mask = batch
        loss = masked_mean(self.loss(hits, mask)[0], mask[:, 1:])
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        hits, mask = batch
        loss, residual = self.loss(hits, mask)
        size = len(hits)
        self.log("val_score", -masked_mean(loss, mask[:, 1:]), prog_bar=True, batch_size=size)
        directed = mask[:, 1 + UNDIRECTED_STEPS :]
        error = residual[:, UNDIRECTED_STEPS:]
        rphi = error[..., 0] * hits[:, 1 + UNDIRECTED_STEPS :, 0]
        for name, values in (("rphi", rphi), ("z", error[..., 1])):
            self.log(f"val_rms_{name}_mm", masked_mean(values.square(), directed).sqrt(), batch_size=size)


class GaussianHitPredictorModule(HitPredictorModule):
    """Negative logarithm of the Gaussian likelihood of the next hit."""

    def loss(self, hits: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        gaussian, line = self.network.normalised(hits[:, :-1])
        target = self._target(hits, line)
        residual = (target - gaussian[..., :2]) * self.network.line.output_scale
        return gaussian_nll(gaussian, target), residual


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of the entries where the mask is true."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def measure_constants(sequences: HitSequences, config: HitPredictorConfig) -> HitPredictorConfig:
    """Mean radius of each layer and root mean square of the deviations from straight lines, on training tracks.

    Layers that no track reaches keep the values of ``config``.
    """
    hits, mask = torch.from_numpy(sequences.hits), torch.from_numpy(sequences.mask)
    count = mask.sum(0)
    mean = (hits[..., 0].double() * mask).sum(0) / count.clamp(min=1)
    radii = torch.where(count > 0, mean, torch.tensor(config.radii, dtype=torch.float64))
    settings = config.model_dump() | {"radii": tuple(radii.tolist())}
    line = StraightLine(HitPredictorConfig.model_validate(settings))
    deviations, ahead = line(hits[:, :-1])
    misses = torch.stack([wrap(hits[:, 1:, 1] - ahead[..., 0]), hits[:, 1:, 2] - ahead[..., 1]], 2)
    for name, values, seen in (
        ("input_scale", deviations, mask[:, :-1]),
        ("output_scale", misses, mask[:, 1:]),
    ):
        square = (values.double().square() * seen[..., None]).sum(0) / seen.sum(0).clamp(min=1)[:, None]
        rms = torch.where(square > 0, square.sqrt(), torch.ones_like(square))
        settings[name] = tuple(tuple(row) for row in rms.tolist())
    return type(config).model_validate(settings)


class HitPredictorTask(Task):
    """Prediction of the next hit of single tracks."""

    Config = HitPredictorTrainingConfig
    #: Outputs and their units.
    outputs: ClassVar[dict[str, str]] = {"phi": "rad", "z": "mm"}
    loss_name: ClassVar[str] = "mean squared error in units of the spread on each layer"

    def sequences(self, split: str, n_events: int) -> HitSequences:
        """The tracks of the first events of a split.

        Raises:
            ConfigurationError: if none of them has hits on enough barrel layers.
        """
        source = self.source(split)
        events = (source(i) for i in range(n_events))
        found = HitSequences.join(
            [particle_sequences(e.hits, e.truth_links, self.config.min_length) for e in events]
        )
        if not len(found):
            raise ConfigurationError(
                f"no particle of {n_events} {split} events of {self.config.dataset!r} has hits on the "
                f"{self.config.min_length} innermost barrel layers; the predictors need barrel tracks"
            )
        return found

    @functools.cached_property
    def _pool(self) -> HitSequences:
        return self.sequences("train", self.config.training_events)

    def module(self) -> TaskModule:
        settings = measure_constants(self._pool, self.settings_for(HitPredictorConfig))
        return HitPredictorModule(self.config, HitPredictor(settings))

    def training_batches(self, start: int) -> Iterator[Batch]:
        config = self.config
        hits, mask = torch.from_numpy(self._pool.hits), torch.from_numpy(self._pool.mask)
        number = start
        while True:
            rows = np.random.default_rng([config.seed, number]).integers(len(hits), size=config.batch_size)
            yield hits[rows], mask[rows]
            number += 1

    def validation_batches(self) -> Sequence[Batch]:
        found = self.sequences("validation", self.config.validation_events)
        return [(torch.from_numpy(found.hits), torch.from_numpy(found.mask))]

    def card(self, module: TaskModule) -> dict[str, Any]:
        network, card = module.network, self.common_card()
        line = network.line
        settings = {
            "hidden": network.lstm.hidden_size,
            **{name: getattr(line, name).tolist() for name in ("radii", "input_scale", "output_scale")},
        }
        card["training_recipe"]["loss"] = self.loss_name
        return card | {
            "kind": "sequence",
            "hyperparameters": settings,
            "features": ["r", "phi", "z"],
            "units": {"r": "mm", **self.outputs},
            "coordinate_system": "cylindrical",
            "outputs": list(self.outputs),
            "validity": validity_ranges(self._pool.hits[self._pool.mask]),
        }


class GaussianHitPredictorTask(HitPredictorTask):
    """Prediction of the next hit of single tracks, with its covariance."""

    outputs: ClassVar[dict[str, str]] = {
        "phi": "rad",
        "z": "mm",
        "cov_phi_phi": "rad^2",
        "cov_phi_z": "rad mm",
        "cov_z_z": "mm^2",
    }
    loss_name: ClassVar[str] = "Gaussian log-likelihood"

    def module(self) -> TaskModule:
        settings = measure_constants(self._pool, self.settings_for(GaussianHitPredictorConfig))
        assert isinstance(settings, GaussianHitPredictorConfig)
        return GaussianHitPredictorModule(self.config, GaussianHitPredictor(settings))
