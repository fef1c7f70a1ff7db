"""The two parts of the HEP.TrkX graph networks: one weighs segments, one passes messages along them.

Farrell et al., "Novel deep learning methods for track reconstruction" (arXiv:1810.06111). The publication multiplies
dense matrices of nodes by edges; here segments are pairs of node numbers, which gives the same sums.

Shapes: n nodes (hits) with d features each, m edges (segments from ``inner`` to ``outer``, each (m,) int64).
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import torch
from torch import Tensor, nn
from torch.nn import functional

#: Order in which the segments of each hit follow each other, and where those of each hit start: (m,), (n,) int64.
Incidence = tuple[Tensor, Tensor]
#: Differences of coordinates matter on scales from millimetres between neighbours to the size of the windows.
SCALES = 5.0


def incidence(ends: Tensor, n: int) -> Incidence:
    """Segments grouped by one of their hits.

    Args:
        ends: (m,) int64, that hit of each segment.
        n: number of hits.
    """
    order = torch.argsort(ends, stable=True)
    starts = torch.searchsorted(ends.index_select(0, order), torch.arange(n, device=ends.device))
    return order, starts


def weighted_sum(h: Tensor, weight: Tensor, neighbour: Tensor, at: Incidence) -> Tensor:
    """Sum of the neighbours' features of each hit, times the weights of the segments.

    An embedding bag is this sum without the features of every segment in memory: three times as fast on CPUs.

    Args:
        h: (n, d) features.
        weight: (m,) weights of the segments.
        neighbour: (m,) int64, the hit at the other end of each segment.
        at: segments grouped by the hits that sum.

    Returns:
        (n, d).
    """
    order, starts = at
    return functional.embedding_bag(
        neighbour.index_select(0, order),
        h,
        starts,
        mode="sum",
        per_sample_weights=weight.index_select(0, order),
    )


def _gains(units: int, gain: list[float]) -> Tensor:
    """(units, inputs) random weights of the given spreads, times a common factor of each unit."""
    factor = SCALES ** (2.0 * torch.rand(units, 1) - 1.0)
    return torch.randn(units, len(gain)) * torch.tensor(gain) * factor


class EdgeNetwork(nn.Module):
    """Weight of each segment from the features of its two hits: Linear(2 d, hidden), tanh, Linear(hidden, 1).

    Args:
        width: d.
        hidden: width of the hidden layer.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.width = width
        self.up = nn.Linear(2 * width, hidden)
        self.down = nn.Linear(hidden, 1)

    @torch.jit.unused
    def start_from_differences(self, gain: list[float]) -> None:
        """Set initial weights so that half of the hidden features look at differences between the two hits.

        A segment of a track is told by differences of coordinates a hundred times smaller than the coordinates; with
        the usual initial weights it takes thousands of steps until they are seen at all.

        Args:
            gain: spread of the weights of the last features, which are the scaled inputs; it varies by a factor of
                ``SCALES`` to both sides from hidden feature to hidden feature.
        """
        half, n = self.up.out_features // 2, len(gain)
        with torch.no_grad():
            weight = _gains(half, gain)
            self.up.weight[:half] *= 0.5
            self.up.weight[:half, self.width - n : self.width] = -weight
            self.up.weight[:half, 2 * self.width - n :] = weight
            self.up.bias[:half] = torch.randn(half)

    def forward(self, h: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
        """(n, d) features to (m,) logits; their sigmoid is the weight."""
        # A linear map of two joined hits is the sum of a map of each, and there are fewer hits than segments.
        weight = self.up.weight
        first = functional.linear(h, weight[:, : self.width], self.up.bias)
        second = functional.linear(h, weight[:, self.width :])
        hidden = torch.tanh(first.index_select(0, inner) + second.index_select(0, outer))
        return self.down(hidden).squeeze(-1)  # type: ignore[no-any-return]


class NodeNetwork(nn.Module):
    """New features of each hit: Linear(3 d, hidden), tanh, Linear(hidden, hidden), tanh.

    Its inputs are the weighted sums of the features of the inner neighbours and of the outer neighbours, and the hit's
    own features.

    Args:
        width: d.
        hidden: number of new features.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(3 * width, hidden)
        self.down = nn.Linear(hidden, hidden)

    def forward(self, h: Tensor, weight: Tensor, edges: Tensor, into: Incidence, out: Incidence) -> Tensor:
        """(n, d) features and (m,) weights to (n, hidden) features.

        Args:
            h: see above.
            weight: see above.
            edges: (2, m) int64.
            into: :func:`incidence` of the outer hits.
            out: :func:`incidence` of the inner hits.
        """
        joined = torch.cat(
            [weighted_sum(h, weight, edges[0], into), weighted_sum(h, weight, edges[1], out), h], -1
        )
        return torch.tanh(self.down(torch.tanh(self.up(joined))))
