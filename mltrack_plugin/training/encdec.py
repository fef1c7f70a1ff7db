"""Training of :class:`~mltrack_plugin.models.encdec.EncDec`: the next hit after each hit of the true tracks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mltrack_plugin.clustering.pointers import distinct_tracks, hits_of_tracks, resolve_claims
from mltrack_plugin.models.encdec import EncDec, EncDecConfig, distance_order
from mltrack_plugin.models.encreg import EncRegConfig
from mltrack_plugin.settings import validated
from mltrack_plugin.training.data import Batch, EventBatches, collate
from mltrack_plugin.training.encreg import FREE_SETTINGS, measure
from mltrack_plugin.training.settings import TrainingConfig
from mltrack_plugin.training.task import Task, TaskModule, with_hits
from mltrack_plugin.training.validation import ValidationScores, event_weights
from mltrack_plugin.training.warm_start import start_from


class EncDecTrainingConfig(TrainingConfig):
    """A training run of EncDec."""

    architecture: str = "encdec"
    start_from: str | None = None
    """Shipped model, archive or checkpoint of the same sizes to start from; None = untrained."""
    kernel_start: float | None = Field(None, gt=0)
    """Start with attention to the hits nearest in phi and eta, of this sharpness; None = random initial weights."""
    length_scale: float = Field(1.0, gt=0)
    """The coordinates are divided by this (the size of the detector), in their units."""
    first_weight: float = Field(0.5, ge=0)
    """Weight of the cross entropy of being the first hit of a track."""
    min_first: float = Field(0.2, gt=0, lt=1)
    """Smallest probability of being a first hit that makes a seed in the validation."""


def next_hits(particle: Tensor) -> tuple[Tensor, Tensor]:
    """What the decoder is to say.

    Args:
        particle: (B, N) row of each hit's particle, -1 for noise and padding; hits in the order of the tracks.

    Returns:
        (B, N) int64 place of the next hit of the same particle, N where there is none; (B, N) bool, is the first one.
    """
    n = particle.shape[1]
    same = (particle[:, :, None] == particle[:, None, :]) & (particle >= 0)[:, :, None]
    later = same & torch.ones(n, n, dtype=torch.bool, device=particle.device).triu(1)
    following = torch.where(later.any(dim=2), later.int().argmax(dim=2), n)
    return following, (particle >= 0) & ~later.any(dim=1)


def in_order(batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features (B, N, 3), mask, particles and original rows (B, N) with the hits of each event sorted by distance."""
    features, mask, _, particle = batch
    order = distance_order(features, mask)
    sorted_features = torch.gather(features, 1, order[:, :, None].expand(-1, -1, 3))
    return sorted_features, torch.gather(mask, 1, order), torch.gather(particle, 1, order), order


class PointerTraining(TaskModule):
    """Cross entropy of the next hit on true tracks, and of being a first hit; scores tracks of the network's own seeds.

    Validation also gives ``val_score_true_seeds``: the score of tracks from the true first hits, which do not count.

    Args:
        config: the training run.
        network: what is trained.
    """

    def __init__(self, config: EncDecTrainingConfig, network: EncDec) -> None:
        super().__init__(config, network)
        self._scores = {"": ValidationScores(), "_true_seeds": ValidationScores()}

    def losses(self, batch: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(loss of the next hit, loss of the first hit, share of right next hits) of sorted events."""
        features, mask, particle = batch
        following, first = next_hits(particle)
        logits, first_logits = self.network.next_logits(features, mask, particle)
        real = particle >= 0
        if bool(real.any()):
            pointed = functional.cross_entropy(logits[real].float(), following[real])
            right = (logits[real].argmax(dim=1) == following[real]).float().mean()
        else:
            pointed = right = first_logits.sum() * 0.0
        start = functional.binary_cross_entropy_with_logits(first_logits[mask].float(), first[mask].float())
        return pointed, start, right

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        pointed, start, right = self.losses(in_order(batch)[:3])
        self.log_dict({"next": pointed, "first": start, "right": right}, prog_bar=True)
        return pointed + float(self.config.first_weight) * start

    def validation_step(self, batch: tuple[Batch, Tensor], batch_index: int) -> None:
        features, mask, particle, order = in_order(batch[0])
        weights = torch.gather(batch[1], 1, order)
        pointed, start, right = self.losses((features, mask, particle))
        size = len(mask)
        self.log_dict({"val_next": pointed, "val_first": start, "val_right": right}, batch_size=size)
        limit = torch.tensor(self.config.min_first)
        _, first = next_hits(particle)
        for i in range(size):
            n = int(mask[i].sum())
            event = features[i : i + 1, :n], mask[i : i + 1, :n]
            true_seeds = torch.nonzero(first[i])[None]
            for name, seeds in (("", true_seeds[:, :0, :0]), ("_true_seeds", true_seeds)):
                found = self.network(*event, seeds, limit)[0].cpu().numpy()
                if not seeds.shape[2]:
                    found = found[distinct_tracks(found)]
                label, _ = resolve_claims(*hits_of_tracks(found), n)
                counted = weights[i, :n].clone()
                counted[seeds.flatten()] = 0.0
                self._scores[name].add(label, particle[i, :n].cpu().numpy(), counted.cpu().numpy())

    def on_validation_epoch_end(self) -> None:
        for suffix, scores in self._scores.items():
            self.log_dict(scores.result(suffix))
            scores.clear()


class EncDecTask(Task):
    """Tracks rebuilt from seeds; validation scores the tracks of the network's own seeds."""

    Config = EncDecTrainingConfig

    def _settings(self) -> EncDecConfig:
        config: EncDecTrainingConfig = self.config
        network = dict(config.network)
        constants = {"input_mean": (0.0, 0.0, 0.0), "input_scale": (config.length_scale,) * 3}
        place = f"{config.name}: network"
        encoder = validated(EncRegConfig, {**network.pop("encoder", {}), **constants}, f"{place}: encoder")
        settings = validated(EncDecConfig, {"encoder": encoder, **network}, place)
        assert isinstance(settings, EncDecConfig)
        return settings

    def module(self) -> PointerTraining:
        settings = self._settings()
        network = EncDec(settings)
        if self.config.kernel_start is not None:
            network.start_as_kernel(self.config.kernel_start)
        if self.config.start_from is not None:
            self._started_from, _ = start_from(
                network, self.config.start_from, (), settings.encoder, FREE_SETTINGS
            )
        self._validity = measure(self.source("train"), ("pt",)).validity
        return PointerTraining(self.config, network)

    def training_batches(self, start: int) -> Iterator[Batch]:
        config = self.config
        return iter(EventBatches(self.source("train"), ("pt",), config.batch_size, start, config.seed))

    def validation_batches(self) -> Sequence[tuple[Batch, Tensor]]:
        """Events, and the weights (B, N) of their hits in the score."""
        config = self.config
        events = with_hits(self.source("validation"), config.validation_events)
        batches = []
        for first in range(0, len(events), config.batch_size):
            chosen = events[first : first + config.batch_size]
            batch = collate(chosen, ("pt",))
            weights = torch.ones(batch[1].shape, dtype=torch.float64)
            for row, event in zip(weights, chosen, strict=True):
                found = event_weights(event, self.dataset.detector)
                if found is not None:
                    row[: len(found)] = torch.from_numpy(np.array(found))
            batches.append((batch, weights))
        return batches

    def card(self, module: TaskModule) -> dict[str, Any]:
        config = self.config
        card = self.common_card()
        card["training_recipe"]["loss"] = (
            f"cross entropy of the next hit + {config.first_weight} cross entropy of being a first hit"
        )
        if config.start_from is not None:
            card["training_recipe"]["started_from"] = self._started_from
        return card | {
            "kind": "sequence",
            "hyperparameters": self._settings().model_dump(mode="json"),
            "features": ["x", "y", "z"],
            "units": dict.fromkeys(("x", "y", "z"), config.length_unit) | {"hit": "1", "probability": "1"},
            "coordinate_system": "cartesian",
            "outputs": ["hit", "probability"],
            "validity": {name: list(limits) for name, limits in self._validity.items()},
        }
