"""A CNN that finds vertices in the unrolled inner barrel layers.

Farrell et al. (HEP.TrkX), "Vertex finding with CNNs": three detector layers as a three-channel image in, binned
position along the interaction region out. The published network is not described further; this one has convolutions
along the beam whose kernels span the lever arm of a track, so that each of their filters collects the hits of
tracks of one inclination at the place where they leave the beam line. They start as just that (a Hough transform)
and are trained from there. Rows are so narrow that only stiff tracks stay within one; with ``coarsen`` the same
filters see wider rows, too, in which soft tracks stay as well, so that the network can tell many soft tracks from a
few stiff ones. Summed over azimuth, further convolutions along the beam turn all of them into two answers per bin:
where the primary vertex is (softmax) and whether there is a vertex at all (one sigmoid for each bin).

Shapes: B images, C layers, R rows in phi, W columns in z, N bins, F filters (twice as many sums with ``coarsen``).
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.settings import Config


class VertexCNNConfig(Config):
    """Sizes of a :class:`VertexCNN`."""

    layers: tuple[tuple[int, int], ...] = ((8, 2), (8, 4), (8, 6))
    """(volume, layer) of the layers, from inside out: the channels of the image."""
    radii: tuple[float, ...] = (32.3, 72.1, 116.1)
    """Their mean radii, mm: where the kernels start from."""
    n_phi: int = Field(32, ge=1)
    """Rows in phi."""
    coarsen: int = Field(1, ge=1)
    """Rows that are merged for a second, coarser look; 1 = none."""
    bins: int = Field(64, ge=4)
    """Bins along the beam, centred at the origin."""
    bin_width: float = Field(5.0, gt=0)
    """Width of a bin and of a column of the image, mm."""
    reach: int = Field(46, ge=1)
    """Columns by which the kernels (and the image beyond the bins) reach to either side."""
    filters: int = Field(48, ge=1)
    """Filters with long kernels: inclinations."""
    max_cot_theta: float = Field(2.5, gt=0)
    """Largest |cot theta| of the inclinations that the kernels start from."""
    channels: int = Field(32, ge=1)
    """Maps of the convolutions behind the sum over phi."""

    @property
    def columns(self) -> int:
        """Columns of the image in z."""
        return self.bins + 2 * self.reach

    @property
    def z_max(self) -> float:
        """Half length of the image, mm."""
        return 0.5 * self.columns * self.bin_width


class VertexCNN(nn.Module):
    """(B, C, R, W) -> (B, 2, N): probability that the primary vertex, and that any vertex, is in the bin."""

    def __init__(self, config: VertexCNNConfig) -> None:
        super().__init__()
        if len(config.radii) != len(config.layers):
            raise ValueError(f"{len(config.layers)} layers but {len(config.radii)} radii")
        if config.n_phi % config.coarsen:
            raise ValueError(f"{config.n_phi} rows cannot be merged by {config.coarsen}")
        self.shape = (len(config.layers), config.n_phi, config.columns)
        self.coarsen = config.coarsen
        self.inclinations = nn.Conv2d(len(config.layers), config.filters, (1, 2 * config.reach + 1))
        self._start_as_hough(config)
        self.head = nn.Sequential(
            nn.Conv1d(config.filters * (1 if config.coarsen == 1 else 2), config.channels, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(config.channels, config.channels, 9, padding=4),
            nn.ReLU(),
            nn.Conv1d(config.channels, 2, 5, padding=2),
        )

    def _start_as_hough(self, config: VertexCNNConfig) -> None:
        """A filter answers where all layers have a hit on a straight line of its inclination from the beam line."""
        offset = torch.arange(-config.reach, config.reach + 1, dtype=torch.float32)
        with torch.no_grad():
            weight = self.inclinations.weight.mul_(0.1)
            for row, cot_theta in enumerate(
                torch.linspace(-config.max_cot_theta, config.max_cot_theta, config.filters).tolist()
            ):
                for channel, radius in enumerate(config.radii):
                    distance = (offset - radius * cot_theta / config.bin_width).abs()
                    weight[row, channel, 0] += (1.0 - 0.5 * distance).clamp(min=0.0)
            # Two layers of three are not enough.
            self.inclinations.bias.fill_(1.0 - 0.75 * len(config.radii))  # type: ignore[union-attr]

    def scores(self, image: Tensor) -> Tensor:
        """(B, C, R, W) -> (B, 2, N): logits."""
        if image.dim() != 4 or [image.size(1), image.size(2), image.size(3)] != list(self.shape):
            raise RuntimeError(f"images must have shape (B, {self.shape}), got {list(image.shape)}")
        sums = torch.relu(self.inclinations(image)).sum(dim=2)  # (B, F, N)
        if self.coarsen > 1:
            merged = functional.max_pool2d(image, [self.coarsen, 1])
            sums = torch.cat([sums, torch.relu(self.inclinations(merged)).sum(dim=2)], dim=1)
        result: Tensor = self.head(sums * 0.1)
        return result

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, R, W) -> (B, 2, N) probabilities; those of the primary vertex sum up to 1 over the bins."""
        scores = self.scores(image)
        return torch.stack([torch.softmax(scores[:, 0], dim=1), torch.sigmoid(scores[:, 1])], dim=1)

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """A batch of random images."""
        generator = torch.Generator().manual_seed(seed)
        return ((torch.rand((2, *self.shape), generator=generator) < 0.05).float(),)
