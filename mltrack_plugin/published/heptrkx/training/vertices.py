"""Training of the vertex finder on images of the unrolled inner barrel layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from mltrack_plugin.models import build_network
from mltrack_plugin.models.vertex_cnn import VertexCNNConfig
from mltrack_plugin.published.heptrkx.images.raster import bin_of
from mltrack_plugin.published.heptrkx.simulation.heptrkx_vertex import HeptrkxVertexDataset
from mltrack_plugin.training.settings import TrainingConfig
from mltrack_plugin.training.task import Task, TaskModule

#: images (B, C, R, W), bin of the primary vertex (B,), -1 = none; whether each bin has a vertex (B, N).
VertexBatch = tuple[Tensor, Tensor, Tensor]


class VertexConfig(TrainingConfig):
    """A run that trains a vertex finder."""

    pileups: tuple[float, ...] = (0.0, 5.0, 25.0)
    """Mean numbers of pile-up collisions; each training event has one of them."""
    shift: float = Field(15.0, ge=0)
    """Random shift of training collisions along the beam, standard deviation in mm."""
    vertex_weight: float = Field(5.0, ge=0)
    """Weight of the cross entropy of all vertices beside that of the primary one."""


class VertexTask(Task):
    """Bins of the primary vertex and of all vertices."""

    Config = VertexConfig

    @property
    def network_config(self) -> VertexCNNConfig:
        return self.settings_for(VertexCNNConfig)

    def module(self) -> TaskModule:
        return VertexModule(self.config, build_network(self.config.architecture, self.config.network))

    def batch(self, number: int, split: str) -> VertexBatch:
        """Batch ``number`` of a split; only training events are shifted."""
        config, network = self.config, self.network_config
        found = cast(HeptrkxVertexDataset, self.dataset).images(
            number,
            config.batch_size,
            seed=config.seed,
            split=split,
            shape=(network.n_phi, network.columns),
            z_max=network.z_max,
            pileup=config.pileups,
            shift=config.shift if split == "train" else 0.0,
        )
        low = -0.5 * network.bins * network.bin_width
        primary, inside = bin_of(found.primary, low, network.bin_width, network.bins)
        primary[~inside] = -1
        column, inside = bin_of(found.z, low, network.bin_width, network.bins)
        occupied = torch.zeros(config.batch_size, network.bins)
        occupied[torch.from_numpy(found.event[inside]), torch.from_numpy(column[inside])] = 1.0
        return torch.from_numpy(found.images), torch.from_numpy(primary), occupied

    def training_batches(self, start: int) -> Iterator[VertexBatch]:
        number = start
        while True:
            yield self.batch(number, "train")
            number += 1

    def validation_batches(self) -> Sequence[VertexBatch]:
        n = -(-self.config.validation_events // self.config.batch_size)
        return [self.batch(number, "validation") for number in range(n)]

    def card(self, module: TaskModule) -> dict[str, Any]:
        content = self.common_card()
        content["training_recipe"] |= {
            "loss": f"cross entropy of the primary's bin + {self.config.vertex_weight} binary cross entropy of all",
            "pileups": list(self.config.pileups),
        }
        network = self.network_config
        layers = [f"layer_{volume}_{layer}" for volume, layer in network.layers]
        return {
            **content,
            "hyperparameters": network.model_dump(mode="json"),
            "kind": "image",
            "features": layers,
            "outputs": ["primary", "vertex"],
            "units": {**dict.fromkeys(layers, "1"), "primary": "1", "vertex": "1"},
            "coordinate_system": "cylindrical",
        }


class VertexModule(TaskModule):
    """Cross entropies; scored by the share of events whose most probable bin is the primary's or next to it."""

    def losses(self, batch: VertexBatch) -> tuple[Tensor, Tensor, Tensor]:
        """(loss of the primary vertex, loss of all vertices, score)."""
        image, primary, occupied = batch
        scores = self.network.scores(image)
        # An event whose primary vertex lies outside the bins (one in 250) asks for nothing.
        first = functional.cross_entropy(scores[:, 0], primary, ignore_index=-1)
        every = functional.binary_cross_entropy_with_logits(scores[:, 1], occupied)
        near = (scores[:, 0].argmax(dim=1) - primary).abs() <= 1
        return first, every, (near & (primary >= 0)).float().mean()

    def training_step(self, batch: VertexBatch, batch_index: int) -> Tensor:
        first, every, _ = self.losses(batch)
        self.log_dict({"primary": first, "vertices": every}, prog_bar=True)
        loss: Tensor = first + self.config.vertex_weight * every
        return loss

    def validation_step(self, batch: VertexBatch, batch_index: int) -> None:
        first, every, score = self.losses(batch)
        values = {"val_primary": first, "val_vertices": every, "val_score": score}
        self.log_dict(values, prog_bar=True, batch_size=len(batch[0]))
