"""Hits on detector surfaces, inside a network; see :mod:`mltrack_plugin.detectors.surfaces`."""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import torch
from torch import Tensor, nn

from mltrack_plugin.detectors.surfaces import SurfacesConfig


class Surfaces(nn.Module):
    """Moves hits onto their surfaces; without any surfaces hits stay where they are.

    Args:
        config: the surfaces.
    """

    discs: Tensor
    barrels: Tensor

    def __init__(self, config: SurfacesConfig) -> None:
        super().__init__()
        self.register_buffer("discs", torch.tensor(config.discs, dtype=torch.float32), persistent=False)
        self.register_buffer("barrels", torch.tensor(config.barrels, dtype=torch.float32), persistent=False)
        self.barrel_z = config.barrel_z
        self.barrel_distance = config.barrel_distance
        self.disc_distance = config.disc_distance

    def forward(self, hits: Tensor) -> Tensor:
        """(..., 3) Cartesian -> (..., 3)."""
        x, y, z = hits[..., 0], hits[..., 1], hits[..., 2]
        on_barrel = torch.zeros_like(z, dtype=torch.bool)
        if self.barrels.shape[0] > 0:
            r = torch.sqrt(x * x + y * y).clamp(min=1e-6)
            distance, nearest = (r[..., None] - self.barrels).abs().min(dim=-1)
            on_barrel = (distance <= self.barrel_distance) & (z.abs() <= self.barrel_z)
            scale = torch.where(on_barrel, self.barrels[nearest] / r, torch.ones_like(r))
            x, y = x * scale, y * scale
        if self.discs.shape[0] > 0:
            distance, nearest = (z[..., None] - self.discs).abs().min(dim=-1)
            on_disc = ~on_barrel & (distance <= self.disc_distance)
            z = torch.where(on_disc, self.discs[nearest], z)
        return torch.stack([x, y, z], dim=-1)
