"""Segmentation of detector images: which pixels of each plane belong to the seeded track.

The image methods of HEP.TrkX (Farrell et al., CTD/WIT 2017, https://doi.org/10.1051/epjconf/201715000003): the first
planes of the image show the seed of one track alone, the others everything, and for every plane the network gives a
distribution over its pixels. Two cores, as published: a recurrent network that reads plane after plane, and a
convolutional network that contracts and expands the image. The latter has links between maps of the same size
(Ronneberger et al., U-Net, 2015), which the published one lacks.

Shapes: B images, P planes, W pixels, H = ``hidden``.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.models.plane_images import check_image
from mltrack_plugin.models.plane_raster import PlaneRaster


class ImageSegmentationConfig(PlaneRaster):
    """Sizes of an :class:`ImageSegmentation`."""

    core: Literal["lstm", "cnn"] = "lstm"
    """"lstm": plane after plane. "cnn": contracting and expanding convolutions."""
    seed_planes: int = Field(5, ge=2)
    """Planes at the front that show the seed alone."""
    hidden: int = Field(100, ge=1)
    """"lstm": width of the state."""
    kernel: int = Field(0, ge=0)
    """"lstm": every pixel has a state of this width of its own, which sees this many pixels of the plane before: the
    same for all pixels, so much less has to be learned. 0: one state for the plane as a whole, as published.
    """
    channels: tuple[int, ...] = Field((8, 16, 32, 64), min_length=2)
    """"cnn": maps at full, half, quarter ... size."""


class PlaneLSTM(nn.Module):
    """LSTM over planes and one linear layer back to pixels: (B, P, W) -> (B, P, W) scores."""

    def __init__(self, config: ImageSegmentationConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(config.pixels, config.hidden, batch_first=True)
        self.output = nn.Linear(config.hidden, config.pixels)

    def forward(self, image: Tensor) -> Tensor:
        state, _ = self.lstm(image)  # (B, P, H)
        scores: Tensor = self.output(state)
        return scores


class PlaneConvLSTM(nn.Module):
    """LSTM over planes with convolutions along the plane (Shi et al. 2015): (B, P, W) -> (B, P, W) scores."""

    def __init__(self, config: ImageSegmentationConfig) -> None:
        super().__init__()
        if config.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd or 0, got {config.kernel}")
        self.hidden = config.hidden
        self.kernel = config.kernel
        self.image_gates = nn.Linear(config.kernel, 4 * config.hidden)
        self.state_gates = nn.Linear(config.kernel * config.hidden, 4 * config.hidden, bias=False)
        self.output = nn.Linear(config.hidden, 1)
        with torch.no_grad():
            # The forget gates start open.
            self.image_gates.bias[config.hidden : 2 * config.hidden] = 1.0

    def forward(self, image: Tensor) -> Tensor:
        n, planes, width = image.shape
        reach = self.kernel // 2
        from_image = self.image_gates(functional.pad(image, [reach, reach]).unfold(2, self.kernel, 1))
        state = torch.zeros(n, width, self.hidden, dtype=image.dtype, device=image.device)
        cell = torch.zeros_like(state)
        states: list[Tensor] = []
        for plane in range(planes):
            padded = functional.pad(state, [0, 0, reach, reach])
            window = torch.cat([padded[:, k : k + width] for k in range(self.kernel)], dim=2)
            gates = from_image[:, plane] + self.state_gates(window)
            enter, forget, leave = torch.sigmoid(gates[:, :, : 3 * self.hidden]).chunk(3, dim=2)
            cell = forget * cell + enter * torch.tanh(gates[:, :, 3 * self.hidden :])
            state = leave * torch.tanh(cell)
            states.append(state)
        scores: Tensor = self.output(torch.stack(states, dim=1)).squeeze(3)
        return scores


class PlaneCNN(nn.Module):
    """Contracting and expanding 3x3 convolutions with links: (B, P, W) -> (B, P, W) scores."""

    def __init__(self, config: ImageSegmentationConfig) -> None:
        super().__init__()
        channels = config.channels
        self.down = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1)
            for before, after in zip((1, *channels[:-1]), channels, strict=True)
        )
        self.bottom = nn.Conv2d(channels[-1], channels[-1], 3, padding=1)
        self.up = nn.ModuleList(
            nn.Conv2d(below + here, here, 3, padding=1)
            for below, here in zip(channels[:0:-1], channels[-2::-1], strict=True)
        )
        self.output = nn.Conv2d(channels[0], 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        maps = image.unsqueeze(1)
        links: list[Tensor] = []
        for layer in self.down:
            if len(links) > 0:
                maps = functional.max_pool2d(maps, 2, ceil_mode=True)
            maps = torch.relu(layer(maps))
            links.append(maps)
        maps = torch.relu(self.bottom(maps))
        links.pop()
        for layer in self.up:
            link = links.pop()
            maps = functional.interpolate(maps, size=[link.size(2), link.size(3)], mode="nearest")
            maps = torch.relu(layer(torch.cat([maps, link], dim=1)))
        scores: Tensor = self.output(maps).squeeze(1)
        return scores


class ImageSegmentation(nn.Module):
    """For every plane a distribution over its pixels: where the seeded track went through."""

    def __init__(self, config: ImageSegmentationConfig) -> None:
        super().__init__()
        self.planes = config.planes
        self.pixels = config.pixels
        if config.core == "cnn":
            self.core: nn.Module = PlaneCNN(config)
        else:
            self.core = PlaneConvLSTM(config) if config.kernel else PlaneLSTM(config)

    def scores(self, image: Tensor) -> Tensor:
        """(B, P, W) -> (B, P, W) unnormalised."""
        result: Tensor = self.core(check_image(image, self.planes, self.pixels))
        return result

    def forward(self, image: Tensor) -> Tensor:
        """(B, P, W) -> (B, P, W) probabilities; those of a plane sum up to 1."""
        return torch.softmax(self.scores(image), dim=2)

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """A batch of random images."""
        generator = torch.Generator().manual_seed(seed)
        return ((torch.rand((3, self.planes, self.pixels), generator=generator) < 0.2).float(),)
