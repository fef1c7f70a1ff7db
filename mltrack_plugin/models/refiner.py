"""Refiner: which hits near a cluster are its track's, and what the track's parameters are.

The second stage that Caron et al., "Efficient ML-Assisted Particle Track Reconstruction Designs", propose: a network
that regresses track parameters per cluster and finds falsely associated hits. Here it sees, for every cluster of an
event, a set of hits: the cluster's and the nearest others. For each of some track hypotheses it takes the cluster's
weighted centre in the plane of the hypothesis (hits are weighted by a learned precision and by their membership) and
the pull of each hit from the centre of the others. A small Transformer over the set, which also sees how much other
clusters claim each hit, gives every hit's membership, and from it the track's parameters. The memberships go round
several times through the same weights.

Shapes: C clusters of all events, S slots of a cluster (hits, some empty), P hypotheses, d = ``d_model``, T parameters.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math

import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.detectors.surfaces import SurfacesConfig
from mltrack_plugin.errors import NetworkSettingsError
from mltrack_plugin.models.encemb import LocalBlock
from mltrack_plugin.models.hypotheses import Hypothesis, plane_coordinates
from mltrack_plugin.models.surfaces import Surfaces
from mltrack_plugin.settings import Config

#: Limits of the logarithm of a parameter's standard deviation, in units of its spread.
LOG_SIGMA = (-6.0, 2.0)
#: Precision of what is known about a cluster's centre without any hits; it keeps pulls finite.
PRIOR_PRECISION = 1e-2


class RefinerConfig(Config):
    """Sizes and constants of a :class:`Refiner`."""

    hypotheses: tuple[Hypothesis, ...] = Field(min_length=1)
    """Track hypotheses, in whose planes hits are compared with their cluster."""
    slots: int = Field(24, ge=2)
    """Hits of a cluster's set: its own and the nearest others."""
    d_model: int = Field(48, ge=1)
    """Width of the residual stream."""
    n_heads: int = Field(4, ge=1)
    """Attention heads."""
    d_ff: int = Field(96, ge=1)
    """Hidden width of the feed-forward layers."""
    n_layers: int = Field(2, ge=1)
    """Blocks of self-attention over the set."""
    passes: int = Field(3, ge=1)
    """Times that memberships go through the network."""
    length_scale: float = Field(1000.0, gt=0)
    """Size of the detector, in the unit of the coordinates."""
    surfaces: SurfacesConfig = SurfacesConfig()
    """Surfaces onto which hits are put; none = hits stay where they are."""
    frequencies: tuple[float, ...] = (2.0, 4.0, 8.0, 16.0, 32.0)
    """Frequencies of the Fourier features of r and z, per ``length_scale``: they tell layers apart."""
    output_mean: tuple[float, ...] = (0.0,)
    """Added to the scaled network outputs, in the units of the physical parameters."""
    output_scale: tuple[float, ...] = (1.0,)
    """The network outputs are multiplied by this, in the units of the physical parameters."""


class Planes(nn.Module):
    """Coordinates of hits under all hypotheses."""

    wraps: Tensor

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        scale = config.length_scale
        self.hypotheses = [
            (h.bending / scale, h.origin * scale, float(h.turning), h.pitch * scale)
            for h in config.hypotheses
        ]
        #: (2P,) bool: which coordinates are angles.
        self.register_buffer(
            "wraps", torch.tensor([flag for h in config.hypotheses for flag in (False, h.turning == 0)])
        )

    def forward(self, positions: Tensor) -> Tensor:
        """(..., 3) Cartesian -> (..., 2P)."""
        columns: list[Tensor] = []
        for bending, origin, turning, pitch in self.hypotheses:
            first, second = plane_coordinates(positions, bending, origin, turning, pitch)
            columns += [first, second]
        return torch.stack(columns, dim=-1)

    def wrapped(self, difference: Tensor) -> Tensor:
        """Differences (..., 2P) of coordinates, angles in [-pi, pi)."""
        turned = torch.remainder(difference + math.pi, 2.0 * math.pi) - math.pi
        return torch.where(self.wraps, turned, difference)


class Refiner(nn.Module):
    """Clusters with their surroundings in; memberships, track probability and track parameters out.

    Args:
        config: sizes and constants.

    Raises:
        NetworkSettingsError: if the heads do not divide the width.
    """

    frequencies: Tensor
    output_mean: Tensor
    output_scale: Tensor

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        d = config.d_model
        if d % config.n_heads:
            raise NetworkSettingsError(f"d_model {d} is not a multiple of n_heads {config.n_heads}")
        self.length_scale = config.length_scale
        self.passes = config.passes
        self.prior = PRIOR_PRECISION
        self.lowest, self.highest = LOG_SIGMA
        self.surfaces = Surfaces(config.surfaces)
        self.planes = Planes(config)
        n = 2 * len(config.hypotheses)
        n_hit = 5 + 4 * len(config.frequencies)
        #: Logarithm of a hit's precision in each coordinate.
        self.precision = nn.Sequential(nn.Linear(n_hit, 32), nn.ReLU(), nn.Linear(32, n))
        # Per slot: the hit, two views of each pull, membership, claims of others; the cluster's chi2, centre and size.
        self.input = nn.Linear(n_hit + 2 * n + 2 + 2 * n + 1, d)
        self.layers = nn.ModuleList(
            [LocalBlock(d, config.n_heads, config.d_ff) for _ in range(config.n_layers)]
        )
        self.norm = nn.LayerNorm(d)
        self.membership = nn.Linear(d, 1)
        n_parameters = len(config.output_mean)
        self.track = nn.Sequential(nn.Linear(d + 2 * n + 1, d), nn.ReLU(), nn.Linear(d, 1 + 2 * n_parameters))
        self.register_buffer("frequencies", torch.tensor(config.frequencies))
        self.register_buffer("output_mean", torch.tensor(config.output_mean))
        self.register_buffer("output_scale", torch.tensor(config.output_scale))
        with torch.no_grad():
            # Hits of a track agree within some 0.05 in their coordinates.
            last = self.precision[2]
            assert isinstance(last, nn.Linear)
            last.bias.fill_(6.0)
            last.weight.mul_(0.1)

    @torch.jit.unused
    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Inputs of :meth:`forward` for three clusters of one event with four slots each."""
        generator = torch.Generator().manual_seed(seed)
        event = self.length_scale * (torch.rand(8, 3, generator=generator) - 0.5)
        hit = torch.stack([torch.randperm(8, generator=generator)[:4] for _ in range(3)])
        mask = torch.arange(4) < torch.tensor([[4], [3], [4]])
        weight = (torch.arange(4) < 3).float().expand(3, 4) * mask
        return event[hit], hit, weight, mask

    def hit_features(self, positions: Tensor) -> Tensor:
        """(C, S, 3) -> (C, S, n)."""
        x, y, z = positions[..., 0:1], positions[..., 1:2], positions[..., 2:3]
        r = torch.sqrt(x * x + y * y).clamp(min=1e-6)
        rz = torch.cat([r, z], dim=-1) / self.length_scale
        length = torch.sqrt(r * r + z * z) / self.length_scale
        waves = (rz[..., None] * self.frequencies).flatten(-2)
        return torch.cat([rz, length, x / r, y / r, torch.sin(waves), torch.cos(waves)], dim=-1)

    def comparison(
        self, coordinates: Tensor, log_precision: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """How each hit compares with the centre of its cluster's other hits.

        Args:
            coordinates: (C, S, 2P).
            log_precision: (C, S, 2P).
            weight: (C, S) memberships, 0 in empty slots.

        Returns:
            pulls (C, S, 2P), logarithm of the mean squared pull of the members (C, 2P), and centre (C, 2P).
        """
        w = weight[..., None]
        # Angles are averaged around their mean direction.
        direction = torch.atan2(
            (w * torch.sin(coordinates)).sum(dim=1), (w * torch.cos(coordinates)).sum(dim=1)
        )
        mean = (w * coordinates).sum(dim=1) / w.sum(dim=1).clamp(min=1e-3)
        about = torch.where(self.planes.wraps, direction, mean)[:, None]
        offset = self.planes.wrapped(coordinates - about)
        precision = log_precision.exp()
        moment, total = w * precision * offset, w * precision
        all_moment, all_total = moment.sum(dim=1, keepdim=True), total.sum(dim=1, keepdim=True)
        others = (all_total - total).clamp(min=0.0) + self.prior
        residual = offset - (all_moment - moment) / others
        pulls = residual / torch.sqrt(1.0 / precision + 1.0 / others)
        chi2 = (w * pulls.square().clamp(max=1e4)).sum(dim=1) / w.sum(dim=1).clamp(min=1e-3)
        return pulls, torch.log1p(chi2), (about + all_moment / (all_total + self.prior))[:, 0]

    def step(
        self,
        features: Tensor,
        coordinates: Tensor,
        log_precision: Tensor,
        hit: Tensor,
        weight: Tensor,
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """One pass: logits of the memberships (C, S), and track outputs (C, 1 + 2T), normalised."""
        c, s = hit.shape
        pulls, chi2, centre = self.comparison(coordinates, log_precision, weight)
        # What other clusters claim of each hit.
        claims = torch.zeros(int(hit.max()) + 1 if c > 0 else 1, dtype=weight.dtype, device=weight.device)
        claims = claims.scatter_add(0, hit.flatten(), weight.flatten())
        rival = claims[hit] - weight
        size = weight.sum(dim=1, keepdim=True) / 10.0
        cluster = torch.cat([chi2, centre, size], dim=1)
        columns = [features, torch.asinh(pulls), pulls.square().clamp(max=25.0) / 5.0]
        columns += [weight[..., None], rival[..., None], cluster[:, None].expand(-1, s, -1)]
        x = self.input(torch.cat(columns, dim=2))
        bias = torch.zeros(c, 1, 1, s, dtype=x.dtype, device=x.device).masked_fill(~mask[:, None, None], -1e4)
        for layer in self.layers:
            x = layer(x, bias)
        x = self.norm(x)
        logits = self.membership(x)[..., 0].masked_fill(~mask, -20.0)
        share = torch.sigmoid(logits)[..., None]
        pooled = (share * x).sum(dim=1) / (share.sum(dim=1) + 1e-3)
        return logits, self.track(torch.cat([pooled, cluster[:, : chi2.shape[1] * 2], size], dim=1))

    def all_passes(
        self, positions: Tensor, hit: Tensor, weight: Tensor, mask: Tensor
    ) -> list[tuple[Tensor, Tensor]]:
        """Outputs of :meth:`step` in each pass."""
        positions = self.surfaces(positions)
        features = self.hit_features(positions)
        coordinates = self.planes(positions)
        log_precision = self.precision(features).clamp(-2.0, 16.0)
        found: list[tuple[Tensor, Tensor]] = []
        for _ in range(self.passes):
            logits, track = self.step(features, coordinates, log_precision, hit, weight, mask)
            found.append((logits, track))
            weight = torch.sigmoid(logits).detach() * mask
        return found

    def forward(self, positions: Tensor, hit: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
        """Refine the clusters of one or more events.

        Args:
            positions: (C, S, 3) hits in the slots.
            hit: (C, S) int64 row of the hit in each slot, from 0 on, different for different hits of all events.
            weight: (C, S) membership of each hit in the cluster at present, 0 to 1; 0 for the nearest others.
            mask: (C, S) bool, True = there is a hit.

        Returns:
            (C, S + 1 + 2T): probability of each slot's hit to be the cluster's, 0 in empty slots; probability that the
            cluster is a track; the T parameters in physical units and the T standard deviations.
        """
        logits, track = self.all_passes(positions, hit, weight * mask, mask)[-1]
        n = self.output_mean.shape[0]
        mean = track[:, 1 : 1 + n] * self.output_scale + self.output_mean
        sigma = track[:, 1 + n :].clamp(self.lowest, self.highest).exp() * self.output_scale
        return torch.cat([torch.sigmoid(logits) * mask, torch.sigmoid(track[:, :1]), mean, sigma], dim=1)
