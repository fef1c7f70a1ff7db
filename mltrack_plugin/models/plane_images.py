"""What the networks on images of detector planes share: the convolutional encoder and the lines it ends in.

Shapes: B events, P planes, W pixels. Images hold 1 where there is a hit and 0 elsewhere.

Lines are regressed as the places where a track enters the first plane and leaves the last one, in units of half the
width around the centre: two quantities of the same size and hardly correlated. In physical units a line is
y = intercept + slope x.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import itertools

import torch
from torch import Tensor, nn

#: Columns of a line in physical units: mm, dimensionless, and their covariance as uncertainties and correlation.
LINE_OUTPUTS = ("intercept", "slope", "sigma_intercept", "sigma_slope", "correlation")
LINE_UNITS = {
    "intercept": "mm",
    "slope": "1",
    "sigma_intercept": "mm",
    "sigma_slope": "1",
    "correlation": "1",
}


class ImageEncoder(nn.Module):
    """Convolutions with downsampling, then one dense layer: (B, P, W) -> (B, features).

    Each entry of ``channels`` is a 3x3 convolution with ReLU followed by max pooling over 2x2, the first one 5x5 with
    stride 2. The dense layer sees the flattened last map, so that positions survive.
    """

    def __init__(self, planes: int, pixels: int, channels: tuple[int, ...], features: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(1, channels[0], 5, stride=2, padding=2), nn.ReLU()]
        height, width = (planes + 1) // 2, (pixels + 1) // 2
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
            height, width = (height + 1) // 2, (width + 1) // 2
        self.convolutions = nn.Sequential(*layers)
        self.dense = nn.Linear(channels[-1] * height * width, features)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.convolutions(image.unsqueeze(1))
        return torch.relu(self.dense(maps.flatten(1)))


def check_image(image: Tensor, planes: int, pixels: int) -> Tensor:
    """The image, if it has the network's size (a size is baked into the dense layers)."""
    if image.dim() != 3 or image.size(1) != planes or image.size(2) != pixels:
        raise RuntimeError(f"images must have shape (B, {planes}, {pixels}), got {list(image.shape)}")
    return image


def log_sigma(raw: Tensor) -> Tensor:
    """Logarithm of a standard deviation in units of half the width, kept in a range that has a meaning."""
    return raw.clamp(-7.0, 2.0)


def correlation_of(raw: Tensor) -> Tensor:
    """Correlation from any number; never quite 1, so that covariances can be inverted."""
    return 0.99 * torch.tanh(raw)


def gaussian_nll(raw: Tensor, target: Tensor) -> Tensor:
    """Negative logarithm of the two-dimensional Gaussian likelihood, without its constant.

    Args:
        raw: (..., 5) as for :func:`line_parameters`.
        target: (..., 2) true entry and exit in units of half the width.

    Returns:
        (...).
    """
    log_entry, log_leave = log_sigma(raw[..., 2]), log_sigma(raw[..., 3])
    rho = correlation_of(raw[..., 4])
    entry = (target[..., 0] - raw[..., 0]) * torch.exp(-log_entry)
    leave = (target[..., 1] - raw[..., 1]) * torch.exp(-log_leave)
    rest = 1.0 - rho**2
    distance = (entry**2 - 2.0 * rho * entry * leave + leave**2) / rest
    return 0.5 * distance + log_entry + log_leave + 0.5 * torch.log(rest)


def line_parameters(raw: Tensor, planes: int, pixels: int, pitch: float, spacing: float) -> Tensor:
    """Lines in physical units.

    Args:
        raw: (..., 2) entry and exit; or (..., 5) with log standard deviations and the inverse hyperbolic tangent of
            the correlation.

    Returns:
        (..., 2) or (..., 5) in the order of LINE_OUTPUTS.
    """
    half = 0.5 * pixels * pitch
    length = planes * spacing
    entry = (raw[..., 0] + 1.0) * half
    leave = (raw[..., 1] + 1.0) * half
    slope = (leave - entry) / length
    if raw.size(-1) == 2:
        return torch.stack([entry, slope], dim=-1)
    sigma_entry = torch.exp(log_sigma(raw[..., 2])) * half
    sigma_leave = torch.exp(log_sigma(raw[..., 3])) * half
    rho = correlation_of(raw[..., 4])
    shared = rho * sigma_entry * sigma_leave
    sigma_slope = torch.sqrt(sigma_entry**2 + sigma_leave**2 - 2.0 * shared) / length
    correlation = (shared - sigma_entry**2) / (length * sigma_entry * sigma_slope)
    return torch.stack([entry, slope, sigma_entry, sigma_slope, correlation], dim=-1)
