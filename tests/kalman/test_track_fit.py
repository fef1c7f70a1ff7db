"""The fit of one track against the vectorised helix fit and against fits without one of its hits."""

import numpy as np
import pytest
from helix_oracle import HitResolution, fit_helices
from layered_tracks import FIELD, make, perigees

from mltrack_plugin.kalman.hit_grid import measurements
from mltrack_plugin.kalman.material import material_of
from mltrack_plugin.kalman.start import start_state
from mltrack_plugin.kalman.state import (
    MEASUREMENT,
    STATE,
    TRANSPORT,
    chi2_of,
    new_record,
    path_to_closest,
    propagate,
    residual,
    residual_covariance,
)
from mltrack_plugin.kalman.track_fit import fit_memory, fit_track, smoothed_state


def fitted(event, rows, thickness=0.0):
    """Hits, rows in order, the fit, chi2 of the hits and of the track."""
    hits = measurements(event.hits.positions.astype(float), event.sigmas)
    fit, rows, hit_chi2 = fit_memory(len(rows)), np.array(rows), np.zeros(len(rows))
    total = fit_track(hits, rows, len(rows), fit, hit_chi2, material_of(thickness, FIELD))
    return hits, rows, fit, hit_chi2, total


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
        hits, others, fit, _, _ = fitted(event, np.delete(order, k), thickness)
        hit, state = hits[order[k]], new_record(STATE)
        # The hit behind it: what lies between scatters only at the missing hit, which must not be counted here.
        smoothed_state(fit, k, state)
        assert others[k] == order[k + 1]
        propagate(state, path_to_closest(state, hit["x"], hit["y"]), new_record(TRANSPORT))
        u, w = residual(state, 0.0, hit)
        distance = chi2_of(u, w, *residual_covariance(state, hit))
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
    hits = np.zeros(3, MEASUREMENT)
    for name in ("xx", "yy", "zz"):
        hits[name] = 1e-4
    assert not start_state(hits, np.arange(3), 3, new_record(STATE), np.zeros(3))
