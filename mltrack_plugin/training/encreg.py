"""Training of :class:`~mltrack_plugin.models.encreg.EncReg`: regression of track parameters per hit."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.clustering.hdbscan import ClusteringSettings, cluster_hdbscan
from mltrack_plugin.models.attention import Backend, check_flash_ready, use_backend
from mltrack_plugin.models.encreg import EncReg, EncRegConfig
from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.data import Batch, EventBatches, PackedBatch, collate, events_by_hits, pack
from mltrack_plugin.training.files import training_dataset
from mltrack_plugin.training.losses import anchor_loss, contrastive_loss, regression_loss
from mltrack_plugin.training.settings import TrainingConfig, ValidationSet
from mltrack_plugin.training.targets import PARAMETERS, hit_targets
from mltrack_plugin.training.task import EventSource, Task, TaskModule, with_hits
from mltrack_plugin.training.validation import ScoredModule, event_weights
from mltrack_plugin.training.warm_start import start_from


class EncRegTrainingConfig(TrainingConfig):
    """A training run of EncReg."""

    architecture: str = "encreg"
    start_from: str | None = None
    """Shipped model, archive or checkpoint of the same sizes to start from; None = untrained."""
    attention: Backend = "sdpa"
    """How attention is computed (see :mod:`mltrack_plugin.models.attention`); "flash" needs a GPU and half precision.
    """
    batch_hits: int | None = Field(None, ge=1)
    """Packed batches: events are added until a batch has so many hits. None = ``batch_size`` events, padded."""
    kernel_start: float | None = Field(None, gt=0)
    """Start with attention to the hits nearest in phi and eta, of this sharpness; None = random initial weights."""
    targets: tuple[str, ...] = Field(min_length=1)
    """Regressed track parameters, in the order of the outputs."""
    length_scale: float = Field(1.0, gt=0)
    """Raw coordinates are divided by this (the size of the detector), in their units."""
    regression_weight: float = Field(1.0, ge=0)
    """Weight of the regression loss."""
    regression_beta: float = Field(0.1, gt=0)
    """Error, in units of a target's spread, below which the regression loss is quadratic. Small values ask for
    precision beyond what clustering needs on average: it is what separates the closest tracks.
    """
    contrastive_weight: float = Field(1.0, ge=0)
    """Weight of the contrastive loss on the regressed parameters."""
    initial_scale: float = Field(0.1, gt=0)
    """Start value of the clustering scale of each normalised output; it is learned."""
    anchors: int = Field(128, ge=1)
    """Hits per event that the contrastive loss compares with all others."""
    background: float = Field(0.0, ge=0)
    """Imagined hits at distance 0 of each anchor, which give distances a scale; see ``losses.anchor_loss``."""
    validation: ValidationSet | None = None
    """Events of the validation; None = ``validation_events`` of the training's data set."""
    clustering: ClusteringSettings = ClusteringSettings()
    """Clustering of the validation events."""


#: Events from which input and output constants and validity ranges are measured.
STATISTICS_EVENTS = 200


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What training events look like: constants of the network and validity of the model."""

    target_center: tuple[float, ...]
    target_scale: tuple[float, ...]
    validity: dict[str, tuple[float, float]]


def measure(source: EventSource, targets: tuple[str, ...]) -> Statistics:
    """Median and half the central 68% of the targets, and the ranges of the coordinates (widened by 5%).

    Quantiles, because displaced particles give impact parameters a tail of metres.
    """
    events = [source(i) for i in range(STATISTICS_EVENTS)]
    found = [hit_targets(event.particles, event.truth_links, targets) for event in events]
    values = np.concatenate([target[row >= 0] for target, row in found]).astype(np.float64)
    low, middle, high = np.percentile(values, [16.0, 50.0, 84.0], axis=0)
    r = np.concatenate([event.hits.r for event in events])
    z = np.concatenate([event.hits.z for event in events])
    counts = [len(event.hits) for event in events]
    margin = 0.05 * float(r.max())
    return Statistics(
        tuple(middle.tolist()),
        tuple(np.maximum((high - low) / 2.0, 1e-3).tolist()),
        {
            "r": (max(0.0, float(r.min()) - margin), float(r.max()) + margin),
            "z": (float(z.min()) - 2 * margin, float(z.max()) + 2 * margin),
            "n_hits": (1.0, 4.0 * max(counts)),
        },
    )


#: Settings in which a network may differ from the one that it starts from.
FREE_SETTINGS = {"dropout", "surfaces", "input_mean", "input_scale", "output_mean", "output_scale"}
#: Normalised targets are clipped here: a displaced particle must not outweigh the rest of its event.
MAX_TARGET = 6.0


class RegressionTraining(ScoredModule):
    """Regression and contrastive loss on the regressed parameters; scores clustering on validation events.

    Args:
        config: the training run.
        network: module with ``normalised(features, mask)`` and buffers ``output_mean``, ``output_scale``.
    """

    def __init__(self, config: EncRegTrainingConfig, network: nn.Module) -> None:
        super().__init__(config, network)
        #: Clustering scale of each normalised output.
        self.log_scale = nn.Parameter(torch.full((len(config.targets),), math.log(config.initial_scale)))
        if config.attention != "sdpa":
            use_backend(network, config.attention)

    def losses(self, batch: Batch | PackedBatch) -> tuple[Tensor, Tensor, list[Tensor]]:
        """(regression loss, contrastive loss, points (n, K) of each event in the clustering space)."""
        network, config = self.network, self.config
        if isinstance(batch, PackedBatch):
            output = network.normalised_packed(batch.features, batch.packing).float()
            target, particle = batch.targets, batch.particle
        else:
            features, mask, target, particle = batch
            output = network.normalised(features, mask).float()
        normalised = ((target - network.output_mean) / network.output_scale).clamp(-MAX_TARGET, MAX_TARGET)
        regression = regression_loss(output, normalised, particle, config.regression_beta)
        points = output / self.log_scale.exp()
        if not isinstance(batch, PackedBatch):
            contrastive = contrastive_loss(points, particle, mask, config.anchors, config.background)
            return regression, contrastive, [event[real] for event, real in zip(points, mask, strict=True)]
        lengths = list(batch.packing.lengths)
        events = list(torch.split(points, lengths))
        # Distances are differences of close numbers: not in half precision.
        with torch.autocast(points.device.type, enabled=False):
            terms = [
                anchor_loss(one, rows, config.anchors, config.background)
                for one, rows in zip(events, torch.split(particle, lengths), strict=True)
            ]
        total = torch.stack([loss for loss, _ in terms]).sum()
        return regression, total / max(1, sum(n for _, n in terms)), events

    def total_loss(self, regression: Tensor, contrastive: Tensor) -> Tensor:
        """The weighted sum of the two losses."""
        config: EncRegTrainingConfig = self.config
        return config.regression_weight * regression + config.contrastive_weight * contrastive

    def training_step(self, batch: Batch | PackedBatch, batch_index: int) -> Tensor:
        regression, contrastive, points = self.losses(batch)
        self.log_dict(
            {"regression": regression, "contrastive": contrastive}, prog_bar=True, batch_size=len(points)
        )
        return self.total_loss(regression, contrastive)

    def validation_step(self, batch: Batch | PackedBatch, batch_index: int) -> None:
        regression, contrastive, points = self.losses(batch)
        self.log_dict({"val_regression": regression, "val_contrastive": contrastive}, batch_size=len(points))
        if isinstance(batch, PackedBatch):
            particles = list(torch.split(batch.particle, list(batch.packing.lengths)))
        else:
            particles = [rows[real] for rows, real in zip(batch[3], batch[1], strict=True)]
        for event, rows in zip(points, particles, strict=True):
            labels, _ = cluster_hdbscan(
                event.cpu().numpy(),
                min_cluster_size=self.config.clustering.min_cluster_size,
                min_samples=self.config.clustering.min_samples,
                epsilon=self.config.clustering.epsilon,
            )
            self._scores.add(labels, rows.cpu().numpy(), next(self._weights))


class EncRegTask(Task):
    """Regression of track parameters with a contrastive loss; validation scores the clustered hits."""

    Config = EncRegTrainingConfig

    def check(self, device: str) -> None:
        if self.config.attention == "flash":
            check_flash_ready(device, half=self.config.precision != "32-true")

    def module(self) -> RegressionTraining:
        config = self.config
        statistics = measure(self.source("train"), config.targets)
        largest = max(len(event.hits) for event in self.validation_events)
        settings = self.settings_for(
            EncRegConfig,
            input_mean=(0.0, 0.0, 0.0),
            input_scale=(config.length_scale,) * 3,
            output_mean=statistics.target_center,
            output_scale=statistics.target_scale,
        )
        network = EncReg(settings)
        if config.kernel_start is not None:
            network.start_as_kernel(config.kernel_start)
        # Training events may be cut out of those that the model is for.
        low, high = statistics.validity["n_hits"]
        self._validity = statistics.validity | {"n_hits": (low, max(high, 4.0 * largest))}
        module = RegressionTraining(config, network)
        detector = self.dataset.detector
        module.validation_weights = [event_weights(event, detector) for event in self.validation_events]
        if config.start_from is not None:
            self._started_from, scales = start_from(
                network, config.start_from, config.targets, settings, FREE_SETTINGS
            )
            with torch.no_grad():
                for name, scale in scales.items():
                    module.log_scale[config.targets.index(name)] = math.log(scale)
        return module

    def training_batches(self, start: int) -> Iterator[Batch | PackedBatch]:
        config = self.config
        source = self.source("train")
        if config.batch_hits is not None:
            batches = events_by_hits(source, config.batch_hits, start)
            return (pack(events, config.targets) for events in batches)
        return iter(EventBatches(source, config.targets, config.batch_size, start, config.seed))

    @functools.cached_property
    def validation_events(self) -> list[SimulatedEvent]:
        """Whole events with hits, even where training events are cut out of such."""
        config: EncRegTrainingConfig = self.config
        if config.validation is None:
            source, n = self.source("validation"), config.validation_events
        else:
            source, n = self.source("validation", self.validation_sets[0]), config.validation.events
        return with_hits(source, n)

    @functools.cached_property
    def validation_sets(self) -> list[Dataset]:
        chosen = self.config.validation
        return [] if chosen is None else [training_dataset(chosen.dataset, chosen.dataset_settings)]

    def validation_batches(self) -> Sequence[Batch | PackedBatch]:
        config, events = self.config, self.validation_events
        if config.batch_hits is not None:
            return [pack([event], config.targets) for event in events]
        chunks = [events[i : i + config.batch_size] for i in range(0, len(events), config.batch_size)]
        return [collate(chunk, config.targets) for chunk in chunks]

    def card(self, module: TaskModule) -> dict[str, Any]:
        config, network = self.config, module.network
        # A resumed training keeps the constants it started with: they are those of the network.
        constants = {name: getattr(network, name).tolist() for name in ("output_mean", "output_scale")}
        settings = self.settings_for(
            EncRegConfig, input_mean=(0.0,) * 3, input_scale=(config.length_scale,) * 3, **constants
        )
        scale = module.log_scale.detach().exp().cpu() * network.output_scale.cpu()
        card = self.common_card()
        card["training_recipe"]["loss"] = (
            f"{config.regression_weight} smooth L1 (beta {config.regression_beta}) + "
            f"{config.contrastive_weight} supervised contrastive"
        )
        if config.batch_hits is not None:
            card["training_recipe"]["batch_size"] = f"{config.batch_hits} hits"
        if config.start_from is not None:
            # A name, not a path of this machine.
            card["training_recipe"]["started_from"] = self._started_from
        return card | {
            "hyperparameters": settings.model_dump(mode="json"),
            "features": ["x", "y", "z"],
            "units": {
                **dict.fromkeys(("x", "y", "z"), config.length_unit),
                **{name: PARAMETERS[name][0] for name in config.targets},
            },
            "coordinate_system": "cartesian",
            "outputs": list(config.targets),
            "output_scales": scale.tolist(),
            "validity": {name: list(limits) for name, limits in self._validity.items()},
        }
