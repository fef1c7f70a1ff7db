"""Helix fit: exact helices are restored, errors are what the covariance says, bad input is not fitted."""

import numpy as np
import pytest
from helix_oracle import HitResolution, fit_helices
from hypothesis import given, settings
from hypothesis import strategies as st

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.helix import helix_positions

GOOD = HitResolution(rphi=0.01, r=0.0, z=0.05)


@pytest.mark.parametrize("hits_per_track", [3, 4, 10])
def test_exact_helices_are_restored(toy, hits_per_track):
    truth = toy.draw_helices(np.random.default_rng(1), 2000)
    result = toy.fit(toy.draw_hits(truth, hits_per_track), hits_per_track, GOOD)
    assert toy.difference(result.parameters, truth) == pytest.approx(0, abs=1e-9)
    assert result.parameters[:, 4] == pytest.approx(truth[:, 4], rel=1e-7)
    assert result.chi2.max() < 1e-9
    assert (result.ndf == 2 * hits_per_track - 5).all()


@pytest.mark.parametrize(
    ("rphi", "r", "z"), [(0.01, 0, 0.05), (0.05, 0, 1.0), (0.02, 0.3, 0), (0.1, 0.1, 0.1)]
)
@pytest.mark.parametrize("hits_per_track", [3, 10])
def test_pulls_are_standard_normal(toy, rphi, r, z, hits_per_track):
    rng = np.random.default_rng(2)
    truth = toy.draw_helices(rng, 10_000)
    hits = toy.smear(rng, toy.draw_hits(truth, hits_per_track), rphi, r, z)
    result = toy.fit(hits, hits_per_track, HitResolution(rphi, r, z))
    errors = np.sqrt(np.einsum("tii->ti", result.covariance))
    pulls = toy.difference(result.parameters, truth) / errors
    # Standard errors: 0.01 of a mean, 0.007 of a width.
    assert pulls.mean(axis=0) == pytest.approx(0, abs=0.05)
    assert pulls.std(axis=0) == pytest.approx(1, abs=0.035)
    assert result.chi2.mean() / result.ndf[0] == pytest.approx(1, abs=0.06)


def test_correlations_are_right(toy):
    """(difference)^T covariance^-1 (difference) is chi2 with five degrees of freedom."""
    rng = np.random.default_rng(3)
    truth = toy.draw_helices(rng, 10_000, pt=(0.3, 20))
    hits = toy.smear(rng, toy.draw_hits(truth, 8), 0.02, 0.02, 0.05)
    result = toy.fit(hits, 8, HitResolution(0.02, 0.02, 0.05))
    delta = toy.difference(result.parameters, truth)
    distance = np.einsum("ti,tij,tj->t", delta, np.linalg.inv(result.covariance), delta)
    assert distance.mean() == pytest.approx(5, abs=0.2)
    assert distance.var() == pytest.approx(10, rel=0.15)


def test_hit_chi2_adds_up_and_points_at_the_outlier(toy):
    truth = toy.draw_helices(np.random.default_rng(4), 50, pt=(1, 10))
    hits = toy.draw_hits(truth, 10)
    hits[4::10, 2] += 1.0
    result = toy.fit(hits, 10, GOOD)
    shares = result.hit_chi2.reshape(50, 10)
    assert shares.sum(axis=1) == pytest.approx(result.chi2)
    assert (shares.argmax(axis=1) == 4).all()


@settings(max_examples=60, deadline=None)
@given(
    pt=st.floats(0.15, 1000),
    eta=st.floats(-4, 4),
    phi=st.floats(-3.14, 3.14),
    d0=st.floats(-20, 20),
    z0=st.floats(-300, 300),
    charge=st.sampled_from([-1, 1]),
    field=st.sampled_from([2.0, -2.0, 3.8, 0.5]),
    n=st.integers(3, 15),
)
def test_any_exact_helix_is_restored(pt, eta, phi, d0, z0, charge, field, n):
    theta = 2 * np.arctan(np.exp(-eta))
    truth = np.array([[d0, z0, phi, theta, charge * np.sin(theta) / pt]])
    reach = min(1000.0, 2.8 * pt / (0.299792458e-3 * abs(field)))
    hits = helix_positions(np.repeat(truth, n, axis=0), field, np.linspace(0.05, 1, n) * reach)
    result = fit_helices(hits, np.arange(n), [0, n], HitResolution(0.05, 0.05, 0.05), field)
    assert result.parameters[0, :4] == pytest.approx(truth[0, :4], rel=1e-6, abs=1e-6)
    assert result.parameters[0, 4] == pytest.approx(truth[0, 4], rel=1e-6, abs=1e-9)


def test_a_rotated_event_gives_rotated_tracks(toy):
    rng = np.random.default_rng(5)
    hits = toy.smear(rng, toy.draw_hits(toy.draw_helices(rng, 100), 8), 0.05, 0, 0.1)
    angle = 1.0
    cos, sin = np.cos(angle), np.sin(angle)
    turned = hits @ np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1.0]])
    before, after = (toy.fit(x, 8, HitResolution(0.05, 0, 0.1)) for x in (hits, turned))
    expected = before.parameters + np.array([0, 0, angle, 0, 0])
    assert toy.difference(after.parameters, expected) == pytest.approx(0, abs=1e-7)
    assert after.chi2 == pytest.approx(before.chi2, rel=1e-5)


def test_mirrored_field_flips_the_charge_only(toy):
    hits = toy.draw_hits(toy.draw_helices(np.random.default_rng(6), 100), 8)
    plus, minus = toy.fit(hits, 8, GOOD, field=2.0), toy.fit(hits, 8, GOOD, field=-2.0)
    assert minus.parameters == pytest.approx(plus.parameters * [1, 1, 1, 1, -1])


def test_tracks_do_not_influence_each_other(toy):
    """Jagged input in one call gives what each track gives alone; hits may be in any order."""
    rng = np.random.default_rng(7)
    truth = toy.draw_helices(rng, 40)
    counts = rng.integers(3, 15, 40)
    pieces = [toy.smear(rng, toy.draw_hits(truth[i : i + 1], n), 0.1, 0, 0.1) for i, n in enumerate(counts)]
    resolution = HitResolution(0.1, 0, 0.1)
    order = rng.permutation(counts.sum())
    positions = np.concatenate(pieces)[order]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    together = fit_helices(positions, np.argsort(order), offsets, resolution, 2.0)
    for i, piece in enumerate(pieces):
        alone = fit_helices(piece, np.arange(counts[i]), [0, counts[i]], resolution, 2.0)
        assert together.parameters[i] == pytest.approx(alone.parameters[0], rel=1e-9, abs=1e-12)
        assert together.chi2[i] == pytest.approx(alone.chi2[0], rel=1e-9, abs=1e-12)


def test_collinear_hits_give_a_straight_track():
    hits = np.array([[10.0, 10, 5], [20, 20, 10], [30, 30, 15], [40, 40, 20]])
    result = fit_helices(hits, np.arange(4), [0, 4], GOOD, 2.0)
    d0, z0, phi, theta, qop = result.parameters[0]
    assert (d0, z0, qop) == pytest.approx((0, 0, 0), abs=1e-9)
    assert phi == pytest.approx(np.pi / 4)
    assert theta == pytest.approx(np.arctan2(np.sqrt(200), 5))
    assert np.isfinite(result.covariance).all()


def test_momentum_points_away_from_the_axis():
    inward = np.array([[-100.0, 1, 0], [-50, 1, 0], [-10, 1, 0]])
    result = fit_helices(inward, np.arange(3), [0, 3], GOOD, 2.0)
    assert abs(result.parameters[0, 2]) == pytest.approx(np.pi, abs=1e-6)


@pytest.mark.parametrize(
    "hits",
    [
        [[10.0, 0, 0]],
        [[10.0, 0, 0], [20, 0, 0]],
        [[10.0, 0, 0], [20, 0, 0], [20, 0, 0]],
        [[10.0, 0, 0], [10, 0, 0], [10, 0, 0]],
        [[0.0, 0, 1], [0, 0, 2], [0, 0, 3]],
        [[10.0, 0, 0], [0, 10, 0], [-10, 0, 0], [0, -10, 0]],
    ],
    ids=["one hit", "two hits", "two distinct hits", "one place", "on the axis", "circle around the axis"],
)
def test_hits_that_fix_no_helix_are_not_fitted(hits):
    good = helix_positions(np.repeat([[0.1, 1.0, 0.5, 1.0, 0.5]], 5, axis=0), 2.0, np.arange(1, 6) * 50.0)
    positions = np.concatenate([hits, good])
    result = fit_helices(positions, np.arange(len(positions)), [0, len(hits), len(positions)], GOOD, 2.0)
    assert np.isnan(result.parameters[0]).all()
    assert np.isnan(result.covariance[0]).all()
    assert np.isnan(result.chi2[0])
    assert np.isnan(result.hit_chi2[: len(hits)]).all()
    assert result.ndf.tolist() == [0, 5]
    assert result.parameters[1] == pytest.approx([0.1, 1.0, 0.5, 1.0, 0.5], rel=1e-6)


def test_random_hits_never_break_the_fit():
    """Wrong candidates of any size: no warning, no exception, finite or NaN row by row."""
    rng = np.random.default_rng(8)
    counts = rng.integers(1, 60, 500)
    positions = rng.uniform(-1000, 1000, (counts.sum(), 3))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    result = fit_helices(positions, np.arange(len(positions)), offsets, GOOD, 2.0)
    fitted = result.ndf > 0
    assert np.isfinite(result.parameters[fitted]).all()
    assert np.isnan(result.parameters[~fitted]).all()
    assert (np.einsum("tii->ti", result.covariance[fitted]) > 0).all()


def test_no_tracks():
    result = fit_helices(np.zeros((0, 3)), np.zeros(0, dtype=int), [0], GOOD, 2.0)
    assert result.parameters.shape == (0, 5)
    assert result.covariance.shape == (0, 5, 5)


def test_single_precision_hits_are_fitted_in_double(toy):
    truth = toy.draw_helices(np.random.default_rng(9), 500, pt=(0.5, 10), eta=2)
    exact = toy.draw_hits(truth, 10)
    result = toy.fit(exact.astype(np.float32), 10, HitResolution(0.05, 0.05, 0.05))
    assert result.parameters.dtype == np.float64
    assert result.parameters[:, 4] == pytest.approx(truth[:, 4], rel=1e-4)


def test_resolution_per_hit_weighs_the_hits(toy):
    """A hit that is off by 5 mm does no harm once its resolution says so."""
    truth = toy.draw_helices(np.random.default_rng(10), 100, pt=(1, 10), eta=2)
    hits = toy.draw_hits(truth, 10)
    hits[3::10, 2] += 5.0
    sigma_z = np.full(len(hits), 0.05)
    sigma_z[3::10] = 1000.0
    n = len(hits)
    weighted = fit_helices(hits, np.arange(n), np.arange(0, n + 1, 10), HitResolution(0.01, 0, sigma_z), 2.0)
    blind = toy.fit(hits, 10, GOOD)
    assert np.abs(weighted.parameters - truth)[:, 1].max() < 0.01
    assert np.abs(blind.parameters - truth)[:, 1].min() > 0.1


@pytest.mark.parametrize("field", [0.0, float("nan"), float("inf")])
def test_no_field_no_fit(field):
    with pytest.raises(ValueError, match="solenoid field"):
        fit_helices(np.zeros((0, 3)), np.zeros(0, dtype=int), [0], GOOD, field)


@pytest.mark.parametrize(
    "resolution",
    [
        HitResolution(0.0, 0.1, 0.1),
        HitResolution(0.1, 0.0, 0.0),
        HitResolution(-0.1, 0.1, 0.1),
        HitResolution(0.1, 0.1, float("nan")),
        HitResolution(0.1, np.full(7, 0.1), 0.1),
    ],
)
def test_resolutions_that_make_no_sense_are_refused(resolution):
    hits = np.array([[10.0, 0, 0], [20, 1, 0], [30, 3, 0]])
    with pytest.raises(EventDataError, match="resolution"):
        fit_helices(hits, np.arange(3), [0, 3], resolution, 2.0)


def test_hits_that_are_not_one_particles_do_not_keep_the_others_waiting(monkeypatch):
    """Mixed-up hits have no minimum to find; the fit gives up on them and leaves true tracks as they are."""
    import helix_oracle.helix_fit as module

    rng = np.random.default_rng(4)
    radius = np.linspace(50, 900, 9)
    phi = rng.uniform(-3, 3, 12)[:, None] + 2e-4 * radius * rng.choice([-1, 1], (12, 1))
    points = np.stack(
        [radius * np.cos(phi), radius * np.sin(phi), radius * rng.normal(0, 1, (12, 1))], axis=2
    )
    points[6:] = rng.uniform(-800, 800, points[6:].shape)
    arguments = (np.arange(108), np.arange(0, 109, 9), HitResolution(0.02, 0.02, 0.02), 2.0)
    calls = []
    linearise = module.linearise
    monkeypatch.setattr(module, "linearise", lambda *a: calls.append(a) or linearise(*a))
    fit = fit_helices(points.reshape(-1, 3), *arguments)
    assert len(calls) <= 9
    assert (fit.chi2[6:] > 100 * fit.ndf[6:]).all()
    alone = fit_helices(points[:6].reshape(-1, 3), np.arange(54), np.arange(0, 55, 9), *arguments[2:])
    assert np.array_equal(alone.parameters, fit.parameters[:6])
