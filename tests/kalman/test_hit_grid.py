"""The columns of an event and the search for hits near a track, against plain array code."""

import numpy as np
import pytest
from layered_tracks import make, perigees

from mltrack_plugin.kalman.hit_grid import lookup, make_event, measurements
from mltrack_plugin.kalman.inputs import dense_numbers, detector_layers, positions_of, sorted_event
from mltrack_plugin.kalman.state import MEASUREMENT, STATE, new_record


@pytest.fixture(scope="module")
def event():
    return make(perigees(60, seed=11, eta=2.2), seed=12, noise=800)


@pytest.fixture(scope="module")
def columns(event):
    return sorted_event(event.hits, event.sigmas)


def positions(hits):
    return np.stack([hits[name] for name in "xyz"], axis=1)


def test_hits_keep_what_they_are_in_another_order(event, columns):
    given, place = columns.given, columns.place
    assert (place[given] == np.arange(len(given))).all()
    assert positions(columns.event.hits[place]) == pytest.approx(event.hits.positions)
    layer, _ = detector_layers(event.hits)
    pairs = set(zip(layer.tolist(), columns.event.tags["layer"][place].tolist(), strict=True))
    assert len(pairs) == len(set(layer.tolist())) == len(columns.event.layers)
    for name, value in (("module", -1), ("group", -1), ("used", 0)):
        assert (columns.event.tags[name] == value).all()


def test_barrels_come_first_and_layers_are_in_order(columns):
    event, layers = columns.event, columns.event.layers
    n = layers["n_barrels"][0]
    assert layers["disc"].tolist() == [False] * n + [True] * (len(layers) - n)
    assert (layers["n_barrels"] == n).all()
    assert (np.diff(layers["position"][:n]) > 0).all()
    assert (np.diff(layers["position"][n:]) > 0).all()
    for k, row in enumerate(layers):
        running = event.tags["running"][event.tags["layer"] == k]
        assert (row["low"], row["high"]) == (running.min(), running.max())


def test_covariance_is_that_of_the_rotated_errors(event, columns):
    phi = np.arctan2(event.hits.y, event.hits.x).astype(float)
    for i in range(0, len(phi), 37):
        rotation = np.array([[-np.sin(phi[i]), np.cos(phi[i])], [np.cos(phi[i]), np.sin(phi[i])]])
        matrix = rotation.T @ np.diag(event.sigmas[i, :2] ** 2) @ rotation
        wanted = [matrix[0, 0], matrix[0, 1], matrix[1, 1], event.sigmas[i, 2] ** 2]
        hit = columns.event.hits[columns.place[i]]
        assert [hit[name] for name in ("xx", "xy", "yy", "zz")] == pytest.approx(wanted, abs=1e-9)
    hits = measurements(positions_of(event.hits), event.sigmas)
    assert hits.dtype == MEASUREMENT
    assert (hits == columns.event.hits[columns.place]).all()


def test_a_lookup_finds_every_hit_in_its_window(columns):
    """All hits in the window, none twice, none of other layers."""
    rng = np.random.default_rng(1)
    event, found = columns.event, np.zeros(2000, dtype=np.int64)
    total = 0
    for _ in range(300):
        k = rng.integers(len(event.layers))
        on_layer = np.flatnonzero(event.tags["layer"] == k)
        row = rng.choice(on_layer)
        hit, phi, running = event.hits[row], event.tags["phi"], event.tags["running"]
        r = np.hypot(hit["x"], hit["y"])
        state = new_record(STATE)
        state.x, state.y, state.z = hit["x"], hit["y"], hit["z"]
        state.cos_phi, state.sin_phi, state.cot = hit["x"] / r, hit["y"] / r, hit["z"] / r
        size = rng.uniform(1.0, 12.0)
        state.u_u = state.w_w = size**2
        n = lookup(state, event, k, 1.0, 1e4, found)
        rows = found[:n]
        assert len(set(rows.tolist())) == n
        assert (event.tags["layer"][rows] == k).all()
        across = np.abs(np.angle(np.exp(1j * (phi[on_layer] - phi[row])))) * r
        along = np.abs(running[on_layer] - running[row])
        slope = max(abs(state.cot), 0.1) if event.layers["disc"][k] else 1.0
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
    hits = make_event(np.concatenate([barrel, disc]), layer, np.full(40, -1), np.full((40, 3), 0.1))
    event = hits.event
    assert event.layers["disc"].tolist() == [False, True]
    assert event.layers["position"].tolist() == [50.0, 400.0]
