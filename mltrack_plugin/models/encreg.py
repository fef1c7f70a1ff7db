"""EncReg: an encoder-only Transformer that regresses the parameters of each hit's track.

Caron et al., "Efficient ML-Assisted Particle Track Reconstruction Designs": all hits of an event go in, for every
hit the parameters of its track come out, and clustering in that space groups the hits. The blocks, and the backends
that compute their attention, are in :mod:`mltrack_plugin.models.attention`; EncReg-FA of the paper is this network
with FlashAttention in half precision.

Shapes: B events, N hits (padded), M hits of all events (packed), F features, d = ``d_model``, K outputs.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math
from typing import Literal

import torch
from torch import Tensor, nn

from mltrack_plugin.detectors.surfaces import SurfacesConfig
from mltrack_plugin.errors import NetworkSettingsError
from mltrack_plugin.models.attention import EncoderBlock, EncoderConfig, Packing, key_bias
from mltrack_plugin.models.surfaces import Surfaces

__all__ = ["EncReg", "EncRegConfig", "EncoderBlock", "HitEmbedding"]


class EncRegConfig(EncoderConfig):
    """Sizes and constants of an :class:`EncReg`."""

    inputs: Literal["raw", "cylindrical", "expanded"] = "expanded"
    """"raw": the three input coordinates, scaled, as published for TrackML. "cylindrical": radius, azimuth in [0, 2 pi)
    and z, scaled, as published for REDVID. "expanded": derived coordinates and Fourier features.
    """
    input_mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    """Mean subtracted from the raw coordinates, in their units."""
    input_scale: tuple[float, ...] = (1.0, 1.0, 1.0)
    """The raw coordinates are divided by this, in their units."""
    surfaces: SurfacesConfig = SurfacesConfig()
    """Surfaces onto which hits are put first; none = hits stay where they are."""
    phi_frequencies: tuple[int, ...] = (1, 2, 3, 4)
    """"expanded" only: frequencies of the Fourier features of phi. Their dot products are what attention compares
    hits by, so the largest one sets how close two hits must be to stand out.
    """
    eta_frequencies: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
    """"expanded" only: frequencies of the Fourier features of eta."""
    turning_features: bool = False
    """"expanded" only: add r and z per turning angle for both directions of turning. For helices that start at
    azimuth 0 and turn by less than 2 pi these are the radial and pitch coefficients, one of the two pairs right.
    """
    turning_frequencies: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    """Frequencies of the Fourier features of these coefficients."""
    output_mean: tuple[float, ...] = (0.0,)
    """Added to the scaled network outputs, in the units of the physical outputs."""
    output_scale: tuple[float, ...] = (1.0,)
    """The network outputs are multiplied by this, in the units of the physical outputs."""


class HitEmbedding(nn.Module):
    """Raw coordinates (B, N, 3) to the residual stream (B, N, d).

    "expanded" derives from Cartesian x, y, z: the scaled coordinates and radius, polar angle, pseudorapidity,
    the ratio z/r, and the Fourier features of phi and eta, because a linear map of x, y, z can express none of these.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, config: EncRegConfig) -> None:
        super().__init__()
        self.expanded = config.inputs == "expanded"
        self.cylindrical = config.inputs == "cylindrical"
        self.surfaces = Surfaces(config.surfaces)
        self.phi_frequencies = [float(k) for k in config.phi_frequencies]
        self.eta_frequencies = [float(k) for k in config.eta_frequencies]
        self.turning_features = config.turning_features
        self.turning_frequencies = [float(k) for k in config.turning_frequencies]
        self.register_buffer("mean", torch.tensor(config.input_mean))
        self.register_buffer("scale", torch.tensor(config.input_scale))
        n = len(config.input_mean)
        if self.expanded:
            n = 7 + 2 * (len(self.phi_frequencies) + len(self.eta_frequencies))
            n += (6 + 8 * len(self.turning_frequencies)) * config.turning_features
        self.linear = nn.Linear(n, config.d_model)

    def forward(self, features: Tensor) -> Tensor:
        features = self.surfaces(features)
        if self.cylindrical:
            x, y, z = features[..., 0:1], features[..., 1:2], features[..., 2:3]
            azimuth = torch.remainder(torch.atan2(y, x), 2.0 * math.pi)
            features = torch.cat([torch.sqrt(x * x + y * y), azimuth, z], dim=-1)
        scaled = (features - self.mean) / self.scale
        if not self.expanded:
            return self.linear(scaled)  # type: ignore[no-any-return]
        x, y, z = features[..., 0:1], features[..., 1:2], features[..., 2:3]
        # A lower limit, not a small term in the root: the ONNX exporter drops sums with nearly 0.
        r = torch.sqrt(x * x + y * y).clamp(min=1e-6)
        phi = torch.atan2(y, x)
        eta = torch.asinh(z / r).clamp(-6.0, 6.0)
        columns = [
            scaled,
            r / self.scale[0],
            torch.atan2(r, z),
            eta,
            (z / r).clamp(-30.0, 30.0) / 10.0,
        ]
        for frequency in self.phi_frequencies:
            columns += [torch.sin(phi * frequency), torch.cos(phi * frequency)]
        for frequency in self.eta_frequencies:
            columns += [torch.sin(eta * frequency), torch.cos(eta * frequency)]
        if self.turning_features:
            left = torch.remainder(phi, 2.0 * math.pi)
            for turned in (left, 2.0 * math.pi - left):
                turned = turned.clamp(min=0.05)
                radial, pitch = (r / turned).clamp(max=4.0), (z / turned).clamp(-4.0, 4.0)
                columns += [turned / math.pi - 1.0, radial, pitch]
                for frequency in self.turning_frequencies:
                    columns += [torch.sin(radial * frequency), torch.cos(radial * frequency)]
                    columns += [torch.sin(pitch * frequency), torch.cos(pitch * frequency)]
        return self.linear(torch.cat(columns, dim=-1))  # type: ignore[no-any-return]


class EncReg(nn.Module):
    """Hits in, parameters of each hit's track out.

    Args:
        config: sizes, input and output constants.
    """

    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, config: EncRegConfig) -> None:
        super().__init__()
        self.embedding = HitEmbedding(config)
        self.blocks = nn.ModuleList([EncoderBlock(config) for _ in range(config.n_layers)])
        self.final_norm = nn.LayerNorm(config.d_model) if config.norm_first else nn.Identity()
        self.head = nn.Linear(config.d_model, len(config.output_mean))
        self.register_buffer("output_mean", torch.tensor(config.output_mean))
        self.register_buffer("output_scale", torch.tensor(config.output_scale))

    @torch.jit.unused
    def start_as_kernel(self, sharpness: float, n_blocks: int = 3) -> None:
        """Set initial weights so that the first blocks attend to the hits nearest in phi and eta.

        Dot products of Fourier features are sums of cosines of the differences, so queries and keys that pick these
        features make attention a kernel around each hit: one step of mean shift. Heads get sharpness times 1/2, 1,
        3/2, ... Without it a network must find the kernel from attention that averages over all tracks, which gives
        hardly a gradient.

        Args:
            sharpness: logit per unit of the summed cosines, before the heads' factors.
            n_blocks: blocks that start this way.
        """
        n_phi, n_eta = 2 * len(self.embedding.phi_frequencies), 2 * len(self.embedding.eta_frequencies)
        d = self.head.in_features
        if not self.embedding.expanded or n_phi + n_eta > d:
            raise NetworkSettingsError(
                "the kernel start needs expanded inputs and d_model of at least the Fourier features"
            )
        first = 7
        with torch.no_grad():
            linear = self.embedding.linear
            linear.weight[: n_phi + n_eta] = 0.0
            linear.bias[: n_phi + n_eta] = 0.0
            for row in range(n_phi + n_eta):
                linear.weight[row, first + row] = 1.0
            for block in self.blocks[:n_blocks]:
                assert isinstance(block, EncoderBlock)
                width = d // block.n_heads
                # The highest frequencies of each, as many as a head can hold.
                phi = list(range(n_phi))[-(width // 2) :]
                eta = list(range(n_phi, n_phi + n_eta))[-(width // 2) :]
                for head in range(block.n_heads):
                    scale = math.sqrt(0.5 * (head + 1) * sharpness * math.sqrt(width))
                    for part in (0, d):
                        rows = slice(part + head * width, part + (head + 1) * width)
                        block.qkv.weight[rows] = 0.0
                        block.qkv.bias[rows] = 0.0
                        for i, column in enumerate(phi + eta):
                            block.qkv.weight[part + head * width + i, column] = scale

    def key_bias(self, mask: Tensor, dtype: torch.dtype) -> Tensor | None:
        """(B, N) mask (True = hit) to the bias of the attention, None if it needs none."""
        # A whole event without padding needs no mask: attention is then faster. torch.export and ONNX cannot
        # look at values, so there the mask is always applied.
        masked = False
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            masked = torch.compiler.is_compiling()
        bias: Tensor | None = None
        if masked or not bool(mask.all()):
            bias = key_bias(mask, dtype)
            if masked:
                # ONNX Runtime's attention does not broadcast the mask over the queries.
                bias = bias.expand(-1, -1, mask.shape[1], -1)
        return bias

    def normalised(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, F) features and (B, N) mask (True = hit) to (B, N, K) outputs of zero mean and unit variance."""
        x = self.embedding(features)
        bias = self.key_bias(mask, x.dtype)
        for block in self.blocks:
            x = block(x, bias)
        return self.head(self.final_norm(x))  # type: ignore[no-any-return]

    @torch.jit.unused
    def normalised_packed(self, features: Tensor, packing: Packing) -> Tensor:
        """(M, F) features of packed events to (M, K) outputs of zero mean and unit variance."""
        x = self.embedding(features)
        for block in self.blocks:
            x = block.packed(x, packing)  # type: ignore[operator]
        return self.head(self.final_norm(x))  # type: ignore[no-any-return]

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, F) raw coordinates and (B, N) mask to (B, N, K) track parameters in physical units."""
        return self.normalised(features, mask) * self.output_scale + self.output_mean
