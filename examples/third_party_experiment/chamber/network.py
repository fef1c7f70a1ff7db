"""direction-mlp: the direction of the straight track through each hit."""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin import Config


class DirectionConfig(Config):
    """Sizes of a :class:`DirectionNetwork`."""

    width: int = Field(default=64, ge=1)
    """Neurons of each of the two hidden layers."""
    length_scale: float = Field(default=200.0, gt=0)
    """Coordinates are divided by this, mm."""


class DirectionNetwork(nn.Module):
    """Three layers, for each hit alone: its direction as seen from where the track began.

    Args:
        config: its sizes.
    """

    def __init__(self, config: DirectionConfig) -> None:
        super().__init__()
        self.length_scale = config.length_scale
        self.layers = nn.Sequential(
            nn.Linear(3, config.width),
            nn.SiLU(),
            nn.Linear(config.width, config.width),
            nn.SiLU(),
            nn.Linear(config.width, 3),
        )

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, 3) x, y, z in mm and (B, N) bool, True for hits, to (B, N, 3): a vector of length 1, nearly."""
        directions: Tensor = self.layers(features / self.length_scale)
        return directions * mask.unsqueeze(-1)
