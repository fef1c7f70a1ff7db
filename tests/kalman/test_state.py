"""Propagation, scattering and update of a track state against formulas written out elsewhere."""

import numpy as np
import pytest

from mltrack_plugin.helix import helix_positions
from mltrack_plugin.helix.helix import GEV_PER_TESLA_MM
from mltrack_plugin.kalman.state import (
    STATE,
    STEP,
    bent_between,
    cross_material,
    deflection2,
    move,
    projected,
    residual,
    shift,
    to_closest,
    update,
)

BEND = GEV_PER_TESLA_MM * 2.0
UPPER = np.triu_indices(5)


def state_at(phi=0.4, omega=1e-3, lam=0.7):
    state = np.zeros(STATE)
    state[:7] = 12.0, -5.0, 30.0, np.cos(phi), np.sin(phi), omega, lam
    return state


def covariance(state):
    matrix = np.zeros((5, 5))
    matrix[UPPER] = state[8:]
    return matrix + np.triu(matrix, 1).T


def with_covariance(state, matrix):
    state[8:] = matrix[UPPER]
    return state


@pytest.mark.parametrize("pt", [0.2, 1.0, 50.0, -0.5])
def test_a_state_moves_along_its_helix(pt):
    theta = 1.1
    perigee = [0.0, 2.0, 0.3, theta, np.sin(theta) / pt]
    start, end = helix_positions([perigee, perigee], 2.0, [0.0, 400.0])
    state = np.zeros(STATE)
    state[:7] = *start, np.cos(0.3), np.sin(0.3), -BEND / pt, 1 / np.tan(theta)
    move(state, 400.0, np.zeros(STEP))
    assert state[:3] == pytest.approx(end, abs=1e-9)
    assert np.arctan2(state[4], state[3]) == pytest.approx(0.3 - BEND / pt * 400, abs=1e-12)
    assert state[7] == 400.0


@pytest.mark.parametrize("omega", [0.0, 1e-5, -2e-3, 4e-3])
@pytest.mark.parametrize("s", [5.0, -80.0, 300.0])
def test_covariance_follows_the_derivatives_of_the_track(omega, s):
    """Against finite differences of states that were shifted, moved and compared at the closest points."""
    end = state_at(omega=omega)
    move(end, s, np.zeros(STEP))
    across = np.array([-end[4], end[3]])
    derivatives = np.zeros((5, 5))
    for k, size in enumerate((1e-4, 1e-7, 1e-10, 1e-4, 1e-6)):
        change = np.zeros(5)
        change[k] = size
        other = state_at(omega=omega)
        shift(other, *change)
        move(other, s, np.zeros(STEP))
        move(other, to_closest(other, end[0], end[1]), np.zeros(STEP))
        turn = other[4] * end[3] - other[3] * end[4]
        difference = (
            (other[:2] - end[:2]) @ across,
            turn,
            other[5] - end[5],
            other[2] - end[2],
            other[6] - end[6],
        )
        derivatives[:, k] = np.array(difference) / size
    size = np.diag([0.1, 0.01, 1e-4, 0.2, 0.02])
    random = size @ np.random.default_rng(1).normal(size=(5, 5))
    start = with_covariance(state_at(omega=omega), random @ random.T)
    expected = derivatives @ covariance(start) @ derivatives.T
    move(start, s, np.zeros(STEP))
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert covariance(start) / scale == pytest.approx(expected / scale, abs=1e-4)


def test_a_hit_updates_the_state_as_the_textbook_says():
    random = np.diag([0.3, 0.01, 1e-4, 0.5, 0.02]) @ np.random.default_rng(2).normal(size=(5, 5))
    state = with_covariance(state_at(), random @ random.T)
    hit = np.array([12.0, -5.0, 30.4, 0.04, 0.01, 0.09, 0.25])
    hit[:2] += 0.2 * np.array([-state[4], state[3]])
    assert residual(state, to_closest(state, hit[0], hit[1]), hit) == pytest.approx((0.2, 0.4))

    uu, uw, ww = projected(state, hit)
    tangent, normal = state[3:5], np.array([-state[4], state[3]])
    position = np.array([[0.04, 0.01], [0.01, 0.09]])
    assert uu == pytest.approx(normal @ position @ normal)
    assert uw == pytest.approx(-0.7 * normal @ position @ tangent)
    assert ww == pytest.approx(0.25 + 0.49 * tangent @ position @ tangent)

    select = np.eye(5)[[0, 3]]
    before, noise = covariance(state), np.array([[uu, uw], [uw, ww]])
    inverse = np.linalg.inv(select @ before @ select.T + noise)
    gain = before @ select.T @ inverse
    r = np.array([0.2, 0.4])
    old = state.copy()
    assert update(state, hit, np.zeros(15)) == pytest.approx(r @ inverse @ r)
    assert covariance(state) == pytest.approx(before - gain @ select @ before, abs=1e-12)
    assert state[5:7] - old[5:7] == pytest.approx((gain @ r)[[2, 4]])
    assert state[2] - old[2] == pytest.approx((gain @ r)[3])
    assert (state[:2] - old[:2]) @ normal == pytest.approx((gain @ r)[0])


def test_scattering_and_energy_loss_of_a_pion():
    """Highland for 1 GeV and 2% of a radiation length at normal incidence, and 1.66 MeV cm^2/g in silicon."""
    state = state_at(omega=BEND, lam=0.0)
    assert np.sqrt(deflection2(state, 0.02, BEND)) == pytest.approx(
        0.0136 * np.hypot(1, 0.1396) * np.sqrt(0.02) * (1 + 0.038 * np.log(0.02)), rel=1e-4
    )
    cross_material(state, 0.02, BEND, False)
    assert state[13] == state[22] == pytest.approx(deflection2(state_at(omega=BEND, lam=0.0), 0.02, BEND))
    assert state[5] / BEND - 1 == pytest.approx(0.02 * 21.8 * 1.66e-3, rel=0.05)
    cross_material(state, 0.02, BEND, True)
    assert state[5] == pytest.approx(BEND, rel=1e-5)
    untouched = state_at()
    cross_material(untouched, 0.0, BEND, False)
    assert untouched.tolist() == state_at().tolist()


def test_a_layer_between_two_hits_bends_the_track():
    """A deflection half way between two hits displaces the track there by a quarter of their distance."""
    state = state_at(omega=BEND / 2, lam=0.0)
    bent_between(state, 40.0, 40.0, 0.02, BEND)
    assert np.sqrt(state[8]) == pytest.approx(20 * np.sqrt(deflection2(state, 0.02, BEND)))
    assert state[8] == pytest.approx(state[20])
