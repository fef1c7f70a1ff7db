"""Sparse convolutions equal dense ones at the occupied pixels."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from mltrack_plugin.models.sparse import (
    SparseConvolution,
    coarser_pairs,
    join_key,
    neighbour_pairs,
    number_keys,
    split_key,
)


def occupied(sizes, n, images=2, seed=1):
    """Sorted keys of random pixels of several images, and their places (P, 1 + D)."""
    rng = np.random.default_rng(seed)
    place = torch.from_numpy(np.stack([rng.integers(0, s, n) for s in (images, *sizes)], 1))
    keys, _ = number_keys(join_key(place, list(sizes)))
    return keys, split_key(keys, list(sizes))


def test_keys_are_numbered_in_order():
    keys, number = number_keys(torch.tensor([7, 3, 7, 5, 3]))
    assert keys.tolist() == [3, 5, 7]
    assert number.tolist() == [2, 0, 2, 1, 0]


@pytest.mark.parametrize(
    ("sizes", "periodic"),
    [
        ((16, 12), (True, False)),
        ((2, 5), (True, False)),
        ((7, 9), (False, False)),
        ((5, 8, 6), (False, True, False)),
    ],
)
def test_submanifold_convolution_is_the_dense_one_at_occupied_pixels(sizes, periodic):
    axes = len(sizes)
    keys, place = occupied(sizes, 60)
    offsets = torch.cartesian_prod(*[torch.arange(-1, 2)] * axes)
    layer = SparseConvolution(3, 4, 3**axes)
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(len(keys), 3)
    found = layer(x, neighbour_pairs(keys, list(sizes), list(periodic), offsets), len(keys))

    dense = torch.zeros(2, 3, *sizes)
    index = (place[:, 0], slice(None), *place[:, 1:].T)
    dense[index] = x
    for axis, wraps in enumerate(periodic):
        pad = [0, 0] * axes
        pad[2 * (axes - 1 - axis)] = pad[2 * (axes - 1 - axis) + 1] = 1
        dense = (
            functional.pad(dense, pad, mode="constant")
            if not wraps
            else torch.cat(
                [dense.narrow(2 + axis, sizes[axis] - 1, 1), dense, dense.narrow(2 + axis, 0, 1)],
                dim=2 + axis,
            )
        )
    kernel = layer.weight.permute(2, 1, 0).reshape(4, 3, *[3] * axes)
    convolution = functional.conv2d if axes == 2 else functional.conv3d
    wanted = convolution(dense, kernel, layer.bias)[index]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", [(16, 12), (7, 9), (5, 8, 6)])
def test_strided_convolution_is_the_dense_one(sizes):
    axes = len(sizes)
    keys, place = occupied(sizes, 60)
    half = [(size + 1) // 2 for size in sizes]
    coarse_keys, pairs, slot = coarser_pairs(
        keys, list(sizes), torch.tensor([2**axis for axis in range(axes)])
    )
    coarse_place = split_key(coarse_keys, half)
    assert (coarse_place[slot // 2**axes] == torch.cat([place[:, :1], place[:, 1:] // 2], dim=1)).all()
    assert len(set(slot.tolist())) == len(keys)
    layer = SparseConvolution(3, 4, 2**axes)
    x = torch.randn(len(keys), 3)
    found = layer(x, pairs, len(coarse_keys))

    dense = torch.zeros(2, 3, *[2 * n for n in half])
    dense[(place[:, 0], slice(None), *place[:, 1:].T)] = x
    # The first axis runs fastest in the number of a part.
    kernel = layer.weight.permute(2, 1, 0).reshape(4, 3, *[2] * axes)
    kernel = kernel.permute(0, 1, *reversed(range(2, 2 + axes)))
    convolution = functional.conv2d if axes == 2 else functional.conv3d
    wanted = convolution(dense, kernel, layer.bias, stride=2)[
        (coarse_place[:, 0], slice(None), *coarse_place[:, 1:].T)
    ]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
