"""Helix fit with multiple scattering, against tracks that are deflected at every layer."""

import numpy as np
import pytest
from helix_oracle import HitResolution, fit_helices

from mltrack_plugin.helix import GEV_PER_TESLA_MM

FIELD = 2.0
STEP = 60.0
SIGMA = 0.02
RESOLUTION = HitResolution(SIGMA, SIGMA, SIGMA)


def scattered_hits(rng, truth, n_layers, thickness):
    """Hits every 60 mm of transverse path; behind each a random deflection by Highland's formula."""
    d0, z, phi, theta, qop = truth.T.copy()
    x, y = -d0 * np.sin(phi), d0 * np.cos(phi)
    hits = []
    for _ in range(n_layers):
        half = -0.5 * STEP * qop / np.sin(theta) * GEV_PER_TESLA_MM * FIELD
        chord = STEP * np.sin(half) / half
        x, y = x + chord * np.cos(phi + half), y + chord * np.sin(phi + half)
        z = z + STEP / np.tan(theta)
        phi = phi + 2 * half
        hits.append(np.stack([x, y, z], axis=1))
        crossed = thickness / np.maximum(np.sin(theta), np.abs(np.cos(theta)))
        angle = 0.0136 * np.abs(qop) * np.sqrt(crossed) * (1 + 0.038 * np.log(crossed))
        phi = phi + angle / np.sin(theta) * rng.normal(size=len(z))
        theta = theta + angle * rng.normal(size=len(z))
    exact = np.stack(hits, axis=1).reshape(-1, 3)
    return exact + rng.normal(0, SIGMA, exact.shape)


def fit(hits, n_layers, thickness):
    n = len(hits)
    return fit_helices(hits, np.arange(n), np.arange(0, n + 1, n_layers), RESOLUTION, FIELD, thickness)


@pytest.mark.parametrize("pt", [(0.4, 0.6), (5.0, 50.0)])
@pytest.mark.parametrize("n_layers", [3, 10])
def test_pulls_are_standard_normal(toy, pt, n_layers):
    rng = np.random.default_rng(1)
    truth = toy.draw_helices(rng, 5000, pt=pt, eta=2.5)
    result = fit(scattered_hits(rng, truth, n_layers, 0.02), n_layers, 0.02)
    delta = toy.difference(result.parameters, truth)
    pulls = delta / np.sqrt(np.einsum("tii->ti", result.covariance))
    # Standard errors: 0.014 of a mean, 0.010 of a width.
    assert pulls.mean(axis=0) == pytest.approx(0, abs=0.07)
    assert pulls.std(axis=0) == pytest.approx(1, abs=0.06)
    distance = np.einsum("ti,tij,tj->t", delta, np.linalg.inv(result.covariance), delta)
    assert distance.mean() == pytest.approx(5, abs=0.3)
    assert result.chi2.mean() / result.ndf[0] == pytest.approx(1, abs=0.06)
    assert result.chi2.var() == pytest.approx(2 * result.ndf[0], rel=0.25)


def test_ignoring_it_is_worse(toy):
    rng = np.random.default_rng(2)
    truth = toy.draw_helices(rng, 3000, pt=(0.4, 0.6), eta=2)
    hits = scattered_hits(rng, truth, 10, 0.02)
    with_it, without = (fit(hits, 10, thickness) for thickness in (0.02, 0.0))
    better, worse = (
        np.quantile(np.abs(r.parameters - truth)[:, :2], 0.68, axis=0) for r in (with_it, without)
    )
    assert (better < 0.7 * worse).all()


def test_hit_chi2_adds_up_and_points_at_the_outlier(toy):
    rng = np.random.default_rng(7)
    truth = toy.draw_helices(rng, 200, pt=(1, 10), eta=1)
    hits = scattered_hits(rng, truth, 10, 0.02)
    hits[5::10, 2] += 5.0
    result = fit(hits, 10, 0.02)
    shares = result.hit_chi2.reshape(-1, 10)
    assert shares.sum(axis=1) == pytest.approx(result.chi2)
    # A hit is judged by the hits before it, so the next one may look as bad.
    assert np.isin(shares.argmax(axis=1), [5, 6]).mean() > 0.95


def test_tracks_do_not_influence_each_other(toy):
    rng = np.random.default_rng(8)
    good = scattered_hits(rng, toy.draw_helices(rng, 20, pt=(0.5, 5), eta=2), 6, 0.02)
    junk = rng.uniform(-1000, 1000, (60, 3))
    junk[:6] = [[1, 0, 0], [0, 1, 900], [-1, 0, -900], [0, -1.001, 5], [1, 1, 0], [2, 1, 3]]
    alone, together = fit(good, 6, 0.02), fit(np.concatenate([good, junk]), 6, 0.02)
    assert together.parameters[:20] == pytest.approx(alone.parameters, rel=1e-7, abs=1e-9)
    assert together.chi2[:20] == pytest.approx(alone.chi2, rel=1e-6)


def test_very_long_tracks_are_fitted_too(toy):
    truth = toy.draw_helices(np.random.default_rng(9), 5, pt=(5, 10), eta=1)
    hits = toy.smear(np.random.default_rng(10), toy.draw_hits(truth, 100), SIGMA, SIGMA, SIGMA)
    assert (fit(hits, 100, 0.001).ndf == 195).all()


def test_stiff_tracks_do_not_notice(toy):
    truth = toy.draw_helices(np.random.default_rng(3), 200, pt=(1e5, 1e6), eta=2)
    hits = toy.smear(np.random.default_rng(4), toy.draw_hits(truth, 8), SIGMA, SIGMA, SIGMA)
    with_it, without = (fit(hits, 8, thickness) for thickness in (0.02, 0.0))
    errors = np.sqrt(np.einsum("tii->ti", without.covariance))
    assert (with_it.parameters - without.parameters) / errors == pytest.approx(0, abs=0.1)
    assert with_it.covariance == pytest.approx(without.covariance, rel=0.05)


def test_the_order_of_hits_does_not_matter(toy):
    rng = np.random.default_rng(5)
    truth = toy.draw_helices(rng, 30, pt=(0.5, 5), eta=2)
    hits = scattered_hits(rng, truth, 6, 0.02)
    shuffled = np.concatenate([6 * track + rng.permutation(6) for track in range(30)])
    one = fit(hits, 6, 0.02)
    other = fit_helices(hits, shuffled, np.arange(0, 181, 6), RESOLUTION, FIELD, 0.02)
    assert other.parameters == pytest.approx(one.parameters, rel=1e-6, abs=1e-9)
    assert other.covariance == pytest.approx(one.covariance, rel=1e-5, abs=1e-15)
    assert other.hit_chi2 == pytest.approx(one.hit_chi2[shuffled], rel=1e-4, abs=1e-6)


def test_random_hits_never_break_the_fit():
    rng = np.random.default_rng(6)
    counts = rng.integers(1, 40, 300)
    positions = rng.uniform(-1000, 1000, (counts.sum(), 3))
    offsets = np.concatenate([[0], np.cumsum(counts)])
    result = fit_helices(positions, np.arange(len(positions)), offsets, RESOLUTION, FIELD, 0.02)
    fitted = result.ndf > 0
    assert fitted.mean() > 0.5
    assert np.isfinite(result.covariance[fitted]).all()
    assert (np.einsum("tii->ti", result.covariance[fitted]) > 0).all()


def test_negative_material_is_refused():
    with pytest.raises(ValueError, match="thickness"):
        fit_helices(np.zeros((0, 3)), np.zeros(0, dtype=int), [0], RESOLUTION, FIELD, -0.1)
