"""EncEmb: an encoder-only Transformer with local attention that embeds hits, so that the hits of a track lie together.

Attention is restricted to blocks of neighbouring hits, so the cost is linear in the number of hits. Before each layer
the hits of an event are sorted into patches of a plane and cut into blocks. The plane is that of pseudorapidity and
azimuth as seen from a point on the beam axis and after undoing one bending in the solenoid field: tracks of that origin
and curvature are single points there. (REDVID: the plane of pseudorapidity and length per turning angle.) Origin,
curvature and shape of the patches change from layer to layer, so hits that one layer separates meet in another.
Sorting points into blocks follows Point Transformer V3 (Wu et al. 2023) and HEPT (Miao et al. 2024); here the sorting
keys are track hypotheses.

Shapes: B events, N hits (padded), M hits of all events, b blocks of s slots, d = ``d_model``, h heads, K outputs.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.detectors.surfaces import SurfacesConfig
from mltrack_plugin.errors import NetworkSettingsError
from mltrack_plugin.models.hypotheses import Hypothesis, plane_coordinates
from mltrack_plugin.models.surfaces import Surfaces
from mltrack_plugin.settings import Config


class PatchConfig(Hypothesis):
    """How one layer sorts hits into blocks: by the plane of a track hypothesis."""

    aspect: float = Field(1.0, gt=0)
    """Rows of patches in pseudorapidity, as a factor on the square root of the number of blocks."""
    shift: float = Field(0.0, ge=0, lt=1)
    """Offset of the patches' borders, in patches."""


class EncEmbConfig(Config):
    """Sizes and constants of an :class:`EncEmb`."""

    d_model: int = Field(64, ge=1)
    """Width of the residual stream."""
    n_heads: int = Field(4, ge=1)
    """Attention heads."""
    d_ff: int = Field(192, ge=1)
    """Hidden width of the feed-forward layers."""
    block_size: int = Field(192, ge=2)
    """Largest number of hits in a block."""
    patches: tuple[PatchConfig, ...] = Field(min_length=1)
    """One layer each."""
    embedding: int = Field(8, ge=1)
    """Dimensions of the embedding."""
    length_scale: float = Field(1000.0, gt=0)
    """Size of the detector, in the unit of the coordinates."""
    surfaces: SurfacesConfig = SurfacesConfig()
    """Surfaces onto which hits are put; none = hits stay where they are."""
    phi_frequencies: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64, 128)
    """Frequencies of the Fourier features of azimuth, 1/rad."""
    eta_frequencies: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
    """Frequencies of the Fourier features of pseudorapidity."""


#: Hits that a layer takes at a time where no gradient is asked for.
CACHED_HITS = 1024


class Blocks(nn.Module):
    """Sorts the hits of a batch into blocks."""

    def __init__(self, config: EncEmbConfig, patch: PatchConfig) -> None:
        super().__init__()
        self.bending = patch.bending / config.length_scale
        self.origin = patch.origin * config.length_scale
        self.aspect = patch.aspect
        self.shift = patch.shift
        self.turning = float(patch.turning)
        self.pitch = patch.pitch * config.length_scale
        self.block_size = config.block_size

    def coordinates(self, hits: Tensor) -> tuple[Tensor, Tensor]:
        """Pseudorapidity and azimuth (M,) of Cartesian positions (M, 3) under this layer's hypothesis."""
        return plane_coordinates(hits, self.bending, self.origin, self.turning, self.pitch)

    def forward(
        self, eta: Tensor, phi: Tensor, event: Tensor, counts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Blocks of hits.

        Args:
            eta, phi: (M,) coordinates.
            event: (M,) int64, ascending: event of each hit.
            counts: (B,) int64 hits per event, > 0.

        Returns:
            slots (b, s) int64 hit in each slot, 0 where empty; filled (b, s) bool; and (M,) int64 slot of each hit.
        """
        m = event.shape[0]
        device = event.device
        n_blocks = (counts + self.block_size - 1) // self.block_size
        rows = (n_blocks.double().sqrt() * self.aspect).round().long()
        rows = torch.minimum(rows.clamp(min=1), n_blocks)
        first = torch.cumsum(counts, 0) - counts

        # Row of patches by rank, so that all hold about as many hits.
        order = torch.argsort(event.double() * 16.0 + eta.double(), stable=True)
        rank = torch.empty_like(order)
        rank[order] = torch.arange(m, device=device) - first[event[order]]
        row = torch.floor(rank.double() * rows[event] / counts[event] + self.shift)

        turn = 2.0 * math.pi
        angle = torch.remainder(phi.double() + self.shift * turn / 7.0, turn)
        key = (event.double() * 4096.0 + row) * turn + angle
        order = torch.argsort(key, stable=True)
        position = torch.arange(m, device=device) - first[event[order]]
        in_event = event[order]
        first_block = torch.cumsum(n_blocks, 0) - n_blocks
        within = torch.div(position * n_blocks[in_event], counts[in_event], rounding_mode="floor")
        block = first_block[in_event] + within
        # Start of a block: the smallest position that the division above sends there.
        start = torch.div(
            within * counts[in_event] + n_blocks[in_event] - 1, n_blocks[in_event], rounding_mode="floor"
        )
        size = int(torch.div(counts + n_blocks - 1, n_blocks, rounding_mode="floor").max())
        slot = block * size + (position - start)
        total = int(n_blocks.sum())
        slots = torch.zeros(total * size, dtype=torch.long, device=device)
        slots[slot] = order
        filled = torch.zeros(total * size, dtype=torch.bool, device=device)
        filled[slot] = True
        slot_of_hit = torch.empty_like(order)
        slot_of_hit[order] = slot
        return slots.view(total, size), filled.view(total, size), slot_of_hit


class LocalBlock(nn.Module):
    """Self-attention inside blocks of hits, then a feed-forward network; pre-norm, residual around both."""

    def __init__(self, d_model: int, n_heads: int, d_ff: int) -> None:
        super().__init__()
        d = d_model
        self.n_heads = n_heads
        #: Matrix products instead of the fused operator, whose backward pass in bfloat16 is slow on CPUs.
        self.written_out = False
        self.norm1 = nn.LayerNorm(d)
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.norm2 = nn.LayerNorm(d)
        self.up = nn.Linear(d, d_ff)
        self.down = nn.Linear(d_ff, d)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(b, s, d) -> (b, s, d); bias (b, 1, 1, s) is strongly negative at empty slots."""
        b, s, d = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, s, 3, self.n_heads, d // self.n_heads).permute(2, 0, 3, 1, 4)
        if self.written_out:
            scores = torch.matmul(qkv[0], qkv[1].transpose(-1, -2)).float() * (d // self.n_heads) ** -0.5
            if bias is not None:
                scores = scores + bias
            y = torch.matmul(torch.softmax(scores, dim=-1).to(qkv.dtype), qkv[2])
        else:
            y = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=bias)
        x = x + self.out(y.transpose(1, 2).reshape(b, s, d))
        return x + self.down(functional.relu(self.up(self.norm2(x))))  # type: ignore[no-any-return]


class Fourier(nn.Module):
    """Sines and cosines of pseudorapidity and azimuth."""

    phi_frequencies: Tensor
    eta_frequencies: Tensor

    def __init__(self, config: EncEmbConfig) -> None:
        super().__init__()
        self.register_buffer("phi_frequencies", torch.tensor(config.phi_frequencies, dtype=torch.float32))
        self.register_buffer("eta_frequencies", torch.tensor(config.eta_frequencies, dtype=torch.float32))
        self.width = 2 * (len(config.phi_frequencies) + len(config.eta_frequencies))

    def forward(self, eta: Tensor, phi: Tensor) -> Tensor:
        """(M,) each -> (M, width)."""
        a, b = phi[:, None] * self.phi_frequencies, eta[:, None] * self.eta_frequencies
        return torch.cat([torch.sin(a), torch.cos(a), torch.sin(b), torch.cos(b)], dim=1)


class EncEmb(nn.Module):
    """Hits in, embedding of each hit out.

    Args:
        config: sizes and constants.

    Raises:
        NetworkSettingsError: if the heads do not divide the width.
    """

    def __init__(self, config: EncEmbConfig) -> None:
        super().__init__()
        if config.d_model % config.n_heads:
            raise NetworkSettingsError(
                f"d_model {config.d_model} is not a multiple of n_heads {config.n_heads}"
            )
        self.length_scale = config.length_scale
        self.surfaces = Surfaces(config.surfaces)
        self.block_size = config.block_size
        self.cached_hits = CACHED_HITS
        self.fourier = Fourier(config)
        self.input = nn.Linear(8 + self.fourier.width, config.d_model)
        self.sorters = nn.ModuleList([Blocks(config, patch) for patch in config.patches])
        #: Coordinates of each layer's hypothesis, added to the residual stream.
        self.positions = nn.ModuleList(
            [nn.Linear(self.fourier.width, config.d_model, bias=False) for _ in config.patches]
        )
        self.layers = nn.ModuleList(
            [LocalBlock(config.d_model, config.n_heads, config.d_ff) for _ in config.patches]
        )
        self.norm = nn.LayerNorm(config.d_model)
        self.head = nn.Linear(config.d_model, config.embedding)

    @torch.jit.unused
    def start_as_kernel(self, sharpness: float, n_layers: int = 3) -> None:
        """Set initial weights so that the first layers attend to the hits nearest in their coordinates.

        As :meth:`mltrack_plugin.models.encreg.EncReg.start_as_kernel`: dot products of Fourier features are a kernel
        around each hit. Each of the layers gets residual columns of its own; heads get sharpness times 1, 2, ...

        Args:
            sharpness: logit per unit of the summed cosines, before the heads' factors.
            n_layers: layers that start this way.

        Raises:
            NetworkSettingsError: if the residual stream or a head is too narrow.
        """
        layers: list[Any] = list(self.layers)
        positions: list[Any] = list(self.positions)
        d, heads = self.input.out_features, int(layers[0].n_heads)
        n_phi, n_eta = len(self.fourier.phi_frequencies), len(self.fourier.eta_frequencies)
        # Middle frequencies: the lowest tell nothing apart, the highest only hits of the densest events.
        phi = [2, 3, 4, 5] if n_phi >= 6 else list(range(n_phi))
        eta = [1, 2, 3, 4] if n_eta >= 5 else list(range(n_eta))
        columns = [i for j in phi for i in (j, n_phi + j)]
        columns += [2 * n_phi + i for j in eta for i in (j, n_eta + j)]
        width = len(columns)
        if width * n_layers > d or width > d // heads:
            raise NetworkSettingsError(
                f"the kernel start of {n_layers} layers needs d_model of {width * n_layers} or more"
            )
        with torch.no_grad():
            for number, (position, layer) in enumerate(
                zip(positions[:n_layers], layers[:n_layers], strict=True)
            ):
                rows = slice(number * width, (number + 1) * width)
                self.input.weight[rows] = 0.0
                self.input.bias[rows] = 0.0
                for other in positions:
                    other.weight[rows] = 0.0
                for row, column in enumerate(columns):
                    position.weight[number * width + row, column] = 1.0
                for head in range(heads):
                    scale = math.sqrt((head + 1) * sharpness * math.sqrt(d // heads))
                    for part in (0, d):
                        start = part + head * (d // heads)
                        layer.qkv.weight[start : start + d // heads] = 0.0
                        layer.qkv.bias[start : start + d // heads] = 0.0
                        for row in range(width):
                            layer.qkv.weight[start + row, number * width + row] = scale

    def inputs(self, hits: Tensor) -> Tensor:
        """(M, 3) Cartesian coordinates -> (M, d)."""
        x, y, z = hits[:, 0:1], hits[:, 1:2], hits[:, 2:3]
        r = torch.sqrt(x * x + y * y).clamp(min=1e-6)
        eta = torch.asinh(z / r).clamp(-6.0, 6.0)
        phi = torch.atan2(y, x)
        columns = torch.cat([x, y, z, r], dim=1) / self.length_scale
        more = torch.cat([x / r, y / r, eta, (z / r).clamp(-30.0, 30.0) / 10.0], dim=1)
        return self.input(  # type: ignore[no-any-return]
            torch.cat([columns, more, self.fourier(eta[:, 0], phi[:, 0])], dim=1)
        )

    def features(self, hits: Tensor, event: Tensor, counts: Tensor) -> Tensor:
        """(M, 3) hits of events with ``counts`` (B,) hits each, ``event`` (M,) ascending -> (M, d)."""
        hits = self.surfaces(hits)
        x = self.inputs(hits)
        if counts.shape[0] == 1 and x.shape[0] <= self.block_size:
            # One block holds everything: nothing to sort, which is most of the time of a small event.
            for sorter, position, layer in zip(self.sorters, self.positions, self.layers):  # noqa: B905
                eta, phi = sorter.coordinates(hits)  # type: ignore[operator]
                x = layer((x + position(self.fourier(eta, phi)))[None], None)[0]
            return self.norm(x)  # type: ignore[no-any-return]
        # Where each hit is now: first in input order, then in the slots of the latest layer.
        place = torch.arange(x.shape[0], device=x.device)
        for sorter, position, layer in zip(self.sorters, self.positions, self.layers):  # noqa: B905 - TorchScript
            eta, phi = sorter.coordinates(hits)  # type: ignore[operator]
            slots, filled, slot_of_hit = sorter(eta, phi, event, counts)
            b, s = slots.shape
            x, there = x.reshape(-1, x.shape[-1]), position(self.fourier(eta, phi))
            bias: Tensor | None = None
            if not bool(filled.all()):
                # Finite: a softmax over nothing but -inf is NaN.
                bias = torch.zeros(b, 1, 1, s, dtype=x.dtype, device=x.device)
                bias = bias.masked_fill(~filled[:, None, None, :], -1e4)
            step = b
            if not (x.is_cuda or torch.is_grad_enabled()):
                # A few blocks at a time stay in the cache of a CPU core, 1.25 times as fast as whole arrays.
                step = max(1, self.cached_hits // s)
            parts: list[Tensor] = []
            for i in range(0, b, step):
                some = slots[i : i + step]
                part = x[place[some]] + there[some]
                parts.append(layer(part, None if bias is None else bias[i : i + step]))
            x = parts[0] if len(parts) == 1 else torch.cat(parts)
            place = slot_of_hit
        return self.norm(x.reshape(-1, x.shape[-1])[place])  # type: ignore[no-any-return]

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, 3) Cartesian coordinates and (B, N) mask (True = hit) to (B, N, K) embeddings, 0 at padding."""
        counts = mask.sum(dim=1)
        output = torch.zeros(
            mask.shape[0], mask.shape[1], self.head.out_features, dtype=features.dtype, device=features.device
        )
        event = torch.nonzero(mask)[:, 0]
        if event.shape[0] > 0:
            kept = torch.nonzero(counts)[:, 0]
            renumbered = torch.cumsum((counts > 0).long(), 0) - 1
            x = self.features(features[mask], renumbered[event], counts[kept])
            output[mask] = self.head(x).to(output.dtype)
        return output
