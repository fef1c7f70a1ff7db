"""Logical layers: numbers, order, what is adjacent, and the one hit per particle and layer."""

import numpy as np

from mltrack_plugin.models.hit_predictor import GENERIC_RADII
from mltrack_plugin.published.heptrkx.graphs.layers import (
    ALL_LAYERS,
    ALL_PAIRS,
    BARREL_LAYERS,
    BARREL_PAIRS,
    BARREL_RADII,
    distinct_per_layer,
    layer_numbers,
)


def test_numbers_rise_from_inside_out_and_strange_layers_have_none():
    volume, layer = [8, 8, 13, 17, 9, 8], [2, 8, 2, 4, 2, 3]
    np.testing.assert_array_equal(layer_numbers(volume, layer), [0, 3, 4, 9, -1, -1])


def test_ten_barrel_layers_in_a_row():
    assert len(BARREL_LAYERS) == 10
    assert list(BARREL_PAIRS) == [(i, i + 1) for i in range(9)]


def test_all_layers_of_the_detector_once():
    # 4 + 4 + 2 barrel layers, 2 x (7 + 6 + 6) discs.
    assert len(set(ALL_LAYERS)) == len(ALL_LAYERS) == 10 + 38


def test_every_step_leads_to_a_later_layer_and_both_ends_are_alike():
    assert all(inner < outer for inner, outer in ALL_PAIRS)
    assert len(set(ALL_PAIRS)) == len(ALL_PAIRS)
    mirror = {7: 9, 9: 7, 12: 14, 14: 12, 16: 18, 18: 16}
    discs = {7: 7, 9: 7, 12: 6, 14: 6, 16: 6, 18: 6}

    def mirrored(number):
        volume, layer = ALL_LAYERS[number]
        if volume not in mirror:
            return number
        return ALL_LAYERS.index((mirror[volume], 2 * discs[volume] + 2 - layer))

    assert {(mirrored(i), mirrored(j)) for i, j in ALL_PAIRS} == set(ALL_PAIRS)


def test_barrel_pairs_are_among_all_pairs():
    number = {layer: i for i, layer in enumerate(ALL_LAYERS)}
    assert {(number[BARREL_LAYERS[i]], number[BARREL_LAYERS[j]]) for i, j in BARREL_PAIRS} <= set(ALL_PAIRS)


def test_of_two_hits_on_a_layer_the_inner_one_is_kept():
    particle = np.array([1, 1, 2, 1, 1])
    volume, layer = np.array([8, 8, 8, 8, 13]), np.array([2, 2, 2, 4, 2])
    radius = np.array([32.5, 31.5, 33.0, 72.0, 260.0])
    keep = distinct_per_layer(particle, volume, layer, radius)
    np.testing.assert_array_equal(keep, [False, True, True, True, True])


def test_no_hits_none_kept():
    nothing = np.zeros(0, dtype=np.int64)
    assert distinct_per_layer(nothing, nothing, nothing, nothing).shape == (0,)


def test_the_hit_predictor_was_trained_with_these_radii():
    assert BARREL_RADII == GENERIC_RADII
