"""Track hypotheses: planes of two coordinates in which all hits of some tracks are one point."""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mltrack_plugin.settings import Config


class Hypothesis(Config):
    """A family of tracks: helices of one curvature from one point on the beam axis, or REDVID's expanding helices."""

    bending: float = 0.0
    """Azimuth that is undone per length, rad per unit of the network's ``length_scale``; 0.3 B / (2 pT) for B in T and
    pT in GeV.
    """
    origin: float = 0.0
    """Point on the beam axis from which pseudorapidity is taken, in units of ``length_scale``."""
    turning: Literal[-1, 0, 1] = 0
    """Helices that leave the origin at azimuth 0 and turn in proportion to their length (REDVID's): the direction of
    turning, 1 or -1. The second coordinate is then the logarithm of the length per turning angle. 0 = none.
    """
    pitch: float = Field(0.26, gt=0)
    """The largest distance in z per turning angle that such helices have, in units of ``length_scale`` per rad: a hit
    has turned by at least so much that this holds, and by less than 2 pi more.
    """


def plane_coordinates(
    hits: Tensor, bending: float, origin: float, turning: float, pitch: float, smallest_turn: float = 0.4
) -> tuple[Tensor, Tensor]:
    """Pseudorapidity and azimuth of positions under a hypothesis; see :class:`Hypothesis`.

    Args:
        hits: (..., 3) Cartesian.
        bending: azimuth that is undone per length, rad per unit of the positions.
        origin: point on the beam axis, in the unit of the positions.
        turning: with 1 or -1 the logarithm of the length per turning angle stands for the azimuth.
        pitch: largest distance in z per turning angle, in the unit of the positions per rad.
        smallest_turn: hits have turned by more than this, rad.

    Returns:
        (...) pseudorapidity within +-6, and azimuth (any multiple of 2 pi may be in it) or logarithm.
    """
    x, y, z = hits[..., 0], hits[..., 1], hits[..., 2]
    r = torch.sqrt(x * x + y * y).clamp(min=1e-6)
    eta = torch.asinh((z - origin) / r).clamp(-6.0, 6.0)
    phi = torch.atan2(y, x)
    if turning != 0.0:
        least = (z.abs() / pitch).clamp(min=smallest_turn)
        angle = torch.remainder(turning * phi - least, 2.0 * math.pi) + least
        return eta, torch.log(torch.sqrt(r * r + z * z) / angle)
    return eta, phi + bending * r
