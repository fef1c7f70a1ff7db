"""Convolutions of images of which only the occupied pixels exist (submanifold convolutions, Graham et al. 2018).

A pixel is known by a key, a whole number that holds its image and its place; the keys are sorted. A neighbour is found
by binary search, a convolution is a gather, a matrix product for each pixel of the kernel, and a sum: the cost is
linear in the number of occupied pixels, whatever the size of the images. Neighbours that are empty add nothing, and
empty pixels stay empty. Down-sampling joins 2 pixels along each axis. On a CPU results are the same bit for bit.

Shapes: P occupied pixels, D axes, K pixels of a kernel (taps), E pairs of pixels.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


def number_keys(keys: Tensor) -> tuple[Tensor, Tensor]:
    """The different keys (P,), sorted, and the number of each key (M,) among them."""
    order = torch.argsort(keys, stable=True)
    found = keys[order]
    first = torch.ones_like(found, dtype=torch.bool)
    first[1:] = found[1:] != found[:-1]
    number = torch.empty_like(order)
    number[order] = torch.cumsum(first.long(), 0) - 1
    return found[first], number


def join_key(place: Tensor, sizes: list[int]) -> Tensor:
    """Image and pixel (..., 1 + D) int64 to one key (...)."""
    key = place[..., 0]
    for axis, size in enumerate(sizes):
        key = key * size + place[..., axis + 1]
    return key


def split_key(keys: Tensor, sizes: list[int]) -> Tensor:
    """The inverse of :func:`join_key`: (P,) to (P, 1 + D)."""
    columns: list[Tensor] = []
    for axis in range(len(sizes) - 1, -1, -1):
        columns.append(torch.remainder(keys, sizes[axis]))
        keys = torch.div(keys, sizes[axis], rounding_mode="floor")
    columns.append(keys)
    columns.reverse()
    return torch.stack(columns, dim=1)


class Pairs(NamedTuple):
    """Which pixel adds to which through which tap of a kernel; sorted by tap."""

    #: (E,) int64: row that is read.
    source: Tensor
    #: (E,) int64: row that is added to.
    target: Tensor
    #: Pairs of each tap.
    counts: list[int]


def neighbour_pairs(keys: Tensor, sizes: list[int], periodic: list[bool], offsets: Tensor) -> Pairs:
    """Occupied neighbours of every pixel.

    Args:
        keys: (P,) sorted.
        sizes: pixels along each axis.
        periodic: per axis: the first and the last pixel are neighbours.
        offsets: (K, D) int64 steps to the neighbours, one a tap.
    """
    place = split_key(keys, sizes)
    columns = [place[:, 0].expand(offsets.shape[0], -1)]
    inside = torch.ones_like(columns[0], dtype=torch.bool)
    for axis, size in enumerate(sizes):
        step = place[:, axis + 1] + offsets[:, axis, None]
        if periodic[axis]:
            step = torch.remainder(step, size)
        inside = inside & (step >= 0) & (step < size)
        columns.append(step)
    wanted = join_key(torch.stack(columns, dim=2), sizes)
    row = torch.searchsorted(keys, wanted).clamp(max=keys.shape[0] - 1)
    found = inside & (keys[row] == wanted)
    counts: list[int] = found.sum(dim=1).tolist()
    return Pairs(row[found], torch.nonzero(found)[:, 1], counts)


def coarser_pairs(keys: Tensor, sizes: list[int], strides: Tensor) -> tuple[Tensor, Pairs, Tensor]:
    """The pixels of half the resolution that hold the given ones.

    Args:
        keys: (P,) sorted.
        sizes: pixels along each axis; the result has half of them, rounded up.
        strides: (D,) int64: 1, 2, 4, ...; a pixel of odd number along an axis adds its stride to the tap.

    Returns:
        keys (Q,) of the coarser pixels, sorted; the pairs that sum P pixels into Q; and (P,) int64 Q-row x K + tap,
        each pixel's own slot in its coarser one.
    """
    place = split_key(keys, sizes)
    tap = (torch.remainder(place[:, 1:], 2) * strides).sum(dim=1)
    place[:, 1:] = torch.div(place[:, 1:], 2, rounding_mode="floor")
    found, row = number_keys(join_key(place, [(size + 1) // 2 for size in sizes]))
    taps = 1 << len(sizes)
    order = torch.argsort(tap, stable=True)
    counts: list[int] = torch.bincount(tap, minlength=taps).tolist()
    return found, Pairs(order, row[order], counts), row * taps + tap


class SparseConvolution(nn.Module):
    """Weighted sums over the pixels that pairs name: a convolution of occupied pixels.

    Args:
        channels, out: numbers of channels.
        taps: K pixels of the kernel.
    """

    def __init__(self, channels: int, out: int, taps: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(taps, channels, out))
        self.bias = nn.Parameter(torch.zeros(out))
        # About three pixels of a kernel are occupied.
        bound = 1.0 / math.sqrt(3 * channels)
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, pairs: Pairs, rows: int) -> Tensor:
        """(P, channels) to (``rows``, out)."""
        parts = torch.split(x.index_select(0, pairs.source), pairs.counts)
        terms: list[Tensor] = []
        for tap, part in enumerate(parts):
            terms.append(torch.mm(part, self.weight[tap]))
        return self.bias.expand(rows, -1).index_add(0, pairs.target, torch.cat(terms))


class ResidualBlock(nn.Module):
    """Two submanifold convolutions with normalisation before each, and a residual around both."""

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.first = SparseConvolution(channels, channels, taps)
        self.norm2 = nn.LayerNorm(channels)
        self.second = SparseConvolution(channels, channels, taps)

    def forward(self, x: Tensor, pairs: Pairs) -> Tensor:
        """(P, channels) -> (P, channels)."""
        y = self.first(functional.relu(self.norm1(x)), pairs, x.shape[0])
        return x + self.second(functional.relu(self.norm2(y)), pairs, x.shape[0])  # type: ignore[no-any-return]


class Scale(nn.Module):
    """The residual blocks of one scale."""

    def __init__(self, channels: int, taps: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([ResidualBlock(channels, taps) for _ in range(blocks)])

    def forward(self, x: Tensor, pairs: Pairs) -> Tensor:
        for block in self.blocks:
            x = block(x, pairs)
        return x


class Up(nn.Module):
    """To the next finer scale: every pixel gives each of its parts their own channels, joined with the finer ones."""

    def __init__(self, channels: int, out: int, parts: int) -> None:
        super().__init__()
        self.parts = parts
        self.spread = nn.Linear(channels, parts * out)
        self.join = nn.Linear(2 * out, out)

    def forward(self, x: Tensor, finer: Tensor, slot: Tensor) -> Tensor:
        """(Q, channels), finer (P, out), slot (P,) = pixel of the coarser scale x parts + part, to (P, out)."""
        spread = self.spread(x).view(x.shape[0] * self.parts, -1)
        return self.join(torch.cat([spread.index_select(0, slot), finer], dim=1))  # type: ignore[no-any-return]
