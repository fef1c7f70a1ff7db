"""Propagation, scattering and update of a track state against formulas written out elsewhere."""

import numpy as np
import pytest

from mltrack_plugin.helix import helix_positions
from mltrack_plugin.helix.helix import GEV_PER_TESLA_MM
from mltrack_plugin.kalman.material import Material, cross_layer, inflate_between, scattering_variance
from mltrack_plugin.kalman.state import (
    COVARIANCE,
    GAIN,
    MEASUREMENT,
    STATE,
    TRANSPORT,
    copy_state,
    new_record,
    path_to_closest,
    projected_covariance,
    propagate,
    residual,
    shift,
    update,
)

BEND = GEV_PER_TESLA_MM * 2.0
UPPER = np.triu_indices(5)


def state_at(phi=0.4, omega=1e-3, cot=0.7, x=12.0, y=-5.0, z=30.0):
    state = new_record(STATE)
    state.x, state.y, state.z, state.omega, state.cot = x, y, z, omega, cot
    state.cos_phi, state.sin_phi = np.cos(phi), np.sin(phi)
    return state


def covariance(state):
    matrix = np.zeros((5, 5))
    matrix[UPPER] = [state[name] for name in COVARIANCE]
    return matrix + np.triu(matrix, 1).T


def with_covariance(state, matrix):
    for name, value in zip(COVARIANCE, matrix[UPPER], strict=True):
        state[name] = value
    return state


def moved(state, s):
    propagate(state, s, new_record(TRANSPORT))
    return state


@pytest.mark.parametrize("pt", [0.2, 1.0, 50.0, -0.5])
def test_a_state_is_propagated_along_its_helix(pt):
    theta = 1.1
    perigee = [0.0, 2.0, 0.3, theta, np.sin(theta) / pt]
    start, end = helix_positions([perigee, perigee], 2.0, [0.0, 400.0])
    x, y, z = start
    state = moved(state_at(0.3, -BEND / pt, 1 / np.tan(theta), x, y, z), 400.0)
    assert [state.x, state.y, state.z] == pytest.approx(end, abs=1e-9)
    assert np.arctan2(state.sin_phi, state.cos_phi) == pytest.approx(0.3 - BEND / pt * 400, abs=1e-12)
    assert state.path == 400.0


@pytest.mark.parametrize("omega", [0.0, 1e-5, -2e-3, 4e-3])
@pytest.mark.parametrize("s", [5.0, -80.0, 300.0])
def test_covariance_follows_the_derivatives_of_the_track(omega, s):
    """Against finite differences of states that were shifted, propagated and compared at the closest points."""
    end = moved(state_at(omega=omega), s)
    derivatives = np.zeros((5, 5))
    for k, size in enumerate((1e-4, 1e-7, 1e-10, 1e-4, 1e-6)):
        change = np.zeros(5)
        change[k] = size
        other = state_at(omega=omega)
        shift(other, *change)
        moved(other, s)
        moved(other, path_to_closest(other, end.x, end.y))
        difference = (
            (other.y - end.y) * end.cos_phi - (other.x - end.x) * end.sin_phi,
            other.sin_phi * end.cos_phi - other.cos_phi * end.sin_phi,
            other.omega - end.omega,
            other.z - end.z,
            other.cot - end.cot,
        )
        derivatives[:, k] = np.array(difference) / size
    size = np.diag([0.1, 0.01, 1e-4, 0.2, 0.02])
    random = size @ np.random.default_rng(1).normal(size=(5, 5))
    start = with_covariance(state_at(omega=omega), random @ random.T)
    expected = derivatives @ covariance(start) @ derivatives.T
    moved(start, s)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    assert covariance(start) / scale == pytest.approx(expected / scale, abs=1e-4)


def test_a_hit_updates_the_state_as_the_textbook_says():
    random = np.diag([0.3, 0.01, 1e-4, 0.5, 0.02]) @ np.random.default_rng(2).normal(size=(5, 5))
    state = with_covariance(state_at(), random @ random.T)
    tangent = np.array([state.cos_phi, state.sin_phi])
    normal = np.array([-state.sin_phi, state.cos_phi])
    hit = new_record(MEASUREMENT)
    hit.x, hit.y = np.array([12.0, -5.0]) + 0.2 * normal
    hit.z, hit.xx, hit.xy, hit.yy, hit.zz = 30.4, 0.04, 0.01, 0.09, 0.25
    assert residual(state, path_to_closest(state, hit.x, hit.y), hit) == pytest.approx((0.2, 0.4))

    uu, uw, ww = projected_covariance(state, hit)
    position = np.array([[0.04, 0.01], [0.01, 0.09]])
    assert uu == pytest.approx(normal @ position @ normal)
    assert uw == pytest.approx(-0.7 * normal @ position @ tangent)
    assert ww == pytest.approx(0.25 + 0.49 * tangent @ position @ tangent)

    select = np.eye(5)[[0, 3]]
    before, noise = covariance(state), np.array([[uu, uw], [uw, ww]])
    inverse = np.linalg.inv(select @ before @ select.T + noise)
    gain = before @ select.T @ inverse
    r = np.array([0.2, 0.4])
    old = new_record(STATE)
    copy_state(state, old)
    assert update(state, hit, new_record(GAIN)) == pytest.approx(r @ inverse @ r)
    assert covariance(state) == pytest.approx(before - gain @ select @ before, abs=1e-12)
    u, _, omega, w, cot = gain @ r
    assert (state.omega - old.omega, state.cot - old.cot) == pytest.approx((omega, cot))
    assert state.z - old.z == pytest.approx(w)
    assert np.array([state.x - old.x, state.y - old.y]) @ normal == pytest.approx(u)


def test_scattering_and_energy_loss_of_a_pion():
    """Highland for 1 GeV and 2% of a radiation length at normal incidence, and 1.66 MeV cm^2/g in silicon."""
    state, layer = state_at(omega=BEND, cot=0.0), Material(0.02, BEND)
    scattering = scattering_variance(state, 0.02, layer)
    assert np.sqrt(scattering) == pytest.approx(
        0.0136 * np.hypot(1, 0.1396) * np.sqrt(0.02) * (1 + 0.038 * np.log(0.02)), rel=1e-4
    )
    cross_layer(state, layer, False)
    assert state.phi_phi == state.cot_cot == pytest.approx(scattering)
    assert state.omega / BEND - 1 == pytest.approx(0.02 * 21.8 * 1.66e-3, rel=0.05)
    cross_layer(state, layer, True)
    assert state.omega == pytest.approx(BEND, rel=1e-5)
    untouched = state_at()
    cross_layer(untouched, Material(0.0, BEND), False)
    assert untouched == state_at()


def test_a_layer_between_two_hits_inflates_the_covariance():
    """A deflection half way between two hits displaces the track there by a quarter of their distance."""
    state, layer = state_at(omega=BEND / 2, cot=0.0), Material(0.02, BEND)
    inflate_between(state, 40.0, 40.0, layer)
    assert np.sqrt(state.u_u) == pytest.approx(20 * np.sqrt(scattering_variance(state, 0.02, layer)))
    assert state.u_u == pytest.approx(state.w_w)
