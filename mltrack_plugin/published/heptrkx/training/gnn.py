"""Training of the HEP.TrkX graph networks: binary cross-entropy of segments or of hits."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models.gnn_hit import GnnHitClassifier, GnnHitConfig
from mltrack_plugin.models.gnn_segment import GnnSegmentClassifier, GnnSegmentConfig
from mltrack_plugin.published.heptrkx.graphs.construct import GraphSettings, wrapped
from mltrack_plugin.published.heptrkx.graphs.metrics import PUBLISHED, QUANTITIES, balanced_threshold, count
from mltrack_plugin.published.heptrkx.graphs.samples import (
    GraphSample,
    hit_samples,
    in_published_selection,
    segment_sample,
)
from mltrack_plugin.settings import Config as BaseConfig
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.settings import TrainingConfig
from mltrack_plugin.training.task import Task, TaskModule


class GraphBatch(NamedTuple):
    """Several graphs joined.

    Attributes:
        nodes: (n, F) float32.
        edges: (2, m) int64.
        target: (k,) float32, 0 or 1; k = m or n.
        weight: (k,) float32, sums to 1: every graph counts the same.
        same_particle: (m,) float32, 0 or 1: the segment joins two hits of one particle.
    """

    nodes: Tensor
    edges: Tensor
    target: Tensor
    weight: Tensor
    same_particle: Tensor


#: Inputs of the segment classifier; the hit classifier has one more, the mark of the seed.
_UNSEEDED = 3
#: Graphs that are validated together.
_VALIDATION_BATCH = 16
#: Events that are looked at for each training graph before a training gives up.
_EVENTS_PER_GRAPH = 20


def turned(sample: GraphSample, rng: np.random.Generator) -> GraphSample:
    """The graph turned by a random angle and, in half of the cases, mirrored in z: its segments stay the same."""
    nodes = sample.nodes.copy()
    if nodes.shape[1] == _UNSEEDED:
        nodes[:, 1] = wrapped(nodes[:, 1] + rng.uniform(-np.pi, np.pi))
    else:
        # Azimuths are counted from the seed: a rotation changes nothing, but the sense of rotation can be reversed.
        nodes[:, 1] *= rng.choice([-1.0, 1.0])
    nodes[:, 2] *= rng.choice([-1.0, 1.0])
    return dataclasses.replace(sample, nodes=nodes)


def batch_of(samples: Sequence[GraphSample]) -> GraphBatch:
    """Joined graphs as tensors."""
    sample = GraphSample.joined(samples)
    sizes = np.bincount(sample.graph)
    weight = 1.0 / (sizes[sample.graph] * max(1, int(np.count_nonzero(sizes))))
    return GraphBatch(
        torch.from_numpy(sample.nodes),
        torch.from_numpy(sample.edges),
        torch.from_numpy(sample.target.astype(np.float32)),
        torch.from_numpy(weight.astype(np.float32)),
        torch.from_numpy(sample.same_particle.astype(np.float32)),
    )


class GraphTraining(TaskModule):
    """Weighted binary cross-entropy; validation chooses the threshold.

    Logged are accuracy, purity and efficiency at the threshold that balances them against the published ones, and as
    ``val_score`` the worst of them in these terms: 0 = all as published, 1 = perfect.

    Args:
        config: the training run.
        network: module with ``logits(nodes, edges)``: (k,) of the classified elements and (I, m) of the segments.
    """

    def __init__(self, config: TrainingConfig, network: nn.Module) -> None:
        super().__init__(config, network)
        self._validation: list[tuple[Tensor, Tensor]] = []

    def losses(self, batch: GraphBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Logits and both binary cross-entropies; every graph counts the same.

        Returns:
            (k,) logits of the classified elements, their loss, and the loss of the weights of segments in all
            iterations, which should be 1 for segments that join two hits of one particle.
        """
        logits, segments = self.network.logits(batch.nodes, batch.edges)
        scores = functional.binary_cross_entropy_with_logits(
            logits, batch.target, batch.weight, reduction="sum"
        )
        # All graphs of the hit classifier have the same number of segments.
        n = segments.shape[1]
        share = batch.weight if len(batch.weight) == n else torch.full_like(segments[0], 1.0 / n)
        weights = functional.binary_cross_entropy_with_logits(
            segments, batch.same_particle.expand_as(segments), share.expand_as(segments), reduction="sum"
        ) / len(segments)
        return logits, scores, weights

    def training_step(self, batch: GraphBatch, batch_index: int) -> Tensor:
        _, scores, weights = self.losses(batch)
        self.log_dict({"loss": scores, "loss_weights": weights}, prog_bar=True)
        weight: float = self.config.weights_loss
        return scores + weight * weights

    def validation_step(self, batch: GraphBatch, batch_index: int) -> None:
        _, loss, _ = self.losses(batch)
        self.log("val_loss", loss, batch_size=1)
        # As the archive gives them: the hit classifier's may be averages over mirror images.
        scores = self.network(batch.nodes, batch.edges)
        scores = scores[-1] if scores.ndim == 2 else scores
        self._validation.append((scores.float().cpu(), batch.target.cpu() > 0.5))

    def on_validation_epoch_end(self) -> None:
        score, target = (torch.cat(parts).numpy() for parts in zip(*self._validation, strict=True))
        self._validation.clear()
        reference = PUBLISHED[self.config.architecture]
        threshold = balanced_threshold(score, target, reference)
        graph = np.zeros(len(score), dtype=np.int64)
        values = np.nan_to_num(count(score, target, graph, 1, threshold).sum().quantities())
        self.log_dict({f"val_{name}": float(v) for name, v in zip(QUANTITIES, values, strict=True)})
        self.log("val_threshold", threshold)
        worst = max((1.0 - v) / (1.0 - r) for v, r in zip(values, reference, strict=True))
        self.log("val_score", 1.0 - float(worst), prog_bar=True)


class GraphTrainingConfig(TrainingConfig):
    """What training runs of the two classifiers share. A batch holds ``batch_size`` graphs."""

    graphs: int = Field(3000, ge=1)
    """Training graphs, made once; each use turns and mirrors them at random."""
    difference_gain: tuple[float, ...] | None = None
    """Spread of the initial weights with which segments look at differences of r, phi, z (and the seed's mark), scaled;
    None = the usual initial weights.
    """
    weights_loss: float = Field(0.5, ge=0)
    """Loss of the segments' weights in all iterations, in units of the loss of the scores."""


class SegmentTrainingConfig(GraphTrainingConfig):
    """A training run of the segment classifier."""

    architecture: str = "gnn-segments"
    max_edges: int = Field(4000, ge=1)
    """Training events with more segments are passed over: they cost the time of many others."""
    graph: GraphSettings = GraphSettings()
    """Windows of the segments, as in build-graph: the job that uses the network must have the same settings."""


class HitTrainingConfig(GraphTrainingConfig):
    """A training run of the hit classifier."""

    architecture: str = "gnn-hits"


class GraphTask(Task):
    """What the two classifiers share."""

    #: Class of the network and of its configuration.
    Network: ClassVar[type[nn.Module]]
    NetworkConfig: ClassVar[type[BaseConfig]]
    #: Inputs and their units, and what is classified.
    features: ClassVar[dict[str, str]] = {"r": "mm", "phi": "rad", "z": "mm"}
    output: ClassVar[str]

    def event_samples(self, event: SimulatedEvent) -> list[GraphSample]:
        """The training graphs of an event; maybe none."""
        raise NotImplementedError

    def validation_samples(self) -> list[GraphSample]:
        """The graphs of all validation events."""
        raise NotImplementedError

    def module(self) -> GraphTraining:
        network: Any = self.Network(self.settings_for(self.NetworkConfig))
        if self.config.difference_gain is not None:
            network.edge.start_from_differences(list(self.config.difference_gain))
        return GraphTraining(self.config, network)

    @functools.cached_property
    def pool(self) -> list[GraphSample]:
        """The training graphs.

        Raises:
            ConfigurationError: if the events give hardly any graph.
        """
        source, found = self.source("train"), list[GraphSample]()
        for index in range(_EVENTS_PER_GRAPH * self.config.graphs):
            found += self.event_samples(source(index))
            if len(found) >= self.config.graphs:
                return found[: self.config.graphs]
        raise ConfigurationError(
            f"{self.config.name}: {_EVENTS_PER_GRAPH * self.config.graphs} events of {self.config.dataset} give "
            f"{len(found)} graphs, {self.config.graphs} are asked for"
        )

    def training_batches(self, start: int) -> Iterator[GraphBatch]:
        number = start
        while True:
            rng = np.random.default_rng([self.config.seed, number])
            chosen = rng.integers(len(self.pool), size=self.config.batch_size)
            yield batch_of([turned(self.pool[i], rng) for i in chosen])
            number += 1

    def validation_batches(self) -> Sequence[GraphBatch]:
        samples, size = self.validation_samples(), _VALIDATION_BATCH
        return [batch_of(samples[i : i + size]) for i in range(0, len(samples), size)]

    def card(self, module: TaskModule) -> dict[str, Any]:
        card = self.common_card()
        card["training_recipe"]["loss"] = (
            f"binary cross-entropy of the scores + {self.config.weights_loss} x that of the segments' weights"
        )
        return card | {
            "kind": "graph",
            "hyperparameters": self.settings_for(self.NetworkConfig).model_dump(mode="json"),
            "features": list(self.features),
            "units": self.features,
            "coordinate_system": "cylindrical",
            "outputs": [self.output],
        }


class SegmentTask(GraphTask):
    """Segments of whole events; with the published windows validated on the published selection of events."""

    Config = SegmentTrainingConfig
    Network, NetworkConfig = GnnSegmentClassifier, GnnSegmentConfig
    output = "segment_weight"

    def event_samples(self, event: SimulatedEvent) -> list[GraphSample]:
        sample = segment_sample(event, **self.config.graph.model_dump())
        return [sample] if 0 < sample.edges.shape[1] <= self.config.max_edges else []

    def card(self, module: TaskModule) -> dict[str, Any]:
        card = super().card(module)
        card["training_data"]["graph"] = self.config.graph.model_dump(mode="json")
        return card

    def validation_samples(self) -> list[GraphSample]:
        source = self.source("validation")
        settings = self.config.graph.model_dump()
        samples = [segment_sample(source(i), **settings) for i in range(self.config.validation_events)]
        selected = [s for s in samples if in_published_selection(s)]
        if self.config.graph == GraphSettings() and selected:
            return selected
        return [s for s in samples if s.edges.shape[1]]


class HitTask(GraphTask):
    """Hits around the seeds of tracks that cross all barrel layers."""

    Config = HitTrainingConfig
    Network, NetworkConfig = GnnHitClassifier, GnnHitConfig
    features: ClassVar[dict[str, str]] = {**GraphTask.features, "seed": "1"}
    output = "hit_score"

    def event_samples(self, event: SimulatedEvent) -> list[GraphSample]:
        return hit_samples(event)

    def validation_samples(self) -> list[GraphSample]:
        source = self.source("validation")
        return [s for i in range(self.config.validation_events) for s in hit_samples(source(i))]
