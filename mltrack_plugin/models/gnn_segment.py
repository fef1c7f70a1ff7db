"""GNN segment classifier of HEP.TrkX: which segments of a graph of hits lie on a track.

Farrell et al., "Novel deep learning methods for track reconstruction" (arXiv:1810.06111): an input layer, then a number
of iterations of edge network and node network, then the edge network again, whose output is the score. The same two
networks serve all iterations, and the inputs are joined to the hidden features before each. With 3 inputs, 32 hidden
features and 4 iterations it has the published 6881 parameters.

Shapes: n hits, m segments, F inputs, I iterations.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math

import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.models.gnn_layers import EdgeNetwork, NodeNetwork, incidence
from mltrack_plugin.settings import Config


class GnnSegmentConfig(Config):
    """Sizes of a :class:`GnnSegmentClassifier`; the defaults are those published."""

    hidden: int = Field(32, ge=1)
    """Hidden features of a hit."""
    iterations: int = Field(4, ge=1)
    """Iterations of edge and node network."""
    input_scale: tuple[float, ...] = (1000.0, math.pi, 1000.0)
    """The inputs r, phi, z are divided by this: mm, radian, mm."""


class GnnSegmentClassifier(nn.Module):
    """Hits and segments in, weight of every segment at every iteration out.

    Args:
        config: sizes.
    """

    input_scale: Tensor

    def __init__(self, config: GnnSegmentConfig) -> None:
        super().__init__()
        inputs = len(config.input_scale)
        width = inputs + config.hidden
        self.iterations = config.iterations
        self.input = nn.Linear(inputs, config.hidden)
        self.edge = EdgeNetwork(width, config.hidden)
        self.node = NodeNetwork(width, config.hidden)
        self.register_buffer("input_scale", torch.tensor(config.input_scale))

    def logits(self, nodes: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (m,) and the weights that the iterations use (I, m), both before the sigmoid."""
        x = nodes / self.input_scale
        inner, outer = edges[0], edges[1]
        into, out = incidence(outer, x.shape[0]), incidence(inner, x.shape[0])
        h = torch.cat([torch.tanh(self.input(x)), x], dim=-1)
        logits = [self.edge(h, inner, outer)]
        for _ in range(self.iterations):
            weight = torch.sigmoid(logits[-1])
            h = torch.cat([self.node(h, weight, edges, into, out), x], dim=-1)
            logits.append(self.edge(h, inner, outer))
        return logits[-1], torch.stack(logits[:-1])

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        """(n, F) float32 hits as r, phi, z (mm, radian, mm) and (2, m) int64 segments to (I + 1, m) weights.

        Row i holds the weights that iteration i uses, the last row the scores. Several graphs can be joined: nothing
        passes between hits that no segments connect.
        """
        scores, weights = self.logits(nodes, edges)
        return torch.sigmoid(torch.cat([weights, scores.unsqueeze(0)]))

    @torch.jit.unused
    def example_inputs(self, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Random hits on ten layers with random segments, as :meth:`forward` takes them."""
        generator = torch.Generator().manual_seed(seed)
        nodes = torch.rand(50, len(self.input_scale), generator=generator) * self.input_scale
        inner = torch.randint(45, (200,), generator=generator)
        return nodes, torch.stack([inner, inner + 5])
