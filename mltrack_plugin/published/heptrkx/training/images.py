"""Training of the networks on images of detector planes: segmentation, one line, a sequence of lines."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.plane_images import LINE_OUTPUTS, LINE_UNITS, gaussian_nll
from mltrack_plugin.models.plane_raster import PlaneRaster
from mltrack_plugin.published.heptrkx.simulation.rasterised import rasterised, straight
from mltrack_plugin.published.heptrkx.simulation.toy_planes import PlaneEvents, ToyPlanesDataset
from mltrack_plugin.training.settings import TrainingConfig
from mltrack_plugin.training.task import Task, TaskModule

#: image (B, P, W) and what the task wants to know of it.
ImageBatch = tuple[Tensor, ...]
#: The pixel of a track in a plane where it left no hit.
NOT_SEEN = -1


class PlaneImageConfig(TrainingConfig):
    """A run that trains a network on images of detector planes."""

    raster: PlaneRaster | None = None
    """How the hits of the data set become pixels; ``None`` = the data set is toy-planes and has pixels of its own."""
    seed_planes: int = Field(0, ge=0)
    """With a raster: planes at the front that show the seed alone (segmentation)."""


class PlaneImageTask(Task):
    """Base: batches of images."""

    Config: ClassVar[type[TrainingConfig]] = PlaneImageConfig

    @property
    def raster(self) -> PlaneRaster:
        """How hits become pixels."""
        if self.config.raster is not None:
            return cast(PlaneRaster, self.config.raster)
        planes = self.dataset.config
        return PlaneRaster(
            planes=planes.planes, pixels=planes.pixels, pitch=planes.pitch, spacing=planes.spacing
        )

    def events(self, number: int, split: str) -> PlaneEvents:
        """Batch ``number`` of a split."""
        size, seed = self.config.batch_size, self.config.seed
        if self.config.raster is None:
            return cast(ToyPlanesDataset, self.dataset).batch(number, size, seed=seed, split=split)
        source = self.source(split)
        return rasterised(
            [source(index) for index in range(number * size, (number + 1) * size)],
            self.raster,
            self.config.seed_planes,
            np.random.default_rng([seed, number]),
        )

    def network_settings(self) -> dict[str, Any]:
        """Settings of the network, with the raster."""
        return {**self.config.network, **self.raster.model_dump(mode="json")}

    def network(self) -> nn.Module:
        return build_network(self.config.architecture, self.network_settings())

    def batch(self, number: int, split: str) -> ImageBatch:
        return self.tensors(self.events(number, split))

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
        azimuths = self.raster.coordinate == "phi"
        return {
            **content,
            "hyperparameters": self.network_settings(),
            "kind": "image",
            "features": ["hit"],
            "outputs": list(outputs),
            "units": {"hit": "1", **units},
            "coordinate_system": "cylindrical" if azimuths else "cartesian",
        }


class SegmentationTask(PlaneImageTask):
    """Which pixel of each plane belongs to the track that alone is seen in the first planes."""

    def network_settings(self) -> dict[str, Any]:
        config = self.config
        planes = config.seed_planes if config.raster is not None else self.dataset.config.clean_planes
        return {**super().network_settings(), "seed_planes": planes}

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
        scores = self.network.scores(image).flatten(0, 1)
        loss = functional.cross_entropy(scores, pixel.flatten(), ignore_index=NOT_SEEN)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: ImageBatch, batch_index: int) -> None:
        image, pixel = batch
        score = hit_accuracy(self.network(image), image, pixel)
        self.log("val_score", score, prog_bar=True, batch_size=len(image))


def hit_accuracy(probability: Tensor, image: Tensor, pixel: Tensor) -> Tensor:
    """Share of planes in which the most probable hit is the track's.

    HEP.TrkX's "accuracy of classified hit": only pixels with a hit compete; all planes count where the track is seen.

    Args:
        probability: (B, P, W).
        image: (B, P, W).
        pixel: (B, P) the track's pixel, or NOT_SEEN.
    """
    right = (probability * image).argmax(dim=2) == pixel
    return right[pixel != NOT_SEEN].float().mean()


class PlaneLinesTask(PlaneImageTask):
    """Base: parameters of straight lines.

    Raises:
        ConfigurationError: if tracks are no straight lines in the image.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        if config.raster is not None and not straight(config.raster):
            raise ConfigurationError(
                f"{config.name}: tracks are straight lines on toy planes and on discs of REDVID's detector "
                "(coordinate: phi, layers of volume 0) alone; on other planes pixels can be classified only"
            )

    def line_units(self, outputs: tuple[str, ...]) -> dict[str, str]:
        """Units of a line's parameters."""
        if self.raster.coordinate == "y":
            return {name: LINE_UNITS[name] for name in outputs}
        per_length = f"rad/{self.config.length_unit}"
        return {
            name: per_length if "slope" in name else "1" if name == "correlation" else "rad"
            for name in outputs
        }


class LineTask(PlaneLinesTask):
    """Entry and exit of the one track of each image, with or without their covariance."""

    def module(self) -> TaskModule:
        return LineModule(self.config, self.network())

    def tensors(self, events: PlaneEvents) -> ImageBatch:
        return torch.from_numpy(events.images), entry_and_exit(events, self.raster)[:, 0]

    def card(self, module: TaskModule) -> dict[str, Any]:
        gaussian = self.network_settings().get("uncertainties", True)
        outputs = LINE_OUTPUTS if gaussian else LINE_OUTPUTS[:2]
        loss = "Gaussian log-likelihood" if gaussian else "mean squared error"
        return self.image_card(outputs, self.line_units(outputs), loss)


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


class LineSequenceConfig(PlaneImageConfig):
    """A run that trains a sequence of tracks."""

    stop_weight: float = Field(1.0, ge=0)
    """Weight of the stop criterion's cross entropy beside the likelihood of the lines."""


class LineSequenceTask(PlaneLinesTask):
    """Tracks in the order in which they enter, and where the sequence ends."""

    Config = LineSequenceConfig

    def network_settings(self) -> dict[str, Any]:
        return {**super().network_settings(), "slots": self.dataset.config.tracks[1]}

    def module(self) -> TaskModule:
        return LineSequenceModule(self.config, self.network())

    def tensors(self, events: PlaneEvents) -> ImageBatch:
        target, slots = entry_and_exit(events, self.raster), self.dataset.config.tracks[1]
        # Rasterised events have as many places as the fullest of them has tracks.
        target = functional.pad(target, [0, 0, 0, slots - target.shape[1]])
        slot = torch.arange(slots)
        exists = slot < torch.from_numpy(events.n_tracks)[:, None]
        key = torch.where(exists, target[..., 0], torch.inf)
        order = key.argsort(dim=1, stable=True)
        return torch.from_numpy(events.images), target.gather(1, order[..., None].expand(-1, -1, 2)), exists

    def card(self, module: TaskModule) -> dict[str, Any]:
        loss = f"Gaussian log-likelihood + {self.config.stop_weight} cross entropy of the stop criterion"
        return self.image_card(
            (*LINE_OUTPUTS, "exists"), {**self.line_units(LINE_OUTPUTS), "exists": "1"}, loss
        )


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


def entry_and_exit(events: PlaneEvents, raster: PlaneRaster) -> Tensor:
    """(E, K, 2) float32: where tracks enter and leave, in units of half the width around the centre.

    A track that leaves an unrolled plane on one side and comes back on the other goes on beyond the edge here.

    Args:
        events: E events with up to K tracks.
        raster: planes, pixels, pitch and spacing.
    """
    half = 0.5 * raster.pixels * raster.pitch
    entry = torch.from_numpy(events.intercept)
    leave = entry + torch.from_numpy(events.slope) * (raster.planes * raster.spacing)
    places: Tensor = torch.stack([entry, leave], dim=-1) / half - 1.0
    return places.float()
