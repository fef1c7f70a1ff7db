"""The REDVID protocol: published counts, exact geometry, determinism."""

import numpy as np
import pytest

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.settings import validated
from mltrack_plugin.simulation.redvid import (
    BARREL_R,
    LONG_DISC_Z,
    SHORT_DISC_Z,
    RedvidConfig,
    redvid_event,
    sample_multiplicity,
    simulate_redvid,
)

EXACT = {"sigma_r": 0.0, "sigma_theta": 0.0, "sigma_z": 0.0}


def test_published_hit_and_track_counts():
    config = RedvidConfig()
    rng = np.random.default_rng(1)
    events = [simulate_redvid(config, rng) for _ in range(400)]
    per_track = np.concatenate([np.bincount(e.track, minlength=len(e.parameters)) for e in events])
    tracks = np.array([sample_multiplicity(config, rng) for _ in range(10_000)])
    # Published: 7.98 +- 1.90 hits per track, 4 to 9; 43.7 +- 5.8 tracks; 348 hits per event.
    assert per_track.mean() == pytest.approx(7.98, abs=0.05)
    assert per_track.std() == pytest.approx(1.90, abs=0.05)
    assert (per_track.min(), per_track.max()) == (4, 9)
    assert tracks.mean() == pytest.approx(43.7, abs=0.3)
    assert tracks.std() == pytest.approx(5.8, abs=0.2)
    assert np.mean([len(e.r) for e in events]) == pytest.approx(348, abs=10)


@pytest.mark.parametrize("track_type", ["linear", "helical"])
def test_without_noise_hits_lie_on_layers_and_tracks(track_type):
    config = RedvidConfig(track_type=track_type, free_start=True, **EXACT)
    event = simulate_redvid(config, np.random.default_rng(2))
    distance = np.minimum(
        np.abs(np.abs(event.z)[:, None] - np.array(SHORT_DISC_Z + LONG_DISC_Z)).min(axis=1),
        np.abs(event.r[:, None] - np.array(BARREL_R)).min(axis=1),
    )
    assert distance.max() < 1e-9
    first, second, third = event.parameters[event.track].T
    start = event.theta_0[event.track]
    if track_type == "linear":
        t, radial, axial, turned = np.abs(event.z), second, third, np.zeros(len(event.z))
    else:
        t, radial, axial = event.r / first, first, second
        turned = third * t
    np.testing.assert_allclose(event.r, radial * t, rtol=1e-9)
    np.testing.assert_allclose(event.z, axial * t, rtol=1e-9, atol=1e-9)
    difference = event.theta - start - turned
    np.testing.assert_allclose(np.cos(difference), 1.0, atol=1e-9)


def test_resolution_and_noise_fraction():
    config = RedvidConfig(tracks=(50, 50), noise=0.15, sigma_r=0.02, sigma_theta=0.0, sigma_z=0.0)
    rng = np.random.default_rng(3)
    events = [simulate_redvid(config, rng) for _ in range(50)]
    noise = sum((e.track < 0).sum() for e in events) / sum((e.track >= 0).sum() for e in events)
    assert noise == pytest.approx(0.15, abs=0.002)
    residual = []
    for e in events:
        barrel = (e.layer >= 18) & (e.track >= 0)
        residual.append(e.r[barrel] - np.array(BARREL_R)[e.layer[barrel] - 18])
    assert np.concatenate(residual).std() == pytest.approx(0.02, rel=0.05)


def test_last_layers_can_be_chosen_and_leave_the_default_as_it_was():
    config = RedvidConfig(track_type="helical", last_layers=("long+",), tracks=(20, 20))
    event = simulate_redvid(config, np.random.default_rng(1))
    assert ((event.layer >= 9) & (event.layer < 18)).all()
    assert np.bincount(event.layer, minlength=22)[[9, 17]].tolist() == [20, 20]
    every = RedvidConfig(last_layers=("short+", "short-", "long+", "long-", "barrel"))
    one, two = (simulate_redvid(c, np.random.default_rng(2)) for c in (every, RedvidConfig()))
    np.testing.assert_array_equal(one.z, two.z)


def test_uniform_multiplicity_covers_the_range():
    config = RedvidConfig(tracks=(3, 5), multiplicity="uniform")
    rng = np.random.default_rng(4)
    assert {sample_multiplicity(config, rng) for _ in range(100)} == {3, 4, 5}


def test_published_multiplicity_stays_in_range():
    rng = np.random.default_rng(5)
    counts = [sample_multiplicity(RedvidConfig(tracks=(50, 100)), rng) for _ in range(500)]
    assert min(counts) >= 50
    assert max(counts) == 100


def test_same_seed_same_event_and_other_seed_another():
    config = RedvidConfig(track_type="helical")
    first, again, other = (redvid_event(config, seed) for seed in ([1, 2], [1, 2], [1, 3]))
    assert first.hits.equals(again.hits)
    assert first.particles.equals(again.particles)
    assert not first.hits.equals(other.hits)


def test_collections_agree_with_the_kernel():
    config = RedvidConfig(track_type="helical", noise=0.1)
    seed = [7]
    event = redvid_event(config, seed)
    kernel = simulate_redvid(config, np.random.default_rng(np.random.SeedSequence(seed)))
    np.testing.assert_array_equal(event.truth_links.particle_id, kernel.track + 1)
    np.testing.assert_allclose(event.particles.pt, kernel.parameters[:, 0], rtol=1e-6)
    np.testing.assert_allclose(event.particles.pz, kernel.parameters[:, 1], rtol=1e-6)
    np.testing.assert_array_equal(event.particles.q, kernel.parameters[:, 2])
    np.testing.assert_allclose(event.hits.r, kernel.r, rtol=1e-5)
    assert event.particles.nhits.sum() == (kernel.track >= 0).sum()


def test_unknown_setting_names_the_nearest():
    with pytest.raises(ConfigurationError, match=r"'sigma_t'.*'sigma_theta'"):
        validated(RedvidConfig, {"sigma_t": 0.1}, "redvid")
