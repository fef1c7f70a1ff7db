"""HitPredictor: a recurrent network that predicts where a track's next hit lies.

Farrell et al. (HEP.TrkX), "Novel deep learning methods for track reconstruction": ``LSTM(3, 32)`` runs along the hits
of a track, ``Linear(32, 2)`` gives (phi, z) of the hit on the next barrel layer; 4802 parameters.

The coordinates are fed as deviations from the straight line in (r, phi) and (r, z) through the last two hits, and
what is predicted is the deviation from this line on the next layer: both in units of their spread on training tracks.
A track of 1 GeV in 2 T deviates by millimetres from the line and by a quarter of a metre from its first azimuth, so
the 32 hidden units need not carry four digits. This holds constants, no parameters.

Shapes: B tracks, T hits of each on the layers 0 ... T - 1, L layers of the detector.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import itertools
import math

import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.settings import Config

#: Smallest difference of the radii that a line is drawn through, mm; layers are centimetres apart.
MIN_RADIUS_STEP = 1.0
#: Radii of the barrel layers of the GenericDetector, mm.
GENERIC_RADII = (32.0, 72.0, 116.0, 172.0, 260.0, 360.0, 500.0, 660.0, 820.0, 1020.0)


class HitPredictorConfig(Config):
    """Sizes and constants of a :class:`HitPredictor`."""

    hidden: int = Field(32, ge=1)
    """Width of the LSTM's state."""
    radii: tuple[float, ...] = GENERIC_RADII
    """Radius that stands for each barrel layer, mm, from the inside out."""
    input_scale: tuple[tuple[float, float, float], ...] = ((1.0, 1.0, 1.0),) * (len(GENERIC_RADII) - 1)
    """Per layer but the last, the spread of (r, phi, z) deviations of its hits: mm, rad, mm."""
    output_scale: tuple[tuple[float, float], ...] = ((1.0, 1.0),) * (len(GENERIC_RADII) - 1)
    """Per layer but the first, the spread of (phi, z) deviations of its hits: rad, mm."""


def wrap(angle: Tensor) -> Tensor:
    """Angles in [-pi, pi)."""
    return torch.remainder(angle + math.pi, 2.0 * math.pi) - math.pi


class StraightLine(nn.Module):
    """Deviations of hits from the straight line through the two hits before them; no parameters.

    Before the first hit lies the origin in (r, z); in (r, phi) the first hit is taken as it is.

    Raises:
        ValueError: if the radii do not rise or a table of scales has another length.
    """

    radii: Tensor
    input_scale: Tensor
    output_scale: Tensor

    def __init__(self, config: HitPredictorConfig) -> None:
        super().__init__()
        radii = config.radii
        if len(radii) < 2 or any(b - a < MIN_RADIUS_STEP for a, b in itertools.pairwise(radii)):
            raise ValueError(f"radii must be two or more rising numbers (mm), got {radii}")
        for name in ("input_scale", "output_scale"):
            if len(getattr(config, name)) != len(radii) - 1:
                raise ValueError(f"{name} needs {len(radii) - 1} rows for {len(radii)} radii")
        self.min_step = MIN_RADIUS_STEP
        self.register_buffer("radii", torch.tensor(radii))
        self.register_buffer("input_scale", torch.tensor(config.input_scale))
        self.register_buffer("output_scale", torch.tensor(config.output_scale))

    def forward(self, hits: Tensor) -> tuple[Tensor, Tensor]:
        """Deviations and continued lines.

        Args:
            hits: (B, T, 3): r [mm], phi [rad], z [mm], T at most L - 1.

        Returns:
            (B, T, 3) deviations of each hit from the line before it, at its own radius (r: from the layer's), in
            units of ``input_scale``; (B, T, 2) phi and z of the line through it, on the next layer.
        """
        r, phi, z = hits.unbind(2)
        steps = r.shape[1]
        zero = torch.zeros_like(r[:, :1])
        step = (r - torch.cat([zero, r[:, :-1]], 1)).clamp(min=self.min_step)
        turn = torch.cat([zero, wrap(phi[:, 1:] - phi[:, :-1])], 1)
        rise = z - torch.cat([zero, z[:, :-1]], 1)
        slope_phi, slope_z = turn / step, rise / step
        # Deviation from the line through the two hits before: what this step adds to the last step's slope.
        bend = torch.cat([zero, turn[:, 1:] - slope_phi[:, :-1] * step[:, 1:]], 1)
        kink = torch.cat([z[:, :1], rise[:, 1:] - slope_z[:, :-1] * step[:, 1:]], 1)
        deviations = torch.stack([r - self.radii[:steps], bend, kink], 2) / self.input_scale[:steps]
        ahead = self.radii[1 : steps + 1] - r
        return deviations, torch.stack([phi + slope_phi * ahead, z + slope_z * ahead], 2)


class HitPredictor(nn.Module):
    """Hits of a track in, after each of them (phi, z) on the next layer out.

    Args:
        config: sizes and constants.
    """

    def __init__(self, config: HitPredictorConfig) -> None:
        super().__init__()
        self.line = StraightLine(config)
        self.lstm = nn.LSTM(3, config.hidden, batch_first=True)
        self.fc = nn.Linear(config.hidden, 2)

    @torch.jit.unused
    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Hits (4, L - 1, 3) of four tracks that are nearly straight lines."""
        return (example_tracks(self.line.radii, seed),)

    def normalised(self, hits: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, 3) hits to (B, T, 2) deviations in units of ``output_scale``, and the line (B, T, 2)."""
        deviations, line = self.line(hits)
        return self.fc(self.lstm(deviations)[0]), line

    def forward(self, hits: Tensor) -> Tensor:
        """(B, T, 3) hits (r [mm], phi [rad], z [mm]) to (B, T, 2): phi [rad], z [mm] on the next layer."""
        deviation, line = self.normalised(hits)
        predicted = line + deviation * self.line.output_scale[: hits.shape[1]]
        return torch.stack([wrap(predicted[..., 0]), predicted[..., 1]], 2)


def example_tracks(radii: Tensor, seed: int) -> Tensor:
    """Hits (4, L - 1, 3) on the layers but the last: random directions, a little scattered."""
    generator = torch.Generator().manual_seed(seed)
    r = radii[:-1].expand(4, -1) + torch.rand(4, len(radii) - 1, generator=generator)
    phi0 = (2.0 * torch.rand(4, 1, generator=generator) - 1.0) * math.pi
    slopes = torch.randn(4, 2, generator=generator)
    scatter = torch.randn(4, len(radii) - 1, generator=generator)
    return torch.stack([r, wrap(phi0 + 3e-4 * slopes[:, :1] * r), slopes[:, 1:] * r + scatter], 2)
