"""The order in which a track comes to the layers, against the crossings of all of them."""

import math

import numpy as np
import pytest
from layered_tracks import BARRELS, DISCS, FIELD, make, perigees

from mltrack_plugin.helix import GEV_PER_TESLA_MM, helix_positions
from mltrack_plugin.kalman.inputs import sorted_event
from mltrack_plugin.kalman.navigation import crossing, first_ahead, next_layer
from mltrack_plugin.kalman.state import STATE, new_record

BEND = GEV_PER_TESLA_MM * FIELD


@pytest.fixture(scope="module")
def layers():
    """Every layer of the toy detector, with its full extent."""
    event = make(perigees(150, seed=1, eta=3.6), seed=2, noise=4000)
    found = sorted_event(event.hits, event.sigmas).event.layers
    assert len(found) == len(BARRELS) + 2 * len(DISCS)
    return found


def state_on(track, s):
    """State after the arc length s on a track (transverse momentum, cot theta, azimuth, z0) from the beam axis."""
    pt, lam, phi, z0 = track
    theta = math.atan2(1.0, lam)
    x, y, z = helix_positions([[0.0, z0, phi, theta, math.sin(theta) / pt]], FIELD, [s])[0]
    state = new_record(STATE)
    turned = phi - BEND / pt * s
    state.x, state.y, state.z = x, y, z
    state.cos_phi, state.sin_phi, state.omega, state.cot = math.cos(turned), math.sin(turned), -BEND / pt, lam
    return state


def walk(state, backwards, layers, searched=None):
    """Layers in the order in which `next_layer` gives them, with arc length and running coordinate."""
    ahead = first_ahead(state, backwards, layers)
    searched = np.zeros(len(layers), dtype=bool) if searched is None else searched
    steps = []
    while True:
        k, s, running, ahead = next_layer(state, ahead, 0.0, searched, layers)
        if k < 0:
            return steps
        steps.append((k, s, running))


def all_crossings(track, s0, layers, backwards):
    """The same from points along the track, which is followed over half a turn at most."""
    pt, lam, phi, z0 = track
    theta = math.atan2(1.0, lam)
    half_turn = 0.999 * math.pi * pt / BEND
    length = min(half_turn, 4000.0) if not backwards else s0
    s = s0 + np.linspace(0, length, 40_001) * (-1 if backwards else 1)
    parameters = np.tile([0.0, z0, phi, theta, math.sin(theta) / pt], (len(s), 1))
    points = helix_positions(parameters, FIELD, s)
    r, z = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    # As far as it moves away from the beam axis: what comes after is not followed.
    end = len(s) if backwards else int(np.argmax(r)) + 1
    steps = []
    for k, layer in enumerate(layers):
        value, running = (z, r) if layer["disc"] else (r, z)
        last = len(s) if layer["disc"] else end
        change = np.flatnonzero(np.diff(np.sign(value[:last] - layer["position"])))
        if len(change):
            at = running[change[0]]
            margin = 20.0 + 0.02 * abs(at)
            if layer["low"] - margin < at < layer["high"] + margin:
                steps.append((k, s[change[0]] - s0, at))
    return sorted(steps, key=lambda step: abs(step[1]))


@pytest.mark.parametrize("backwards", [False, True])
def test_layers_come_in_the_order_in_which_the_track_crosses_them(layers, backwards):
    rng = np.random.default_rng(5)
    n_steps = 0
    for _ in range(60):
        track = rng.uniform(0.15, 4.0), rng.normal(0, 2.5), rng.uniform(-3, 3), rng.normal(0, 40)
        s0 = rng.uniform(60, 150)
        # Backwards a track is followed to the beam axis only.
        steps = [
            step for step in walk(state_on(track, s0), backwards, layers) if not backwards or -step[1] < s0
        ]
        wanted = all_crossings(track, s0, layers, backwards)
        assert [k for k, *_ in steps] == [k for k, *_ in wanted], track
        for (_, s, running), (_, s_there, there) in zip(steps, wanted, strict=True):
            assert s == pytest.approx(s_there, abs=0.2)
            assert running == pytest.approx(there, abs=1.0)
        n_steps += len(steps)
    assert n_steps > 100


def test_layers_that_were_looked_at_are_left_out(layers):
    state = state_on((2.0, 0.3, 1.0, 0.0), 60.0)
    all_of_them = [k for k, *_ in walk(state, False, layers)]
    searched = np.zeros(len(layers), dtype=bool)
    searched[all_of_them[1]] = True
    assert [k for k, *_ in walk(state, False, layers, searched)] == all_of_them[:1] + all_of_them[2:]


def test_a_track_that_turns_round_before_a_barrel_does_not_cross_it(layers):
    state = state_on((0.06, 0.1, 0.0, 0.0), 50.0)
    reached = 2 * 0.06 / BEND
    assert {layers["position"][k] for k, *_ in walk(state, False, layers)} == {
        p for p in layers["position"] if 50 < p < reached
    }
    assert math.isnan(crossing(state, layers[7], False))
