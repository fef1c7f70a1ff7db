"""GruAssignment: bi-directional recurrent layers that assign each hit of an event to a track slot.

HEP.TrkX (Zurawski and Kapoor, shown by Vlimant at CHEP 2018): all hits of an event, sorted by position, run through
three bi-directional GRU layers; a fully connected layer with softmax gives each hit's probabilities of the track
slots, which are ordered as the hits are. One more class holds hits on no track: noise, and tracks beyond the slots.

Shapes: B events, N hits (padded at the end), S slots.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mltrack_plugin.settings import Config

#: Largest |z / r| that the network sees.
MAX_SLOPE = 5.0


class GruAssignmentConfig(Config):
    """Sizes and constants of a :class:`GruAssignment`."""

    slots: int = Field(8, ge=1)
    """Track slots: the largest number of tracks that an event may have."""
    hidden: int = Field(48, ge=1)
    """Width of the state of each direction."""
    n_layers: int = Field(3, ge=1)
    """Bi-directional GRU layers."""
    length_scale: float = Field(1000.0, gt=0)
    """r and z are divided by this, mm."""


class GruAssignment(nn.Module):
    """Hits in the order of their azimuth in, probabilities of the track slots out.

    Args:
        config: sizes and constants.
    """

    def __init__(self, config: GruAssignmentConfig) -> None:
        super().__init__()
        self.slots = config.slots
        self.length_scale = config.length_scale
        self.max_slope = MAX_SLOPE
        self.gru = nn.GRU(4, config.hidden, config.n_layers, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * config.hidden, config.slots + 1)

    @torch.jit.unused
    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Hits (2, 12, 3) in order and their mask (2, 12); the second event has 9 hits."""
        generator = torch.Generator().manual_seed(seed)
        phi = 2.0 * math.pi * torch.rand(2, 12, generator=generator).sort(1).values
        r = 1000.0 * torch.rand(2, 12, generator=generator) + 30.0
        hits = torch.stack([r, phi, r * torch.randn(2, 12, generator=generator)], 2)
        mask = torch.arange(12) < torch.tensor([[12], [9]])
        return hits * mask[..., None], mask

    def logits(self, hits: Tensor, mask: Tensor) -> Tensor:
        """(B, N, 3) hits and (B, N) mask to (B, N, S + 1); class 0 is "on no track"."""
        r, phi, z = hits.unbind(2)
        slope = (z / r.clamp(min=1.0)).clamp(-self.max_slope, self.max_slope)
        scaled = torch.stack([r / self.length_scale, phi / math.pi - 1.0, z / self.length_scale, slope], 2)
        if bool(mask.all()):
            return self.fc(self.gru(scaled)[0])  # type: ignore[no-any-return]
        # Packed, so that the backward direction starts at an event's last hit; takes twice as long.
        packed = pack_padded_sequence(scaled, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        state, _ = pad_packed_sequence(self.gru(packed)[0], batch_first=True, total_length=hits.shape[1])
        return self.fc(state)  # type: ignore[no-any-return]

    def forward(self, hits: Tensor, mask: Tensor) -> Tensor:
        """Assignment probabilities.

        Args:
            hits: (B, N, 3): r [mm], azimuth from the seam [rad] in [0, 2 pi), rising; z [mm].
            mask: (B, N) bool, True = hit; the hits of an event come first, each event has at least one.

        Returns:
            (B, N, S + 1): probability of "on no track", then of each slot.
        """
        return torch.softmax(self.logits(hits, mask), dim=2)
