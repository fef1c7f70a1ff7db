"""The mixture of tracks: planes of hits, clean events from bad clusters, one hit per surface, calibrated shares."""

import numpy as np
import pytest

from mltrack_plugin.detectors.surfaces import SurfacesConfig
from mltrack_plugin.evaluation.calibration import expected_calibration_error
from mltrack_plugin.evaluation.matching import match_tracks
from mltrack_plugin.evaluation.scores import trackml_score
from mltrack_plugin.mixture.mixture import assigned, fit_mixture, shared
from mltrack_plugin.mixture.planes import Smearing, in_planes
from mltrack_plugin.simulation.datasets import make_dataset

REDVID = SurfacesConfig(
    discs=(*range(-10, -1), *range(2, 11)),
    barrels=(4, 5, 6, 7),
    barrel_z=6.5,
    barrel_distance=0.15,
    disc_distance=0.5,
)
SMEARING = Smearing(r=0.015, phi=0.03, z=0.1)


def planes(positions, helical, smearing=SMEARING):
    return in_planes(positions, REDVID, smearing, helical, 2.6, 0.4)


def events(name, n=4, **settings):
    dataset = make_dataset(name, settings)
    return [dataset.event(i, seed=3, split="validation") for i in range(n)]


def damaged(particle, rng):
    """Two particles merged, two cut, hits lost and swapped."""
    labels = particle.astype(np.int64) - 1
    labels[labels == 1] = 0
    cut = np.flatnonzero(labels == 2)
    labels[cut[: len(cut) // 2]] = labels.max() + 1
    some = rng.random(len(labels))
    labels[some < 0.1] = -1
    return np.where((some > 0.1) & (some < 0.15), np.roll(labels, 1), labels)


@pytest.mark.parametrize("helical", [False, True])
def test_hits_of_a_track_agree_within_their_resolution(helical):
    name = "redvid-10-50-helical" if helical else "redvid-10-50-linear"
    pulls = []
    for event in events(name):
        hits = planes(event.hits.positions, helical)
        assert sorted(hits.row.tolist()) == list(range(len(event.hits)))
        assert (np.diff(hits.layer) >= 0).all()
        assert (np.diff(hits.layer[hits.first]) == 1).all()
        particle = event.truth_links.particle_id[hits.row]
        for i, own in enumerate(event.particles.particle_id):
            mine = particle == own
            plane = int(event.particles.q[i] < 0)
            eta = np.arcsinh(event.particles.pz[i] / event.particles.pt[i])
            pulls.append((hits.eta[mine] - eta) / hits.eta_sigma[mine])
            if helical:
                length = np.log(np.hypot(event.particles.pt[i], event.particles.pz[i]))
                pulls.append((hits.second[plane, mine] - length) / hits.second_sigma[plane, mine])
    width = np.concatenate(pulls)
    # Half of the central 68%: logarithms of smeared angles have tails.
    assert 0.5 * np.diff(np.percentile(width, [16, 84]))[0] == pytest.approx(1.0, abs=0.06)
    assert np.mean(np.abs(width) < 5) > 0.99


@pytest.mark.parametrize(("name", "least"), [("redvid-10-50-linear", 0.985), ("redvid-10-50-helical", 0.96)])
def test_damaged_clusters_become_tracks(name, least):
    rng = np.random.default_rng(1)
    right, total, shares, true = 0.0, 0.0, [], []
    for event in events(name):
        particle = event.truth_links.particle_id
        hits = planes(event.hits.positions, "helical" in name)
        labels, membership = fit_mixture(hits, damaged(particle, rng))
        matching = match_tracks(labels, particle)
        score = trackml_score(matching)
        right, total = right + score.numerator, total + score.denominator
        assert ((membership >= 0.5) == (labels >= 0)).all()
        # One hit per surface.
        layer = np.empty(len(labels), dtype=int)
        layer[hits.row] = hits.layer
        pairs = np.stack([labels, layer], 1)[labels >= 0]
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        own = np.zeros(labels.max() + 1, dtype=np.uint64)
        own[matching.track_labels] = matching.particle_ids[matching.track_particle]
        shares.append(membership[labels >= 0])
        true.append((particle == own[labels])[labels >= 0])
    assert right / total > least
    assert expected_calibration_error(np.concatenate(shares), np.concatenate(true)) < 0.03


def test_tracks_are_found_without_any_cluster():
    (event,) = events("redvid-10-50-helical", n=1, tracks=[12, 12])
    particle = event.truth_links.particle_id
    labels, _ = fit_mixture(planes(event.hits.positions, True), np.full(len(particle), -1))
    assert trackml_score(match_tracks(labels, particle)).value > 0.95


def test_noise_makes_no_tracks_and_order_does_not_matter():
    (event,) = events("redvid-10-50-linear", n=1, tracks=[12, 12], multiplicity="uniform", noise=0.3)
    particle = event.truth_links.particle_id
    labels = particle.astype(np.int64) - 1
    found, _ = fit_mixture(planes(event.hits.positions, False), labels)
    assert len(np.unique(found[found >= 0])) == 12
    assert np.mean(found[particle == 0] < 0) > 0.9
    order = np.random.default_rng(2).permutation(len(labels))
    again, _ = fit_mixture(planes(event.hits.positions[order], False), labels[order])
    groups = {frozenset(np.flatnonzero(found == k).tolist()) for k in np.unique(found[found >= 0])}
    turned = {frozenset(order[again == k].tolist()) for k in np.unique(again[again >= 0])}
    assert groups == turned


def test_events_without_hits_or_tracks():
    none = np.zeros((0, 3), dtype=np.float32)
    assert len(fit_mixture(planes(none, True), np.zeros(0, dtype=int))[0]) == 0
    far = np.array([[1.0, 0.0, 0.5]] * 5, dtype=np.float32)
    labels, membership = fit_mixture(planes(far, True), np.zeros(5, dtype=int))
    assert (labels == -1).all()
    assert (membership == 0).all()
    three = np.array([[1.0, 0.0, 3.0], [0.0, 2.0, 4.0], [-2.0, 0.0, 5.0]], dtype=np.float32)
    assert (fit_mixture(planes(three, False), np.zeros(3, dtype=int))[0] == -1).all()


def test_shares_are_at_most_one_per_hit_and_per_track_and_surface():
    (event,) = events("redvid-10-50-linear", n=1)
    hits = planes(event.hits.positions, False)
    likelihood = np.random.default_rng(1).random((7, len(hits.row)))
    weight = shared(hits, likelihood, 1e-3)
    assert weight.min() >= 0
    assert weight.sum(axis=0).max() <= 1 + 1e-9
    assert np.add.reduceat(weight, hits.first, axis=1).max() <= 1 + 1e-9
    mine = assigned(hits, weight)
    assert mine.sum(axis=0).max() <= 1
    assert (weight[mine] > 0.3).all()
