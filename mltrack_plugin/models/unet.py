"""UNet: sparse convolutions over the occupied pixels of an image of the hits, which give every hit a track class.

Caron et al., "Efficient ML-Assisted Particle Track Reconstruction Designs", compare their Transformers with a U-Net
that assigns image pixels to tracks. The paper states no details; the authors' published code has three-dimensional
images, submanifold convolutions of kernel 3 on four scales, and bins of the track parameters as classes. The training
configuration ``unet-paper-redvid-50-100-helical`` has its sizes.

Only occupied pixels exist (:mod:`mltrack_plugin.models.sparse`), so the cost is linear in the number of hits. Hits of
one pixel are summed in it, and each reads the pixel's result together with its own features: none is lost, and hits of
one pixel may get different classes. Where the axes of the image are the track parameters, the network moves each hit
from its own place to that of its track; a logistic distribution around it gives the probabilities of the bins.

Shapes: B events, N hits (padded), M hits of all events, V views, P pixels, D axes, C classes.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import itertools
import math
from typing import Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.models.enccla import ParameterBins, quantile_bins
from mltrack_plugin.models.sparse import (
    Pairs,
    Scale,
    SparseConvolution,
    Up,
    coarser_pairs,
    join_key,
    neighbour_pairs,
    number_keys,
)
from mltrack_plugin.settings import Config

#: Columns of the output.
OUTPUTS = tuple(
    f"{rank}{name}" for rank in ("", "second_", "third_", "fourth_") for name in ("class", "probability")
)

#: Image -> number of views of a hit, periodic axes, track parameters that are the axes (if they are).
IMAGES = {
    "direction": (1, (True, False), ("phi", "theta")),
    "helix": (2, (False, False), ("theta", "inverse_p")),
    "cylindrical": (1, (False, True, False), ()),
}


class UNetConfig(Config):
    """Sizes and constants of a :class:`UNet`."""

    image: Literal["direction", "helix", "cylindrical"]
    """"direction": azimuth and polar angle, where straight tracks from the origin are points. "helix": polar angle and
    turning angle per length, where helices from the origin at azimuth 0 are points, once for each direction of
    turning. "cylindrical": radius, azimuth and z, as in the published code.
    """
    pixels: tuple[int, ...]
    """Pixels along each axis."""
    extent: tuple[float, float] = (1.0, 1.0)
    """"cylindrical": largest radius and largest |z| of the image, in the unit of the coordinates. "helix": smallest and
    largest turning angle per length. What lies beyond is counted to the pixels at the border.
    """
    widths: tuple[int, ...] = Field((32, 64, 128, 128), min_length=1)
    """Channels of each scale, finest first."""
    blocks: int = Field(1, ge=1)
    """Residual blocks of each scale, on the way down and on the way up."""
    frequencies: tuple[int, ...] = (1, 2, 4)
    """Frequencies of the Fourier features of a hit's place, in periods per image."""
    length_scale: float = Field(1.0, gt=0)
    """Size of the detector, in the unit of the coordinates."""
    bins: tuple[ParameterBins, ...] = Field(min_length=1)
    """Bins of the track parameters, whose combinations are the classes. In the image "helix" the first parameter is
    the charge in two bins, negative first: the views.
    """

    @model_validator(mode="after")
    def _fits(self) -> "UNetConfig":
        views, periodic, axes = IMAGES[self.image]
        if len(self.pixels) != len(periodic):
            raise ValueError(
                f"image {self.image!r} has {len(periodic)} axes, pixels has {len(self.pixels)} numbers"
            )
        halved = 2 ** (len(self.widths) - 1)
        for wraps, size in zip(periodic, self.pixels, strict=True):
            if size < 1 or (wraps and size % halved):
                raise ValueError(f"{size} pixels in azimuth cannot be halved {len(self.widths) - 1} times")
        bins = quantile_bins(self.bins)
        wanted = ("q", *axes) if views > 1 else axes
        if axes and (bins.names != wanted or (views > 1 and bins.shape[0] != views)):
            raise ValueError(f"image {self.image!r} needs bins of {', '.join(wanted)}, two of q")
        if bins.n_classes < len(OUTPUTS) // 2:
            raise ValueError(f"{len(OUTPUTS) // 2} classes or more are needed")
        return self


class UNet(nn.Module):
    """Hits in, probability of every track class for each hit out.

    Args:
        config: sizes and constants.
    """

    low: Tensor
    pixel: Tensor
    lower: Tensor
    upper: Tensor
    offsets: Tensor
    strides: Tensor
    frequencies: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.views, periodic, parameters = IMAGES[config.image]
        self.located = bool(parameters)
        axes = len(periodic)
        self.bins = quantile_bins(config.bins)
        #: Bins of the parameters, without the one that tells the views.
        self.shape = list(self.bins.shape[self.views > 1 :])
        self.image: str = config.image
        self.sizes = list(config.pixels)
        self.periodic = list(periodic)
        r, z = self.slowest, self.fastest = config.extent
        low, span = {
            "direction": ((0.0, 0.0), (2.0 * math.pi, math.pi)),
            "helix": ((0.0, r), (math.pi, z - r)),
            "cylindrical": ((0.0, 0.0, -z), (r, 2.0 * math.pi, 2.0 * z)),
        }[config.image]
        self.register_buffer("low", torch.tensor(low), persistent=False)
        self.register_buffer("pixel", torch.tensor(span) / torch.tensor(config.pixels), persistent=False)
        self.length_scale = config.length_scale
        offsets = list(itertools.product((-1, 0, 1), repeat=axes))
        self.register_buffer("offsets", torch.tensor(offsets), persistent=False)
        strides = [2**axis for axis in range(axes)]
        self.register_buffer("strides", torch.tensor(strides), persistent=False)
        frequencies = torch.tensor(config.frequencies, dtype=torch.float32)
        self.register_buffer("frequencies", 2.0 * math.pi * frequencies, persistent=False)
        widths, taps, parts = config.widths, 3**axes, 2**axes
        self.parts = parts
        self.embed = nn.Linear(3 + axes * (2 + 2 * len(config.frequencies)), widths[0])
        self.stem = SparseConvolution(widths[0], widths[0], taps)
        self.finest = Scale(widths[0], taps, config.blocks)
        self.coarser = nn.ModuleList([Scale(width, taps, config.blocks) for width in widths[1:]])
        self.downs = nn.ModuleList([SparseConvolution(a, b, parts) for a, b in itertools.pairwise(widths)])
        self.ups = nn.ModuleList([Up(b, a, parts) for a, b in reversed(list(itertools.pairwise(widths)))])
        self.back = nn.ModuleList([Scale(width, taps, config.blocks) for width in reversed(widths[:-1])])
        self.hidden = nn.Linear(2 * widths[0], 2 * widths[0])
        self.norm = nn.LayerNorm(2 * widths[0])
        outputs = 2 * axes if self.located else sum(self.shape)
        self.head = nn.Linear(2 * widths[0], 1 + outputs)
        if self.located:
            # Starts from where the hit itself is.
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        edges = [torch.tensor(ends, dtype=torch.float32) for ends in self.bins.edges[self.views > 1 :]]
        for wraps, ends in zip(periodic, edges, strict=False):
            if not wraps:
                ends[0], ends[-1] = -1e4, 1e4
        self.register_buffer("lower", torch.cat([ends[:-1] for ends in edges]), persistent=False)
        self.register_buffer("upper", torch.cat([ends[1:] for ends in edges]), persistent=False)

    def places(self, hits: Tensor) -> tuple[Tensor, Tensor]:
        """Cartesian positions (M, 3) to the axes of the image (V, M, D) and other features (V, M, 3)."""
        x, y, z = hits[:, 0], hits[:, 1], hits[:, 2]
        r = torch.sqrt(x * x + y * y)
        phi = torch.remainder(torch.atan2(y, x), 2.0 * math.pi)
        turned = phi[None]
        if self.image == "direction":
            places = torch.stack([phi, torch.atan2(r, z)], dim=1)[None]
        elif self.image == "helix":
            # Turning to the right first, as the classes are ordered by charge.
            turned = torch.stack([2.0 * math.pi - phi, phi]).clamp(min=1e-2)
            length = torch.sqrt(r * r + z * z).clamp(min=1e-3)
            # No track turns slower than the image shows: what seems to has made one turn more, if that fits.
            more = (turned / length < self.slowest) & ((turned + 2.0 * math.pi) / length <= self.fastest)
            turned = turned + 2.0 * math.pi * more
            places = torch.stack([torch.atan2(r, z).expand(self.views, -1), turned / length], dim=2)
        else:
            places = torch.stack([r, phi, z], dim=1)[None]
        lengths = torch.stack([r, z], dim=1) / self.length_scale
        return places, torch.cat(
            [lengths.expand(self.views, -1, -1), turned[:, :, None] / math.pi - 1.0], dim=2
        )

    def log_probabilities(self, hits: Tensor, event: Tensor) -> Tensor:
        """(M, 3) hits and their events (M,) int64 to (M, V, 1 + bins): logarithms of the probability of each view, and
        of each bin of each parameter in that view."""
        places, others = self.places(hits)
        raw = self.body(places, others, event).float()
        parts = [torch.log_softmax(raw[..., :1], dim=0)]
        first = 0
        for axis, n in enumerate(self.shape):
            if self.located:
                # A logistic distribution around the place that the network moves the hit to.
                unit = self.pixel[axis]
                centre = places[..., axis] + unit * raw[..., 1 + 2 * axis]
                width = unit * raw[..., 2 + 2 * axis].clamp(-5.0, 5.0).exp()
                low = self.lower[first : first + n] - centre[..., None]
                high = self.upper[first : first + n] - centre[..., None]
                if self.periodic[axis]:
                    turn = 2.0 * math.pi * torch.round((low + high) / (4.0 * math.pi))
                    low, high = low - turn, high - turn
                low, high = low / width[..., None], high / width[..., None]
                # sigmoid(high) - sigmoid(low), without loss of precision in the tails.
                inside = torch.log(-torch.expm1((low - high).clamp(max=-1e-6)))
                logits = functional.logsigmoid(high) + functional.logsigmoid(-low) + inside
            else:
                logits = raw[..., 1 + first : 1 + first + n]
            parts.append(torch.log_softmax(logits, dim=2))
            first += n
        return torch.cat(parts, dim=2).transpose(0, 1)

    def body(self, places: Tensor, others: Tensor, event: Tensor) -> Tensor:
        """Of :meth:`places` to the outputs of the last layer (V, M, 1 + outputs)."""
        sizes = self.sizes
        scaled = ((places - self.low) / self.pixel).flatten(0, 1)
        last = torch.tensor(sizes, device=places.device)
        scaled = torch.minimum(scaled.clamp(min=0.0), last.to(scaled.dtype))
        pixel = torch.minimum(scaled.floor().long(), last - 1)
        view = torch.arange(self.views, device=event.device)[:, None]
        image = (event * self.views + view).flatten()
        keys, row = number_keys(join_key(torch.cat([image[:, None], pixel], dim=1), sizes))

        place = scaled / last
        waves = (place[:, :, None] * self.frequencies).flatten(1)
        features = torch.cat(
            [others.flatten(0, 1), place, scaled - pixel - 0.5, waves.sin(), waves.cos()], dim=1
        )
        own = functional.relu(self.embed(features))
        x = torch.zeros(keys.shape[0], own.shape[1], dtype=own.dtype, device=own.device).index_add(
            0, row, own
        )

        pairs = neighbour_pairs(keys, sizes, self.periodic, self.offsets)
        x = self.finest(self.stem(x, pairs, x.shape[0]), pairs)
        finer: list[Tensor] = []
        maps: list[Pairs] = []
        slots: list[Tensor] = []
        for down, scale in zip(self.downs, self.coarser):  # noqa: B905 - TorchScript
            finer.append(x)
            maps.append(pairs)
            keys, joined, slot = coarser_pairs(keys, sizes, self.strides)
            slots.append(slot)
            sizes = [(size + 1) // 2 for size in sizes]
            x = down(x, joined, keys.shape[0])
            pairs = neighbour_pairs(keys, sizes, self.periodic, self.offsets)
            x = scale(x, pairs)
        for up, scale in zip(self.ups, self.back):  # noqa: B905 - TorchScript
            x = scale(up(x, finer.pop(), slots.pop()), maps.pop())
        x = torch.cat([x.index_select(0, row), own], dim=1)
        x = functional.relu(self.norm(self.hidden(x)))
        return self.head(x).view(self.views, event.shape[0], -1)  # type: ignore[no-any-return]

    def choices(self, log_probability: Tensor) -> Tensor:
        """(M, V, 1 + bins) of :meth:`log_probabilities` to (M, 8) as in :meth:`forward`."""
        value = log_probability[:, :, :1]
        number = torch.arange(self.views, device=value.device)[:, None].expand(value.shape)
        first = 1
        # The best four combinations are made of the best four bins of each parameter.
        for n in self.shape:
            best, index = log_probability[:, :, first : first + n].topk(min(4, n), dim=2)
            value = (value[:, :, :, None] + best[:, :, None, :]).flatten(2)
            number = (number[:, :, :, None] * n + index[:, :, None, :]).flatten(2)
            first += n
        best, index = value.flatten(1).topk(4, dim=1)
        number = number.flatten(1).gather(1, index).to(best.dtype)
        return torch.stack([number, best.exp()], dim=2).flatten(1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """The classes of each hit.

        Args:
            features: (B, N, 3) Cartesian coordinates.
            mask: (B, N) bool, True = hit.

        Returns:
            (B, N, 8), 0 at padding: the most probable class (a whole number), its probability, and the same of the
            second to the fourth.
        """
        output = torch.zeros(mask.shape[0], mask.shape[1], 8, dtype=torch.float32, device=features.device)
        event = torch.nonzero(mask)[:, 0]
        if event.shape[0] > 0:
            output[mask] = self.choices(self.log_probabilities(features[mask], event))
        return output
