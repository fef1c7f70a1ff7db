"""A model without training that reconstructs straight tracks from the origin: jobs in tests find real tracks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mltrack_plugin.archives.archive import save_torchscript
from mltrack_plugin.archives.card import ModelCard


class Direction(nn.Module):
    """The direction of each hit from the origin, which straight tracks from there share."""

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, 3) x, y, z to (B, N, 3) theta, sin phi, cos phi."""
        x, y, z = features[..., 0], features[..., 1], features[..., 2]
        r = torch.sqrt(x * x + y * y + 1e-12)
        return torch.stack([torch.atan2(r, z), y / r, x / r], dim=-1)


def save_direction_model(path: Path, **changes: Any) -> Path:
    """Write the archive; ``changes`` are fields of its card, which are not validated."""
    card = ModelCard(
        name="direction",
        architecture="direction",
        features=("x", "y", "z"),
        units={**dict.fromkeys("xyz", "redvid"), "theta": "rad", "sin_phi": "1", "cos_phi": "1"},
        coordinate_system="cartesian",
        detectors=("redvid",),
        outputs=("theta", "sin_phi", "cos_phi"),
        output_scales=(0.01, 0.01, 0.01),
    )
    return save_torchscript(Direction(), card.model_copy(update=changes), path)
