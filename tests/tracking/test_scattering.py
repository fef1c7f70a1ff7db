"""Helix fit with multiple scattering, against tracks that are deflected at every layer."""

import numpy as np
import pytest

from mltrack_plugin.tracking import GEV_PER_TESLA_MM, HitResolution, fit_helices

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
    assert (result.chi2 / result.ndf).mean() < 1.02


def test_ignoring_it_is_worse(toy):
    rng = np.random.default_rng(2)
    truth = toy.draw_helices(rng, 3000, pt=(0.4, 0.6), eta=2)
    hits = scattered_hits(rng, truth, 10, 0.02)
    with_it, without = (fit(hits, 10, thickness) for thickness in (0.02, 0.0))
    spread = [np.quantile(np.abs(r.parameters - truth)[:, 0], 0.68) for r in (with_it, without)]
    assert spread[0] < 0.7 * spread[1]


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
