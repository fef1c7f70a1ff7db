"""The fit of one track against the vectorised helix fit and against fits without one of its hits."""

import numpy as np
import pytest
from layered_tracks import FIELD, make, perigees

from mltrack_plugin.following.follow import ARCS, BUFFER, LAST, MAX_HITS, RECORDS, STATE_ROW, TRIAL, new_work
from mltrack_plugin.helix import GEV_PER_TESLA_MM
from mltrack_plugin.kalman.hit_grid import hit_table
from mltrack_plugin.kalman.state import STATE, STEP, chi2_of, move, projected, residual, to_closest
from mltrack_plugin.kalman.track_fit import fit_track, smoothed_state, start_state
from mltrack_plugin.tracking import HitResolution, fit_helices

BEND = GEV_PER_TESLA_MM * FIELD


def fitted(event, rows, thickness=0.0):
    """Rows in order, scratch memory with the fit, chi2 of the hits and of the track."""
    positions = event.hits.positions.astype(float)
    table = hit_table(positions, event.sigmas)
    work, rows, hit_chi2 = new_work(1), np.array(rows), np.zeros(MAX_HITS)
    buffer = work[BUFFER]
    total = fit_track(
        table, rows, len(rows), buffer[STATE_ROW], work[RECORDS], hit_chi2, buffer[ARCS], thickness, BEND
    )
    return table, rows, work, hit_chi2[: len(rows)], total


@pytest.fixture(scope="module")
def event():
    return make(perigees(12, seed=3, eta=2.2, pt=(0.3, 8.0)), seed=4)


def test_chi2_is_that_of_the_helix_fit(event):
    for track in range(12):
        rows = np.flatnonzero(event.owner == track)
        *_, total = fitted(event, rows)
        reference = fit_helices(
            event.hits.positions, rows, [0, len(rows)], HitResolution(*event.sigmas.T), FIELD
        )
        assert total == pytest.approx(reference.chi2[0], rel=0.02, abs=0.05)


@pytest.mark.parametrize("thickness", [0.0, 0.02])
def test_chi2_of_a_hit_is_its_distance_from_the_fit_to_the_others(event, thickness):
    rows = np.flatnonzero(event.owner == 5)
    _, order, _, hit_chi2, _ = fitted(event, rows, thickness)
    for k in (1, 3, len(rows) - 2):
        table, others, work, _, _ = fitted(event, np.delete(order, k), thickness)
        hit, state = table[order[k]], work[BUFFER][TRIAL]
        # The hit behind it: what lies between scatters only at the missing hit, which must not be counted here.
        smoothed_state(work[RECORDS][k], state, work[BUFFER][LAST])
        assert others[k] == order[k + 1]
        move(state, to_closest(state, hit[0], hit[1]), np.zeros(STEP))
        u, w = residual(state, 0.0, hit)
        nn, nt, tt = projected(state, hit)
        distance = chi2_of(u, w, state[8] + nn, state[11] + nt, state[20] + tt)
        if thickness == 0:
            assert hit_chi2[k] == pytest.approx(distance, rel=0.02)
        else:
            # With its own scattering in the fit a hit is allowed to be farther off.
            assert hit_chi2[k] < distance * 1.02


def test_a_displaced_hit_has_the_largest_chi2(event):
    rows = np.flatnonzero(event.owner == 2)
    x = event.hits.x.copy()
    x[rows[4]] += 0.7
    moved = type(
        "Event",
        (),
        {"hits": type(event.hits)(event.hits.hit_id, x, event.hits.y, event.hits.z), "sigmas": event.sigmas},
    )
    _, order, _, hit_chi2, _ = fitted(moved, rows)
    assert order[np.argmax(hit_chi2)] == rows[4]
    assert hit_chi2.max() > 200


def test_hits_are_put_in_the_order_of_the_track(event):
    for track in range(12):
        rows = np.flatnonzero(event.owner == track)
        _, order, *_ = fitted(event, rows)
        assert event.step[order].tolist() == sorted(event.step[rows])


def test_hits_that_determine_no_helix_are_refused():
    table = np.zeros((3, 9))
    table[:, 3] = table[:, 5] = table[:, 6] = 1e-4
    assert not start_state(table, np.arange(3), 3, np.zeros(STATE), np.zeros(3))
