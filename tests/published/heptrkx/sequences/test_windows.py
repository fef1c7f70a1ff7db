"""Search windows: chi2 of hits, gates over the seam of the azimuth, the best of each group."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltrack_plugin.published.heptrkx.sequences.windows import (
    LayerHits,
    best_of_group,
    gate,
    log_volume,
    squared_distance,
)


def layer_of(phi, z=0.0, r=100.0):
    phi = np.asarray(phi, dtype=np.float64)
    values = np.stack(np.broadcast_arrays(r, phi, z), axis=1).astype(np.float32)
    return LayerHits.select(values, np.zeros(len(phi), dtype=np.int64), 0)


def test_squared_distance_is_that_of_the_inverse_covariance():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(50, 2, 2))
    covariance = root @ root.transpose(0, 2, 1) + 0.1 * np.eye(2)
    mean, point = rng.normal(size=(2, 50, 2))
    gaussians = np.column_stack([mean, covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]])
    hits = np.column_stack([np.full(50, 100.0), point])
    step = point - mean
    expected = np.einsum("ni,nij,nj->n", step, np.linalg.inv(covariance), step)
    # Steps here are below pi, so no azimuth is wrapped.
    small = np.abs(step[:, 0]) < np.pi
    np.testing.assert_allclose(squared_distance(hits, gaussians)[small], expected[small], rtol=1e-9)


def test_log_volume_is_that_of_a_gaussian_in_mm():
    # Standard deviations 0.02 rad at 100 mm = 2 mm, and 3 mm: (2 pi)^2 (2 x 3)^2.
    gaussian = np.array([[0.0, 0.0, 0.02**2, 0.0, 3.0**2]])
    assert log_volume(gaussian, 100.0) == pytest.approx(np.log((2 * np.pi) ** 2 * 36.0))


@given(
    st.lists(st.floats(-np.pi, np.pi), max_size=12),
    st.lists(st.tuples(st.floats(-np.pi, np.pi), st.floats(0, 4)), max_size=4),
)
def test_near_finds_what_a_comparison_of_all_pairs_finds(azimuths, queries):
    layer = layer_of(azimuths)
    phi = np.array([q[0] for q in queries])
    half = np.array([q[1] for q in queries])
    query, position = layer.near(phi, half)
    found = set(zip(query.tolist(), position.tolist(), strict=True))
    assert len(found) == len(query)
    difference = np.abs(
        (layer.values[None, :, 1].astype(np.float64) - phi[:, None] + np.pi) % (2 * np.pi) - np.pi
    )
    sure = difference < half[:, None] - 1e-9
    possible = difference < half[:, None] + 1e-9
    assert {(int(q), int(p)) for q, p in np.argwhere(sure)} <= found
    assert found <= {(int(q), int(p)) for q, p in np.argwhere(possible)}


def test_gate_looks_over_the_seam_and_sorts_by_distance():
    layer = layer_of([3.135, -3.135, 3.10, 0.0], z=[0.0, 0.0, 0.0, 0.0])
    gaussians = np.array(
        [[np.pi, 0.0, 0.01**2, 0.0, 1.0], [0.0, 0.0, 0.01**2, 0.0, 1.0], [1.0, 0.0, 1e-4, 0.0, 1.0]]
    )
    query, position, distance = gate(gaussians, layer, 20.0)
    assert query.tolist() == [0, 0, 0, 1]
    assert sorted(layer.rows[position[:2]].tolist()) == [0, 1]
    assert layer.rows[position[2:]].tolist() == [2, 3]
    assert (np.diff(distance[:3]) >= 0).all()
    assert distance[2] == pytest.approx(((np.pi - 3.10) / 0.01) ** 2, rel=1e-4)


def test_gate_uses_the_correlation():
    layer = layer_of([0.03, 0.03], z=[3.0, -3.0])
    gaussians = np.array([[0.0, 0.0, 0.01**2, 0.9 * 0.01, 1.0]])
    _, position, distance = gate(gaussians, layer, 20.0)
    assert layer.rows[position].tolist() == [0]
    assert distance[0] == pytest.approx(9.0 * 2.0 / 1.9, rel=1e-4)


def test_gate_of_nothing():
    empty = layer_of([])
    assert [len(part) for part in gate(np.array([[0.0, 0.0, 1.0, 0.0, 1.0]]), empty, 9.0)] == [0, 0, 0]
    assert [len(part) for part in gate(np.zeros((0, 5)), layer_of([0.1]), 9.0)] == [0, 0, 0]


def test_best_of_group():
    group, cost = np.array([1, 0, 1, 1, 0, 2]), np.array([3.0, 1.0, 2.0, 2.0, 5.0, 9.0])
    assert best_of_group(group, cost, 1).tolist() == [False, True, True, False, False, True]
    assert best_of_group(group, cost, 2).tolist() == [False, True, True, True, True, True]
    assert best_of_group(group[:0], cost[:0], 1).tolist() == []
