"""GNN hit classifier of HEP.TrkX: which hits of a graph lie on the track of the seed.

Farrell et al., "Novel deep learning methods for track reconstruction" (arXiv:1810.06111): as the segment classifier,
with a fourth input that marks the hits of the seed, and a layer that scores hits at the end. With 4 inputs, 64 hidden
features and 7 iterations it has the published 26502 parameters.

Tracks in a solenoid look the same when azimuths or z change their sign (and charges theirs), but a trained network is
not quite as indifferent: with ``mirrors`` scores are averaged over the four mirror images, with the same weights.

Shapes: n hits, m segments, F inputs.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math

import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.models.gnn_layers import EdgeNetwork, NodeNetwork, incidence
from mltrack_plugin.settings import Config


class GnnHitConfig(Config):
    """Sizes of a :class:`GnnHitClassifier`; the defaults are those published."""

    hidden: int = Field(64, ge=1)
    """Hidden features of a hit."""
    iterations: int = Field(7, ge=1)
    """Iterations of edge and node network."""
    mirrors: bool = False
    """Average the scores over the four mirror images of a graph, in azimuth and in z; takes four times as long."""
    input_scale: tuple[float, ...] = (1000.0, math.pi, 1000.0, 1.0)
    """The inputs r, phi, z, seed are divided by this: mm, radian, mm, 1."""


class GnnHitClassifier(nn.Module):
    """Hits around a seed and segments in, score of every hit out.

    Args:
        config: sizes.
    """

    input_scale: Tensor

    def __init__(self, config: GnnHitConfig) -> None:
        super().__init__()
        inputs = len(config.input_scale)
        width = inputs + config.hidden
        self.iterations = config.iterations
        self.mirrors = config.mirrors
        self.input = nn.Linear(inputs, config.hidden)
        self.edge = EdgeNetwork(width, config.hidden)
        self.node = NodeNetwork(width, config.hidden)
        self.output = nn.Linear(width, 1)
        self.register_buffer("input_scale", torch.tensor(config.input_scale))

    def logits(self, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Hits (n,) and segments in every iteration (I, m), both before the sigmoid."""
        x = nodes / self.input_scale
        inner, outer = edges[0], edges[1]
        into, out = incidence(outer, x.shape[0]), incidence(inner, x.shape[0])
        h = torch.cat([torch.tanh(self.input(x)), x], dim=-1)
        segments: list[Tensor] = []
        for _ in range(self.iterations):
            segments.append(self.edge(h, inner, outer))
            weight = torch.sigmoid(segments[-1])
            h = torch.cat([self.node(h, weight, edges, into, out), x], dim=-1)
        return self.output(h).squeeze(-1), torch.stack(segments)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """(n, F) float32 hits as r, phi, z, seed and (2, m) int64 segments to (n,) scores.

        r and z in mm; phi in radian, counted from the innermost hit of the seed; seed is 1 for its hits, else 0.
        Several graphs can be joined: nothing passes between hits that no segments connect.
        """
        if not self.mirrors:
            return torch.sigmoid(self.logits(nodes, edges)[0])
        total = torch.zeros_like(nodes[:, 0])
        for turn in (1.0, -1.0):
            for along in (1.0, -1.0):
                image = [nodes[:, :1], turn * nodes[:, 1:2], along * nodes[:, 2:3], nodes[:, 3:]]
                total = total + self.logits(torch.cat(image, dim=1), edges)[0]
        return torch.sigmoid(0.25 * total)

    @torch.jit.unused
    def example_inputs(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Random hits on ten layers with random segments, as :meth:`forward` takes them."""
        generator = torch.Generator().manual_seed(seed)
        nodes = torch.rand(50, len(self.input_scale), generator=generator) * self.input_scale
        inner = torch.randint(45, (200,), generator=generator)
        return nodes, torch.stack([inner, inner + 5])
