"""CNN + LSTM: parameters and uncertainties of a variable number of tracks, one after the other.

Farrell et al. (HEP.TrkX), "Extending to variable number of tracks": a CNN describes the detector image, an LSTM emits
one track per step, ordered by where the tracks enter, and a stop criterion ends the sequence. Here every step also
gives the probability that it is a track at all; the sequence ends before the first step that is none more likely
than not.

Shapes: B images, P planes, W pixels, S = ``slots``.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.models.plane_images import ImageEncoder, check_image, line_parameters
from mltrack_plugin.models.plane_raster import PlaneRaster


class TrackSequenceCNNConfig(PlaneRaster):
    """Sizes of a :class:`TrackSequenceCNN`."""

    channels: tuple[int, ...] = Field((16, 32, 32), min_length=1)
    """Maps of the convolutions; after each the image has half the size."""
    features: int = Field(128, ge=1)
    """Width of the dense layer between CNN and LSTM."""
    hidden: int = Field(128, ge=1)
    """Width of the LSTM's state."""
    slots: int = Field(6, ge=1)
    """Largest number of tracks."""


class TrackSequenceCNN(nn.Module):
    """(B, P, W) -> (B, S, 6): lines in the order of LINE_OUTPUTS, and the probability that there is a track."""

    def __init__(self, config: TrackSequenceCNNConfig) -> None:
        super().__init__()
        self.planes, self.pixels = config.planes, config.pixels
        self.pitch, self.spacing = config.pitch, config.spacing
        self.slots = config.slots
        self.encoder = ImageEncoder(config.planes, config.pixels, config.channels, config.features)
        self.lstm = nn.LSTM(config.features, config.hidden, batch_first=True)
        self.head = nn.Linear(config.hidden, 6)

    def raw(self, image: Tensor) -> Tensor:
        """(B, P, W) -> (B, S, 6): the raw line and the logit of its existence."""
        features = self.encoder(check_image(image, self.planes, self.pixels))
        # The description of the image is the input of every step; the state knows which tracks are done.
        steps = features.unsqueeze(1).expand(-1, self.slots, -1)
        state, _ = self.lstm(steps)
        result: Tensor = self.head(state)
        return result

    def forward(self, image: Tensor) -> Tensor:
        """Lines in physical units, with their probabilities."""
        raw = self.raw(image)
        lines = line_parameters(raw[..., :5], self.planes, self.pixels, self.pitch, self.spacing)
        return torch.cat([lines, torch.sigmoid(raw[..., 5:])], dim=-1)

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """A batch of random images."""
        generator = torch.Generator().manual_seed(seed)
        return ((torch.rand((3, self.planes, self.pixels), generator=generator) < 0.2).float(),)
