"""Helix geometry: conventions of ACTS, straight limit, inverse transformations."""

import numpy as np
import pytest

from mltrack_plugin.helix import GEV_PER_TESLA_MM, helix_positions
from mltrack_plugin.helix.helix import from_perigee, perigee_jacobian, to_perigee, wrap_angle


def test_positive_charge_turns_clockwise_seen_from_plus_z():
    track = np.array([[0.0, 0.0, 0.0, np.pi / 2, 1.0]])
    point = helix_positions(track, 2.0, [100.0])[0]
    assert point[0] > 0
    assert point[1] < 0


def test_radius_of_one_gev_in_two_tesla():
    half_turn = np.pi / (GEV_PER_TESLA_MM * 2.0)
    track = np.array([[0.0, 0.0, 0.0, np.pi / 2, 1.0]])
    assert helix_positions(track, 2.0, [half_turn])[0] == pytest.approx([0, -2 * 1667.820476, 0], abs=1e-6)


def test_d0_is_positive_left_of_the_direction():
    track = np.array([[1.5, 7.0, 0.0, np.pi / 2, 0.3]])
    assert helix_positions(track, 2.0, [0.0])[0] == pytest.approx([0.0, 1.5, 7.0])


def test_no_curvature_is_a_straight_line():
    track = np.array([[0.0, 1.0, np.pi / 4, np.pi / 4, 0.0]])
    assert helix_positions(track, 2.0, [10.0])[0] == pytest.approx([10 / np.sqrt(2), 10 / np.sqrt(2), 11.0])


def test_perigee_parameters_survive_the_round_trip(toy):
    truth = toy.draw_helices(np.random.default_rng(1), 500)
    for field in (2.0, -3.8):
        assert to_perigee(from_perigee(truth, field), field) == pytest.approx(truth, rel=1e-12, abs=1e-12)


def test_jacobian_is_the_numerical_derivative(toy):
    inner = from_perigee(toy.draw_helices(np.random.default_rng(2), 50, pt=(0.2, 5)), 2.0)
    jacobian = perigee_jacobian(inner, 2.0)
    for column in range(5):
        step = np.zeros(5)
        step[column] = 1e-6
        numerical = (to_perigee(inner + step, 2.0) - to_perigee(inner - step, 2.0)) / 2e-6
        assert jacobian[:, :, column] == pytest.approx(numerical, rel=1e-5, abs=1e-6)


def test_angles_are_wrapped_to_minus_pi_excluded():
    angles = wrap_angle(np.array([np.pi, -np.pi, 3 * np.pi, 0.0, -4.0, 7.0]))
    assert angles == pytest.approx([np.pi, np.pi, np.pi, 0.0, 2 * np.pi - 4.0, 7 - 2 * np.pi])


def test_d0_has_the_sign_of_an_acts_perigee_surface():
    acts = pytest.importorskip("acts", exc_type=ImportError)
    surface = acts.Surface.createPerigee(acts.Vector3(0, 0, 0))
    context = acts.GeometryContext.dangerouslyDefaultConstruct()
    rng = np.random.default_rng(3)
    for d0, z0, phi in zip(rng.normal(0, 2, 10), rng.normal(0, 50, 10), rng.uniform(-3, 3, 10), strict=True):
        direction = acts.Vector3(np.cos(phi) * np.sin(1.1), np.sin(phi) * np.sin(1.1), np.cos(1.1))
        point = surface.localToGlobal(context, acts.Vector2(d0, z0), direction)
        ours = helix_positions(np.array([[d0, z0, phi, 1.1, 0.5]]), 2.0, [0.0])[0]
        assert [point[i] for i in range(3)] == pytest.approx(ours, abs=1e-9)
