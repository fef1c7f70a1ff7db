"""The true perigee: straight lines, points of known helices, both charges."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import mltrack_plugin.helix.perigee as module
from mltrack_plugin.helix.helix import GEV_PER_TESLA_MM, helix_positions
from mltrack_plugin.helix.perigee import true_perigee


def test_examples():
    result = doctest.testmod(module)
    assert (result.failed, result.attempted > 0) == (0, True)


@pytest.mark.parametrize("field_z", [2.0, -3.8])
def test_particles_made_on_a_helix_have_its_perigee(field_z):
    rng = np.random.default_rng(2)
    n = 200
    theta = rng.uniform(0.3, 2.8, n)
    qop = rng.choice([-1, 1], n) * np.sin(theta) / rng.uniform(0.3, 20, n)
    perigee = np.stack(
        [rng.normal(0, 20, n), rng.normal(0, 50, n), rng.uniform(-np.pi, np.pi, n), theta, qop], axis=1
    )
    # Up to 200 mm along the track, before and after the perigee; less than half a turn of the softest.
    s = rng.uniform(-200, 200, n)
    position = helix_positions(perigee, field_z, s)
    omega = -qop * GEV_PER_TESLA_MM * field_z / np.sin(theta)
    direction = perigee[:, 2] + omega * s
    p = 1 / np.abs(qop)
    momentum = np.stack(
        [p * np.sin(theta) * np.cos(direction), p * np.sin(theta) * np.sin(direction), p * np.cos(theta)],
        axis=1,
    )
    found = true_perigee(position, momentum, np.sign(qop), field_z)
    assert found == pytest.approx(perigee, rel=1e-6, abs=1e-6)


def test_without_a_field_or_a_charge_particles_fly_straight():
    position, momentum = [[10.0, 5.0, 2.0]] * 3, [[1.0, 0.0, 2.0]] * 3
    found = true_perigee(position, momentum, [1, 0, 0], 0.0)
    assert found[0] == pytest.approx([5.0, -18.0, 0.0, np.arctan2(1, 2), 1 / 5**0.5])
    assert true_perigee(position, momentum, [0, 0, 0], 2.0) == pytest.approx(found)


def test_a_displaced_particle_is_not_where_the_straight_line_points():
    straight = true_perigee([[200.0, 0, 0]], [[1.0, 0.2, 0]], [1], 0.0)[0, 0]
    curved = true_perigee([[200.0, 0, 0]], [[1.0, 0.2, 0]], [1], 2.0)[0, 0]
    # The sagitta of 200 mm at a radius of 1.7 m is 200**2 / (2 R).
    radius = np.hypot(1, 0.2) / (GEV_PER_TESLA_MM * 2)
    assert abs(curved - straight) == pytest.approx(200**2 / (2 * radius), rel=0.15)


def test_no_transverse_momentum_has_no_perigee():
    assert np.isnan(true_perigee([[0.0, 0, 0]], [[0.0, 0, 1]], [1], 2.0)[0, 0])
