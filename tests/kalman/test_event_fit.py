"""The Kalman fit: exact helices, the helix fit as a reference, pulls, and what cannot be fitted."""

import numpy as np
import pytest
from helix_oracle import fit_helices
from helix_oracle.hit_model import HitResolution
from layered_tracks import FIELD, crossings, make, perigees

from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.kalman.event_fit import fit_tracks

NAMES = ("d0", "z0", "phi", "theta", "qop")


def candidates(event):
    return Tracks.from_candidates(ProtoTracks.from_labels(event.owner))


def true_parameters(event, tracks, parameters):
    return parameters[event.owner[tracks.hit_indices[tracks.offsets[:-1]]]]


@pytest.fixture(scope="module")
def parameters():
    """300 tracks of six or more hits, every third displaced by up to 10 mm."""
    made = perigees(700, seed=1, eta=2.3)
    made[::3, 0] = np.random.default_rng(2).uniform(-10, 10, len(made[::3]))
    return np.array([p for p in made if len(crossings(p)[0]) >= 6][:300])


def test_exact_hits_give_the_parameters_of_the_helix(parameters):
    event = make(parameters[:40], smear=0.0)
    tracks = candidates(event)
    fit = fit_tracks(event.hits, tracks, event.sigmas, FIELD, 0.0)
    # Hits are kept in single precision.
    expected = true_parameters(event, tracks, parameters)
    scale = np.sqrt(np.einsum("tii->ti", fit.covariance))
    assert np.abs((fit.parameters - expected) / scale).max() < 0.05
    assert fit.chi2.max() < 0.05
    assert (fit.ndf == 2 * np.diff(tracks.offsets) - 5).all()


def test_without_material_it_is_the_helix_fit(parameters):
    event = make(parameters, seed=3)
    tracks = candidates(event)
    fit = fit_tracks(event.hits, tracks, event.sigmas, FIELD, 0.0)
    reference = fit_helices(
        event.hits.positions, tracks.hit_indices, tracks.offsets, HitResolution(*event.sigmas.T), FIELD
    )
    errors = np.sqrt(np.einsum("tii->ti", reference.covariance))
    # The filter starts with a finite covariance and is not iterated.
    assert np.abs((fit.parameters - reference.parameters) / errors).max() < 0.15
    assert fit.chi2 == pytest.approx(reference.chi2, rel=0.02, abs=0.05)
    assert np.sqrt(np.einsum("tii->ti", fit.covariance)) == pytest.approx(errors, rel=0.15)


def test_pulls_have_unit_width_for_prompt_and_displaced_tracks(parameters):
    event = make(parameters, seed=4)
    tracks = candidates(event)
    fit = fit_tracks(event.hits, tracks, event.sigmas, FIELD, 0.0)
    errors = np.sqrt(np.einsum("tii->ti", fit.covariance))
    pulls = (fit.parameters - true_parameters(event, tracks, parameters)) / errors
    # 300 tracks: the width of a unit Gaussian is known to 4%, its mean to 6%.
    assert np.abs(pulls.std(axis=0) - 1).max() < 0.16
    assert np.abs(pulls.mean(axis=0)).max() < 0.24


def test_material_widens_the_covariance(parameters):
    event = make(parameters[:20], seed=5)
    tracks = candidates(event)
    thin, thick = (fit_tracks(event.hits, tracks, event.sigmas, FIELD, t) for t in (0.0, 0.05))
    for k, name in enumerate(NAMES):
        assert (thick.covariance[:, k, k] > thin.covariance[:, k, k]).all(), name


def test_tracks_that_are_no_helix_are_nan():
    hits = Hits(
        np.arange(5),
        [30.0, 60.0, 90.0, 40.0, 80.0],
        [0.0, 1.0, 2.0, 5.0, 9.0],
        np.zeros(5),
        volume_id=np.ones(5, dtype=np.int32),
        layer_id=np.arange(5),
    )
    tracks = Tracks.from_candidates(ProtoTracks.from_labels(np.array([0, 0, 0, 1, 1])))
    sigmas = np.tile([0.1, 0.0, 0.1], (5, 1))
    fit = fit_tracks(hits, tracks, sigmas, FIELD, 0.0)
    assert np.isfinite(fit.parameters[0]).all()
    assert np.isnan(fit.parameters[1]).all()
    assert fit.ndf.tolist() == [1, 0]
    assert np.isnan(fit.hit_chi2).tolist() == [False] * 3 + [True] * 2
    none = tracks.select(np.zeros(2, dtype=bool))
    assert fit_tracks(hits, none, sigmas, FIELD, 0.0).parameters.shape == (0, 5)


def test_long_tracks_are_fitted_whole():
    event = make(perigees(3, seed=6, eta=0.4), seed=6)
    rows = np.concatenate([np.flatnonzero(event.owner == 0)] * 12)
    columns = {name: getattr(event.hits, name)[rows] for name in ("x", "y", "z", "volume_id", "layer_id")}
    many = Hits(hit_id=np.arange(len(rows)), **columns)
    tracks = Tracks.from_candidates(ProtoTracks.from_labels(np.zeros(len(rows), dtype=np.int64)))
    assert len(rows) > 64
    assert np.isfinite(fit_tracks(many, tracks, event.sigmas[rows], FIELD, 0.0).parameters).all()


def test_with_material_it_is_the_helix_fit_within_its_errors():
    """Stiff enough that they lose little energy, soft enough that scattering decides."""
    made = np.array([p for p in perigees(500, seed=7, eta=2.0, pt=(0.7, 3.0)) if len(crossings(p)[0]) >= 6])
    event = make(made[:250], seed=8)
    tracks = candidates(event)
    fit = fit_tracks(event.hits, tracks, event.sigmas, FIELD, 0.02)
    reference = fit_helices(
        event.hits.positions, tracks.hit_indices, tracks.offsets, HitResolution(*event.sigmas.T), FIELD, 0.02
    )
    errors = np.sqrt(np.einsum("tii->ti", reference.covariance))
    difference = (fit.parameters - reference.parameters) / errors
    assert (np.quantile(np.abs(difference), 0.68, axis=0) < 0.4).all()
    ratio = np.sqrt(np.einsum("tii->ti", fit.covariance)) / errors
    assert np.median(ratio, axis=0) == pytest.approx(1, abs=0.1)


def test_random_hits_never_break_the_fit():
    """Wrong candidates of any size: finite or NaN row by row, and a covariance that is one."""
    rng = np.random.default_rng(8)
    counts = rng.integers(1, 40, 300)
    n = int(counts.sum())
    hits = Hits(np.arange(n), *rng.uniform(-1000, 1000, (3, n)))
    group = ProtoTracks.from_labels(np.repeat(np.arange(300), counts))
    fit = fit_tracks(hits, Tracks.from_candidates(group), np.full((n, 3), 0.05), FIELD, 0.025)
    fitted = fit.ndf > 0
    assert fitted.mean() > 0.5
    assert np.isfinite(fit.parameters[fitted]).all()
    assert np.isnan(fit.parameters[~fitted]).all()
    assert (np.einsum("tii->ti", fit.covariance[fitted]) > 0).all()
