"""Training of :class:`~mltrack_plugin.models.encemb.EncEmb`: a contrastive loss on the embedding."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch import Tensor, nn

from mltrack_plugin.clustering.hdbscan import ClusteringSettings, cluster_hdbscan
from mltrack_plugin.models.encemb import EncEmb, EncEmbConfig
from mltrack_plugin.simulation.base import Dataset
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.data import events_by_hits
from mltrack_plugin.training.files import training_dataset
from mltrack_plugin.training.left_over import LeftOverConfig, LeftOverDataset
from mltrack_plugin.training.losses import anchor_loss, regression_loss
from mltrack_plugin.training.settings import (
    TrainingConfig,
    ValidationSet,
    portable_settings,
)
from mltrack_plugin.training.targets import hit_targets
from mltrack_plugin.training.task import Task, TaskModule, with_hits
from mltrack_plugin.training.validation import ValidationScores, event_weights
from mltrack_plugin.training.warm_start import start_from

#: Auxiliary targets of particles from collisions, and the spread that counts as 1.
AUXILIARY = {"sin_phi": 0.7, "cos_phi": 0.7, "eta": 1.5, "q_over_pt": 2.0, "z0": 60.0}
#: Settings in which a network may differ from the one that it starts from: another detector and field have others.
FREE_SETTINGS = {"patches", "length_scale", "block_size", "surfaces"}
#: Normalised auxiliary targets are clipped here: a displaced particle must not outweigh the rest.
MAX_TARGET = 4.0


class Packed(NamedTuple):
    """Events one behind the other, without padding."""

    #: (M, 3) float32.
    hits: Tensor
    #: (M,) int64, ascending.
    event: Tensor
    #: (B,) int64.
    counts: Tensor
    #: (M,) int64: row of the hit's particle in its event, -1 for noise.
    particle: Tensor
    #: (M, T) float32: normalised auxiliary targets.
    targets: Tensor
    #: (M,) bool: hits that the loss compares with the others of their event.
    anchors: Tensor


#: Number of the validation set, one event, and its (M,) TrackML weights (None = all hits alike).
ValidationBatch = tuple[int, Packed, Tensor | None]


class EncEmbTrainingConfig(TrainingConfig):
    """A training run of EncEmb."""

    architecture: str = "encemb"
    batch_hits: int = Field(8192, ge=1)
    """Hits per optimiser step: events are added until there are as many."""
    anchors: int = Field(512, ge=1)
    """Hits of an event that the loss compares with all others of that event."""
    anchor_pt: float = Field(0.0, ge=0)
    """Hits of particles with less transverse momentum (GeV) are only what the others are told apart from."""
    background: float = Field(1.0, ge=0)
    """Imagined hits at distance 0 of each anchor, which give the embedding a scale; see ``losses.anchor_loss``."""
    auxiliary_weight: float = Field(0.1, ge=0)
    """Weight of the auxiliary regression of the track parameters."""
    auxiliary_targets: dict[str, PositiveFloat] = Field(default_factory=lambda: dict(AUXILIARY), min_length=1)
    """Its targets and the spread of each that counts as 1."""
    start_from: str | None = None
    """Shipped model, archive or checkpoint with the same network to start from; None = untrained."""
    after: LeftOverConfig | None = None
    """Training and validation on the hits that the first steps of a job leave to the network; None = on whole events.
    """
    kernel_start: float | None = Field(None, gt=0)
    """Untrained networks: start with attention to the nearest hits, of this sharpness; None = random initial weights.
    """
    kernel_layers: int = Field(3, ge=1)
    """Layers that start this way."""
    validation: tuple[ValidationSet, ...] = ()
    """Validation scores are averaged over these sets; default: the training's data set."""
    clustering: ClusteringSettings = ClusteringSettings()
    """Clustering of the validation events."""


def pack(events: Sequence[SimulatedEvent], auxiliary: Mapping[str, float], anchor_pt: float = 0.0) -> Packed:
    """Events with at least one hit, one behind the other.

    Args:
        events: at least one of them with hits.
        auxiliary: targets and the spread of each that counts as 1.
        anchor_pt: see :class:`EncEmbTrainingConfig`.
    """
    events = [event for event in events if len(event.hits)]
    found = [hit_targets(event.particles, event.truth_links, tuple(auxiliary)) for event in events]
    counts = torch.tensor([len(event.hits) for event in events])
    anchors = [
        np.append(event.particles.pt, 0.0)[row] >= anchor_pt
        for event, (_, row) in zip(events, found, strict=True)
    ]
    targets = np.concatenate([target for target, _ in found]) / np.array(
        list(auxiliary.values()), dtype=np.float32
    )
    return Packed(
        hits=torch.from_numpy(np.concatenate([event.hits.positions for event in events])),
        event=torch.repeat_interleave(torch.arange(len(events)), counts),
        counts=counts,
        particle=torch.from_numpy(np.concatenate([row for _, row in found])),
        targets=torch.from_numpy(targets.clip(-MAX_TARGET, MAX_TARGET).astype(np.float32)),
        anchors=torch.from_numpy(np.concatenate(anchors)),
    )


class EmbeddingTraining(TaskModule):
    """Contrastive loss on the embedding and a light regression beside it; scores clustering on validation events.

    Args:
        config: the training run.
        network: what is trained.
    """

    def __init__(self, config: EncEmbTrainingConfig, network: EncEmb) -> None:
        super().__init__(config, network)
        #: Reads track parameters off the features; only training uses it.
        self.auxiliary = nn.Linear(network.head.in_features, len(config.auxiliary_targets))
        #: By validation set.
        self._scores: dict[int, ValidationScores] = {}
        for layer in network.layers:
            layer.written_out = config.precision == "bf16-mixed"  # type: ignore[assignment]

    def losses(self, batch: Packed) -> tuple[Tensor, Tensor, Tensor]:
        """(contrastive loss, auxiliary loss, embedding (M, K))."""
        features = self.network.features(batch.hits, batch.event, batch.counts).float()
        with torch.autocast(features.device.type, enabled=False):
            embedding = self.network.head(features)
            terms = []
            lengths = batch.counts.tolist()
            for points, particle, chosen in zip(
                torch.split(embedding, lengths),
                torch.split(batch.particle, lengths),
                torch.split(batch.anchors, lengths),
                strict=True,
            ):
                terms.append(
                    anchor_loss(points, particle, self.config.anchors, self.config.background, chosen)
                )
            total = torch.stack([loss for loss, _ in terms]).sum()
            contrastive = total / max(1, sum(n for _, n in terms))
            real = batch.particle >= 0
            auxiliary = regression_loss(
                self.auxiliary(features[real]), batch.targets[real], batch.particle[real], beta=0.1
            )
        return contrastive, auxiliary, embedding

    def training_step(self, batch: Packed, batch_index: int) -> Tensor:
        contrastive, auxiliary, _ = self.losses(batch)
        self.log_dict(
            {"contrastive": contrastive, "auxiliary": auxiliary}, prog_bar=True, batch_size=len(batch.counts)
        )
        return contrastive + float(self.config.auxiliary_weight) * auxiliary

    def validation_step(self, batch: ValidationBatch, batch_index: int) -> None:
        which, events, weights = batch
        contrastive, _, embedding = self.losses(events)
        self.log(f"val_contrastive_{which}", contrastive, batch_size=len(events.counts))
        labels, _ = cluster_hdbscan(
            embedding.cpu().numpy(),
            min_cluster_size=self.config.clustering.min_cluster_size,
            min_samples=self.config.clustering.min_samples,
            epsilon=self.config.clustering.epsilon,
            backend="knn",
        )
        scores = self._scores.setdefault(which, ValidationScores())
        scores.add(labels, events.particle.cpu().numpy(), None if weights is None else weights.cpu().numpy())

    def on_validation_epoch_end(self) -> None:
        found = [scores.result() for _, scores in sorted(self._scores.items())]
        for name in found[0]:
            values = [result[name] for result in found]
            self.log(name, sum(values) / len(values))
            if len(values) > 1:
                each = {f"{name}_{which}": value for which, value in enumerate(values)}
                self.log_dict(each, prog_bar=name == "val_score")
        self._scores.clear()


class EncEmbTask(Task):
    """Embedding of hits; validation scores the clustered hits."""

    Config = EncEmbTrainingConfig

    def module(self) -> EmbeddingTraining:
        settings = self.settings_for(EncEmbConfig)
        network = EncEmb(settings)
        if self.config.start_from is not None:
            self._started_from, _ = start_from(
                network, self.config.start_from, self.outputs, settings, FREE_SETTINGS
            )
        elif self.config.kernel_start is not None:
            network.start_as_kernel(self.config.kernel_start, self.config.kernel_layers)
        return EmbeddingTraining(self.config, network)

    def training_batches(self, start: int) -> Iterator[Packed]:
        config: EncEmbTrainingConfig = self.config
        batches = events_by_hits(self.source("train"), config.batch_hits, start)
        return (pack(events, config.auxiliary_targets, config.anchor_pt) for events in batches)

    @functools.cached_property
    def dataset(self) -> Dataset:
        return self._left_over(super().dataset)

    def _left_over(self, dataset: Dataset) -> Dataset:
        """What the steps of ``after`` leave of a data set's events."""
        after = self.config.after
        return dataset if after is None else LeftOverDataset(dataset, after, self.config.architecture)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the network's outputs."""
        return tuple(f"embedding_{i}" for i in range(self.settings_for(EncEmbConfig).embedding))

    @functools.cached_property
    def validation_sets(self) -> list[Dataset]:
        return [
            self._left_over(training_dataset(chosen.dataset, chosen.dataset_settings))
            for chosen in self.config.validation
        ]

    def validation_batches(self) -> Sequence[ValidationBatch]:
        config: EncEmbTrainingConfig = self.config
        sets = [
            (dataset, chosen.events)
            for dataset, chosen in zip(self.validation_sets, config.validation, strict=True)
        ] or [(self.dataset, config.validation_events)]
        batches: list[ValidationBatch] = []
        for which, (dataset, n) in enumerate(sets):
            for event in with_hits(self.source("validation", dataset), n):
                weights = event_weights(event, dataset.detector)
                packed = pack([event], config.auxiliary_targets, config.anchor_pt)
                batches.append((which, packed, None if weights is None else torch.tensor(weights)))
        return batches

    def card(self, module: TaskModule) -> dict[str, Any]:
        config: EncEmbTrainingConfig = self.config
        settings = self.settings_for(EncEmbConfig)
        card = self.common_card()
        card["training_recipe"] |= {
            "loss": f"supervised contrastive + {config.auxiliary_weight} smooth L1 on track parameters",
            "batch_size": f"{config.batch_hits} hits",
        }
        if config.start_from is not None:
            card["training_recipe"]["started_from"] = self._started_from
        if config.after is not None:
            card["training_data"]["after"] = portable_settings(config.after.model_dump(mode="json"))
        reach = 1.2 * settings.length_scale
        return card | {
            "hyperparameters": settings.model_dump(mode="json"),
            "features": ["x", "y", "z"],
            "units": {**dict.fromkeys(("x", "y", "z"), config.length_unit)},
            "coordinate_system": "cartesian",
            "outputs": list(self.outputs),
            "output_scales": [1.0] * settings.embedding,
            "validity": {"r": [0.0, reach], "z": [-3.2 * settings.length_scale, 3.2 * settings.length_scale]},
        }
