"""The columns of an event and the search for hits near a track, against plain array code."""

import numpy as np
import pytest
from layered_tracks import make, perigees

from mltrack_plugin.kalman.hit_grid import (
    BARRELS,
    BLOCKED,
    DISC,
    GROUP,
    HIGH,
    LAYER,
    LOW,
    MODULE,
    PHI,
    POSITION,
    RUNNING,
    hit_table,
    lookup,
    make_event,
)
from mltrack_plugin.kalman.inputs import dense_numbers, detector_layers, event_columns, positions_of
from mltrack_plugin.kalman.state import STATE


@pytest.fixture(scope="module")
def event():
    return make(perigees(60, seed=11, eta=2.2), seed=12, noise=800)


@pytest.fixture(scope="module")
def columns(event):
    return event_columns(event.hits, event.sigmas)


def test_hits_keep_what_they_are_in_another_order(event, columns):
    given, place = columns.given, columns.place
    assert (place[given] == np.arange(len(given))).all()
    assert columns.table[place, :3] == pytest.approx(event.hits.positions)
    layer, _ = detector_layers(event.hits)
    pairs = set(zip(layer.tolist(), columns.tags[place, LAYER].tolist(), strict=True))
    assert len(pairs) == len(set(layer.tolist())) == len(columns.layers)
    assert (columns.tags[:, [MODULE, GROUP, BLOCKED]] == (-1, -1, 0)).all()


def test_barrels_come_first_and_layers_are_in_order(event, columns):
    layers = columns.layers
    n = int(layers[0, BARRELS])
    assert layers[:, DISC].tolist() == [0] * n + [1] * (len(layers) - n)
    assert (layers[:, BARRELS] == n).all()
    assert (np.diff(layers[:n, POSITION]) > 0).all()
    assert (np.diff(layers[n:, POSITION]) > 0).all()
    for k, row in enumerate(layers):
        running = columns.table[columns.tags[:, LAYER] == k, RUNNING]
        assert (row[LOW], row[HIGH]) == (running.min(), running.max())


def test_covariance_is_that_of_the_rotated_errors(event, columns):
    phi = np.arctan2(event.hits.y, event.hits.x).astype(float)
    for i in range(0, len(phi), 37):
        rotation = np.array([[-np.sin(phi[i]), np.cos(phi[i])], [np.cos(phi[i]), np.sin(phi[i])]])
        matrix = rotation.T @ np.diag(event.sigmas[i, :2] ** 2) @ rotation
        wanted = [matrix[0, 0], matrix[0, 1], matrix[1, 1], event.sigmas[i, 2] ** 2]
        assert columns.table[columns.place[i], 3:7] == pytest.approx(wanted, abs=1e-9)
    table = hit_table(positions_of(event.hits), event.sigmas)
    assert (table == columns.table[columns.place, :7]).all()


def test_a_lookup_finds_every_hit_in_its_window(columns):
    """All hits in the window, none twice, none of other layers."""
    rng = np.random.default_rng(1)
    table, found = columns.table, np.zeros(2000, dtype=np.int64)
    total = 0
    for _ in range(300):
        k = rng.integers(len(columns.layers))
        on_layer = np.flatnonzero(columns.tags[:, LAYER] == k)
        hit = table[rng.choice(on_layer)]
        state = np.zeros(STATE)
        state[:3] = hit[:3]
        r = np.hypot(*hit[:2])
        state[3:5], state[6] = hit[:2] / r, hit[2] / r
        size = rng.uniform(1.0, 12.0)
        state[8] = state[20] = size**2
        n = lookup(state, columns.columns, k, 1.0, 1e4, found)
        rows = found[:n]
        assert len(set(rows.tolist())) == n
        assert (columns.tags[rows, LAYER] == k).all()
        across = np.abs(np.angle(np.exp(1j * (table[on_layer, PHI] - hit[PHI])))) * r
        along = np.abs(table[on_layer, RUNNING] - hit[RUNNING])
        slope = max(abs(state[6]), 0.1) if columns.layers[k, DISC] else 1.0
        near = on_layer[(across <= size) & (along <= size / slope)]
        assert set(near.tolist()) <= set(rows.tolist())
        total += len(near)
    assert total > 250


@pytest.mark.parametrize(("n", "different"), [(0, 1), (500, 7), (9000, 4000)])
def test_dense_numbers_count_keys_as_they_come(n, different):
    keys = np.random.default_rng(2).choice(
        np.random.default_rng(3).integers(-(2**62), 2**62, different), size=n
    )
    numbers = dense_numbers(keys)
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    wanted = np.argsort(np.argsort(first, kind="stable"), kind="stable")[inverse]
    assert (numbers == wanted).all()


def test_a_layer_with_errors_in_all_directions_is_what_its_hits_extend_along():
    z = np.linspace(-100, 100, 20)
    barrel = np.stack([np.full(20, 50.0), np.zeros(20), z], axis=1)
    disc = np.stack([np.linspace(30, 90, 20), np.zeros(20), np.full(20, 400.0)], axis=1)
    layer = np.repeat([1, 0], 20)
    event = make_event(np.concatenate([barrel, disc]), layer, np.full(40, -1), np.full((40, 3), 0.1))
    assert event.layers[:, DISC].tolist() == [0, 1]
    assert event.layers[:, POSITION].tolist() == [50.0, 400.0]
