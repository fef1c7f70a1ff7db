"""Training of the networks on images of detector planes: segmentation, one line, a sequence of lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.models import build_network
from mltrack_plugin.models.plane_images import LINE_OUTPUTS, LINE_UNITS, gaussian_nll
from mltrack_plugin.simulation.toy_planes import PlaneEvents, ToyPlanesDataset
from mltrack_plugin.training.config import TrainingConfig
from mltrack_plugin.training.task import Task, TaskModule

#: image (B, P, W) and what the task wants to know of it.
ImageBatch = tuple[Tensor, ...]

#: Constants of the image, which network and data set share.
_RASTER = ("planes", "pixels", "pitch", "spacing")


class PlaneImageTask(Task):
    """Base: batches of toy detector planes."""

    @property
    def events(self) -> ToyPlanesDataset:
        """The data set, for its batches."""
        return cast(ToyPlanesDataset, self.dataset)

    def network_settings(self) -> dict[str, Any]:
        """Settings of the network; the raster is the data set's."""
        return {**self.config.network, **{name: getattr(self.events.config, name) for name in _RASTER}}

    def network(self) -> nn.Module:
        return build_network(self.config.architecture, self.network_settings())

    def batch(self, number: int, split: str) -> ImageBatch:
        return self.tensors(
            self.events.batch(number, self.config.batch_size, seed=self.config.seed, split=split)
        )

    @abstractmethod
    def tensors(self, events: PlaneEvents) -> ImageBatch:
        """What the module reads of simulated events."""

    def training_batches(self, start: int) -> Iterator[ImageBatch]:
        number = start
        while True:
            yield self.batch(number, "train")
            number += 1

    def validation_batches(self) -> Sequence[ImageBatch]:
        n = -(-self.config.validation_events // self.config.batch_size)
        return [self.batch(number, "validation") for number in range(n)]

    def image_card(self, outputs: tuple[str, ...], units: dict[str, str], loss: str) -> dict[str, Any]:
        """Content of the model card."""
        content = self.common_card()
        content["training_recipe"]["loss"] = loss
        return {
            **content,
            "hyperparameters": self.network_settings(),
            "kind": "image",
            "features": ["hit"],
            "outputs": list(outputs),
            "units": {"hit": "1", **units},
            "coordinate_system": "cartesian",
        }


class SegmentationTask(PlaneImageTask):
    """Which pixel of each plane belongs to the track that alone is seen in the first planes."""

    def network_settings(self) -> dict[str, Any]:
        return {**super().network_settings(), "seed_planes": self.events.config.clean_planes}

    def module(self) -> TaskModule:
        return SegmentationModule(self.config, self.network())

    def tensors(self, events: PlaneEvents) -> ImageBatch:
        return torch.from_numpy(events.images), torch.from_numpy(events.track_pixel[:, 0])

    def card(self, module: TaskModule) -> dict[str, Any]:
        return self.image_card(
            ("probability",), {"probability": "1"}, "cross entropy over the pixels of each plane"
        )


class SegmentationModule(TaskModule):
    """Cross entropy over the pixels of each plane; scored by the accuracy of classified hits."""

    def training_step(self, batch: ImageBatch, batch_index: int) -> Tensor:
        image, pixel = batch
        loss = functional.cross_entropy(self.network.scores(image).flatten(0, 1), pixel.flatten())
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        image, pixel = batch
        score = hit_accuracy(self.network(image), image, pixel)
        self.log("val_score", score, prog_bar=True, batch_size=len(image))


def hit_accuracy(probability: Tensor, image: Tensor, pixel: Tensor) -> Tensor:
    """Share of planes in which the most probable hit is the track's.

    HEP.TrkX's "accuracy of classified hit": only pixels with a hit compete, all planes count.

    Args:
        probability: (B, P, W).
        image: (B, P, W).
        pixel: (B, P) the track's pixel.
    """
    return ((probability * image).argmax(dim=2) == pixel).float().mean()


class LineTask(PlaneImageTask):
    """Entry and exit of the one track of each image, with or without their covariance."""

    def module(self) -> TaskModule:
        return LineModule(self.config, self.network())

    def tensors(self, events: PlaneEvents) -> ImageBatch:
        return torch.from_numpy(events.images), entry_and_exit(events, self.events.config)[:, 0]

    def card(self, module: TaskModule) -> dict[str, Any]:
        gaussian = self.network_settings().get("uncertainties", True)
        outputs = LINE_OUTPUTS if gaussian else LINE_OUTPUTS[:2]
        loss = "Gaussian log-likelihood" if gaussian else "mean squared error"
        return self.image_card(outputs, {name: LINE_UNITS[name] for name in outputs}, loss)


class LineModule(TaskModule):
    """Gaussian likelihood, or squared errors where the network gives no uncertainties."""

    def loss(self, batch: ImageBatch) -> Tensor:
        image, target = batch
        raw = self.network.raw(image)[:, 0]
        if raw.shape[1] == 2:
            return functional.mse_loss(raw, target)
        return gaussian_nll(raw, target).mean()

    def training_step(self, batch: ImageBatch, batch_index: int) -> Tensor:
        loss = self.loss(batch)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        self.log("val_score", -self.loss(batch), prog_bar=True, batch_size=len(batch[0]))


class LineSequenceConfig(TrainingConfig):
    """A run that trains a sequence of tracks."""

    #: Weight of the stop criterion's cross entropy beside the likelihood of the lines.
    stop_weight: float = Field(1.0, ge=0)


class LineSequenceTask(PlaneImageTask):
    """Tracks in the order in which they enter, and where the sequence ends."""

    Config = LineSequenceConfig

    def network_settings(self) -> dict[str, Any]:
        return {**super().network_settings(), "slots": self.events.config.tracks[1]}

    def module(self) -> TaskModule:
        return LineSequenceModule(self.config, self.network())

    def tensors(self, events: PlaneEvents) -> ImageBatch:
        target = entry_and_exit(events, self.events.config)
        slot = torch.arange(target.shape[1])
        exists = slot < torch.from_numpy(events.n_tracks)[:, None]
        key = torch.where(exists, target[..., 0], torch.inf)
        order = key.argsort(dim=1, stable=True)
        return torch.from_numpy(events.images), target.gather(1, order[..., None].expand(-1, -1, 2)), exists

    def card(self, module: TaskModule) -> dict[str, Any]:
        loss = f"Gaussian log-likelihood + {self.config.stop_weight} cross entropy of the stop criterion"
        return self.image_card((*LINE_OUTPUTS, "exists"), {**LINE_UNITS, "exists": "1"}, loss)


class LineSequenceModule(TaskModule):
    """Gaussian likelihood of the tracks that exist, cross entropy of whether there is one."""

    def losses(self, batch: ImageBatch) -> tuple[Tensor, Tensor]:
        """(likelihood per track, cross entropy per slot)."""
        image, target, exists = batch
        raw = self.network.raw(image)
        line = gaussian_nll(raw[..., :5], target).masked_fill(~exists, 0.0).sum() / exists.sum().clamp(min=1)
        stop = functional.binary_cross_entropy_with_logits(raw[..., 5], exists.float())
        return line, stop

    def training_step(self, batch: ImageBatch, batch_index: int) -> Tensor:
        line, stop = self.losses(batch)
        self.log_dict({"line": line, "stop": stop}, prog_bar=True)
        loss: Tensor = line + self.config.stop_weight * stop
        return loss

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        line, stop = self.losses(batch)
        values = {"val_line": line, "val_stop": stop, "val_score": -line - self.config.stop_weight * stop}
        self.log_dict(values, prog_bar=True, batch_size=len(batch[0]))


def entry_and_exit(events: PlaneEvents, raster: Any) -> Tensor:
    """(E, K, 2) float32: where tracks enter and leave, in units of half the width around the centre.

    Args:
        events: E events with up to K tracks.
        raster: planes, pixels, pitch and spacing.
    """
    half = 0.5 * raster.pixels * raster.pitch
    entry = torch.from_numpy(events.intercept)
    leave = entry + torch.from_numpy(events.slope) * (raster.planes * raster.spacing)
    places: Tensor = torch.stack([entry, leave], dim=-1) / half - 1.0
    return places.float()
