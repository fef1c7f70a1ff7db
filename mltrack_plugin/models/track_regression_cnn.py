"""A CNN that estimates the parameters of one straight track in a noisy detector image.

Farrell et al. (HEP.TrkX), "Track parameter estimation": convolutions with downsampling and a regression head; the
variant with uncertainties has the two-dimensional Gaussian covariance as further outputs and maximises the Gaussian
likelihood. The published figure shows straight lines found in heavy noise.

Shapes: B images, P planes, W pixels.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.models.plane_images import ImageEncoder, check_image, line_parameters
from mltrack_plugin.models.plane_raster import PlaneRaster


class TrackRegressionCNNConfig(PlaneRaster):
    """Sizes of a :class:`TrackRegressionCNN`."""

    channels: tuple[int, ...] = Field((16, 32, 32), min_length=1)
    """Maps of the convolutions; after each the image has half the size."""
    features: int = Field(128, ge=1)
    """Width of the dense layer."""
    uncertainties: bool = True
    """Also estimate the covariance of the parameters."""


class TrackRegressionCNN(nn.Module):
    """(B, P, W) -> (B, 1, 2) or, with uncertainties, (B, 1, 5): the line in the order of LINE_OUTPUTS."""

    def __init__(self, config: TrackRegressionCNNConfig) -> None:
        super().__init__()
        self.planes, self.pixels = config.planes, config.pixels
        self.pitch, self.spacing = config.pitch, config.spacing
        self.encoder = ImageEncoder(config.planes, config.pixels, config.channels, config.features)
        self.head = nn.Linear(config.features, 5 if config.uncertainties else 2)

    def raw(self, image: Tensor) -> Tensor:
        """(B, P, W) -> (B, 1, 2 or 5), see :func:`~mltrack_plugin.models.plane_images.line_parameters`."""
        features = self.encoder(check_image(image, self.planes, self.pixels))
        result: Tensor = self.head(features).unsqueeze(1)
        return result

    def forward(self, image: Tensor) -> Tensor:
        """Lines in physical units."""
        return line_parameters(self.raw(image), self.planes, self.pixels, self.pitch, self.spacing)

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """A batch of random images."""
        generator = torch.Generator().manual_seed(seed)
        return ((torch.rand((3, self.planes, self.pixels), generator=generator) < 0.2).float(),)
