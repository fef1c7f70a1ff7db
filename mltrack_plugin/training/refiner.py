"""Training of :class:`~mltrack_plugin.models.refiner.Refiner` on the clusters of a first stage, and on damaged ones."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch import Tensor
from torch.nn import functional

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.clustering.hdbscan import ClusteringSettings, cluster_hdbscan
from mltrack_plugin.evaluation.matching import match_tracks
from mltrack_plugin.evaluation.scores import Fraction, trackml_score
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.models.refiner import Refiner, RefinerConfig
from mltrack_plugin.refiner.corruption import Corruption, corrupted
from mltrack_plugin.refiner.rounds import clusters_of, refine
from mltrack_plugin.refiner.slots import Slots, make_slots, plane_points
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.settings import TrainingConfig, portable_settings
from mltrack_plugin.training.targets import PARAMETERS, hit_targets
from mltrack_plugin.training.task import Task, TaskModule

#: Normalised parameters are clipped here.
MAX_TARGET = 4.0
#: Weights of the passes in the loss: the last one counts.
EARLY_PASS = 0.3


class RefinerTrainingConfig(TrainingConfig):
    """A training run of the refiner."""

    architecture: str = "refiner"
    first_stage: str | None = None
    """Model of the first stage (a shipped one, or a path); None = true clusters, damaged."""
    clustering: ClusteringSettings = ClusteringSettings(epsilon=1.0)
    """Its clustering."""
    targets: dict[str, PositiveFloat] = Field(min_length=1)
    """Regressed track parameters and the spread of each that counts as 1."""
    training_events: int = Field(1500, ge=1)
    """Training events whose clusters are kept; they are damaged anew each time."""
    corruption: Corruption = Corruption()
    """Damage to the clusters."""
    parameter_weight: float = Field(0.05, ge=0)
    """Weight of the parameters' likelihood."""
    track_weight: float = Field(0.3, ge=0)
    """Weight of the track probability."""


class ClusteredEvent(NamedTuple):
    """Hits of an event with clusters and truth."""

    #: (N, 3) float32.
    positions: Array
    #: (N,) int64 clusters, dense from 0; -1 = none.
    labels: Array
    #: (N, T) float32: normalised parameters of the hit's particle.
    targets: Array
    #: (N,) int64: row of the hit's particle, -1 for noise.
    particle: Array
    #: (N, k): where near hits are neighbours.
    points: Array


class Sets(NamedTuple):
    """Clusters of several events, and what is true of them."""

    #: (C, S, 3).
    positions: Tensor
    #: (C, S) int64, unique over the events.
    hit: Tensor
    #: (C, S) float32.
    weight: Tensor
    #: (C, S) bool.
    mask: Tensor
    #: (C, S) float32: 1 where the hit is of the cluster's particle.
    truth: Tensor
    #: (C,) float32: hits of the cluster's particle in the event; 0 if the cluster has none.
    total: Tensor
    #: (C, T) float32: normalised parameters of the particle.
    targets: Tensor


def majority(labels: Array, particle: Array, distance: Array, n: int) -> Array:
    """(n,) row of the particle with most hits in each cluster, -1 if there are none.

    Ties go to the particle of the innermost hit among theirs.
    """
    chosen = (labels >= 0) & (particle >= 0)
    cluster, mine, far = labels[chosen], particle[chosen], distance[chosen]
    order = np.lexsort((far, mine, cluster))
    cluster, mine, far = cluster[order], mine[order], far[order]
    first = np.flatnonzero(np.r_[True, (cluster[1:] != cluster[:-1]) | (mine[1:] != mine[:-1])][: len(order)])
    counts = np.append(first[1:], len(order)) - first
    best = np.lexsort((far[first], -counts, cluster[first]))
    result = np.full(n, -1, dtype=np.int64)
    # Written backwards, so that the best entry of a cluster comes last.
    result[cluster[first][best][::-1]] = mine[first][best][::-1]
    return result


def with_truth(event: ClusteredEvent, labels: Array, slots: Slots, n: int) -> tuple[Array, Array, Array]:
    """Truth (C, S), hits of the particle (C,) and its parameters (C, T) for an event's sets.

    Args:
        event: its hits.
        labels: (N,) clusters, dense from 0 to n - 1; negative = none.
        slots: their sets.
        n: C.
    """
    own = majority(labels, event.particle, np.linalg.norm(event.positions, axis=1), n)
    truth = slots.mask & (event.particle[slots.hit] == own[:, None]) & (own >= 0)[:, None]
    rows = int(event.particle.max(initial=-1)) + 1
    totals = np.bincount(event.particle[event.particle >= 0], minlength=rows)
    table = np.zeros((rows + 1, event.targets.shape[1]), dtype=np.float32)
    table[event.particle] = event.targets
    return (
        truth.astype(np.float32),
        np.where(own >= 0, np.append(totals, 0)[own], 0).astype(np.float32),
        table[own],
    )


class RefinerTraining(TaskModule):
    """Cross entropy of memberships and track probability, likelihood of the parameters.

    Args:
        config: the training run.
        network: what is trained.
        settings: its sizes and constants.
    """

    def __init__(self, config: RefinerTrainingConfig, network: Refiner, settings: RefinerConfig) -> None:
        super().__init__(config, network)
        self.settings = settings
        self._scores: list[tuple[Fraction, Fraction]] = []

    def losses(self, batch: Sets) -> tuple[Tensor, Tensor, Tensor]:
        """Losses of memberships, track probability and parameters."""
        sums = [torch.zeros(()), torch.zeros(()), torch.zeros(())]
        found = self.network.all_passes(batch.positions, batch.hit, batch.weight, batch.mask)
        real = batch.total > 0
        t = batch.targets.shape[1]
        for number, (logits, track) in enumerate(found):
            share = 1.0 if number == len(found) - 1 else EARLY_PASS
            membership = functional.binary_cross_entropy_with_logits(
                logits[batch.mask], batch.truth[batch.mask]
            )
            # Right are tracks with more than half of their hits from the particle, and more than half of its hits.
            chosen = (logits.detach() > 0) & batch.mask
            matched = (chosen * batch.truth).sum(dim=1)
            right = (2 * matched > chosen.sum(dim=1)) & (2 * matched > batch.total)
            probability = functional.binary_cross_entropy_with_logits(track[:, 0], right.float())
            likelihood = track.sum() * 0.0
            if bool(real.any()):
                mean = track[real, 1 : 1 + t].float()
                log_sigma = track[real, 1 + t :].float().clamp(self.network.lowest, self.network.highest)
                pull = (batch.targets[real] - mean) * torch.exp(-log_sigma)
                # Clusters of several tracks have residuals that no Gaussian covers.
                likelihood = functional.huber_loss(pull, torch.zeros_like(pull), delta=4.0) + log_sigma.mean()
            for i, term in enumerate((membership, probability, likelihood)):
                sums[i] = sums[i] + share * term
        return sums[0], sums[1], sums[2]

    def training_step(self, batch: Sets, batch_index: int) -> Tensor:
        membership, probability, likelihood = self.losses(batch)
        self.log_dict(
            {"membership": membership, "track": probability, "parameters": likelihood},
            prog_bar=True,
            batch_size=len(batch.hit),
        )
        config: RefinerTrainingConfig = self.config
        return membership + config.track_weight * probability + config.parameter_weight * likelihood

    def answers(self, slots: Slots) -> Array:
        """The network's output for one event's sets; see :data:`mltrack_plugin.refiner.rounds.Network`."""
        with torch.inference_mode():
            inputs = (torch.from_numpy(array).to(self.device) for array in slots)
            output: Array = self.network(*inputs).float().cpu().numpy()
        return output

    def validation_step(self, batch: ClusteredEvent, batch_index: int) -> None:
        # The loader has made tensors of the arrays.
        event = ClusteredEvent(*(torch.as_tensor(column).cpu().numpy() for column in batch))
        refined = refine(
            event.positions,
            event.labels,
            self.answers,
            hypotheses=self.settings.hypotheses,
            length_scale=self.settings.length_scale,
            slots=self.settings.slots,
        )
        truth = (event.particle + 1).astype(np.uint64)
        self._scores.append(
            (
                trackml_score(match_tracks(refined.labels, truth)),
                trackml_score(match_tracks(event.labels, truth)),
            )
        )

    def on_validation_epoch_end(self) -> None:
        for name, which in (("val_score", 0), ("val_score_before", 1)):
            correct = sum(scores[which].numerator for scores in self._scores)
            self.log(name, correct / sum(s[which].denominator for s in self._scores), prog_bar=True)
        self._scores.clear()


class RefinerTask(Task):
    """Refinement of clusters; validation scores the refined tracks."""

    Config = RefinerTrainingConfig

    @functools.cached_property
    def settings(self) -> RefinerConfig:
        """Sizes and constants of the network."""
        config: RefinerTrainingConfig = self.config
        return self.settings_for(
            RefinerConfig,
            output_mean=(0.0,) * len(config.targets),
            output_scale=tuple(config.targets.values()),
        )

    def module(self) -> RefinerTraining:
        return RefinerTraining(self.config, Refiner(self.settings), self.settings)

    def clustered(self, events: Iterator[SimulatedEvent]) -> list[ClusteredEvent]:
        """Events with the clusters of the first stage, or the true ones."""
        config: RefinerTrainingConfig = self.config
        model = None if config.first_stage is None else load_model(config.first_stage)
        scale = np.array(list(config.targets.values()), dtype=np.float32)
        found = []
        for event in events:
            targets, particle = hit_targets(event.particles, event.truth_links, tuple(config.targets))
            if model is None:
                labels = np.unique(particle, return_inverse=True)[1].reshape(-1) - int((particle < 0).any())
            else:
                labels, _ = cluster_hdbscan(
                    model.predict_hits(event.hits) / np.asarray(model.card.output_scales),
                    min_cluster_size=config.clustering.min_cluster_size,
                    min_samples=config.clustering.min_samples,
                    epsilon=config.clustering.epsilon,
                    backend="knn",
                )
            positions = event.hits.positions
            planes = plane_points(positions, self.settings.hypotheses, self.settings.length_scale)
            found.append(
                ClusteredEvent(
                    positions,
                    labels.astype(np.int64),
                    (targets / scale).clip(-MAX_TARGET, MAX_TARGET),
                    particle,
                    np.stack([column for plane in planes for column in plane], axis=1),
                )
            )
        return found

    @functools.cached_property
    def _pool(self) -> list[ClusteredEvent]:
        source = self.source("train")
        return self.clustered(source(i) for i in range(self.config.training_events))

    def sets(self, events: Sequence[ClusteredEvent], rng: np.random.Generator) -> Sets:
        """The sets of damaged clusters of several events."""
        settings = self.settings
        parts: list[tuple[Array, ...]] = []
        first = 0
        for event in events:
            damaged = corrupted(event.labels, event.points, self.config.corruption, rng)
            clusters = clusters_of(damaged)
            if not clusters.n:
                continue
            labels = np.full(len(damaged), -1, dtype=np.int64)
            labels[clusters.hit] = clusters.cluster
            slots = make_slots(
                event.positions, clusters, settings.hypotheses, settings.length_scale, settings.slots
            )
            truth, total, targets = with_truth(event, labels, slots, clusters.n)
            missing = settings.slots - slots.hit.shape[1]
            wide = [
                np.pad(array, ((0, 0), (0, missing), *((0, 0),) * (array.ndim - 2)))
                for array in (slots.positions, slots.hit + first, slots.weight, slots.mask, truth)
            ]
            parts.append((*wide, total, targets))
            first += len(event.positions)
        return Sets(*(torch.from_numpy(np.concatenate(columns)) for columns in zip(*parts, strict=True)))

    def training_batches(self, start: int) -> Iterator[Sets]:
        config: RefinerTrainingConfig = self.config
        number = start
        while True:
            rng = np.random.default_rng([config.seed, number])
            chosen = rng.integers(len(self._pool), size=config.batch_size)
            yield self.sets([self._pool[i] for i in chosen], rng)
            number += 1

    def validation_batches(self) -> Sequence[ClusteredEvent]:
        source = self.source("validation")
        return self.clustered(source(i) for i in range(self.config.validation_events))

    def card(self, module: TaskModule) -> dict[str, Any]:
        config: RefinerTrainingConfig = self.config
        card = self.common_card()
        card["training_recipe"]["loss"] = (
            f"cross entropy of memberships + {config.track_weight} of track probability + "
            f"{config.parameter_weight} likelihood of parameters"
        )
        first_stage = portable_settings({"first_stage": config.first_stage})
        card["training_data"] |= first_stage | {"events": config.training_events}
        names, reach = list(config.targets), self.settings.length_scale
        units = {name: PARAMETERS[name][0] for name in names}
        return card | {
            "kind": "clusters",
            "hyperparameters": self.settings.model_dump(mode="json"),
            "features": ["x", "y", "z"],
            "units": {**dict.fromkeys(("x", "y", "z"), config.length_unit), **units},
            "coordinate_system": "cartesian",
            "outputs": ["membership", "track", *names, *(f"sigma_{name}" for name in names)],
            "validity": {"r": [0.0, 1.2 * reach], "z": [-3.2 * reach, 3.2 * reach]},
        }
