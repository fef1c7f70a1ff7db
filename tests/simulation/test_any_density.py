"""Events of any density: numbers of particles, noise, cut-outs of denser events; from a hand-made particle bank."""

import numpy as np
import pytest

from mltrack_plugin.detectors.geometry_ids import join_geometry_id
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.simulation.acts_chain import DetectorEvent
from mltrack_plugin.simulation.bank import bank_from_events, compose
from mltrack_plugin.simulation.datasets import make_dataset

N = 2000


@pytest.fixture(scope="module")
def bank():
    """One source of straight tracks with four hits each."""
    rng = np.random.default_rng(1)
    phi = rng.uniform(-np.pi, np.pi, N)
    momentum = np.stack([np.cos(phi), np.sin(phi), rng.uniform(-2, 2, N)], axis=1).astype(np.float32)
    particle, step = np.divmod(np.arange(4 * N), 4)
    return bank_from_events(
        [
            DetectorEvent(
                position=momentum[particle] * 10 * (step + 1)[:, None],
                time=(step + 1).astype(np.float32),
                geometry_id=join_geometry_id(np.full(4 * N, 8), 2 * (step + 1), particle + 1),
                particle=particle,
                vertex=np.zeros((N, 3), np.float32),
                momentum=momentum,
                charge=np.ones(N, np.float32),
                pdg=np.full(N, 211, np.int32),
            )
        ]
    )


def with_bank(bank, **settings):
    dataset = make_dataset("trackml-any-density", settings)
    dataset._banks = {(split, 1): bank for split in ("train", "validation")}
    return dataset


def test_numbers_of_particles_are_uniform_in_the_logarithm(bank):
    dataset = with_bank(bank, tracks=[10, 1000])
    counts = [len(dataset.event(i, seed=1, split="train").particles) for i in range(200)]
    assert min(counts) >= 10
    assert max(counts) <= 1000
    below_100 = np.mean(np.array(counts) < 100)
    assert below_100 == pytest.approx(0.5, abs=0.12)


def test_noise_is_in_its_range(bank):
    dataset = with_bank(bank, tracks=[200, 200], noise_range=[0.1, 0.3])
    shares = []
    for i in range(20):
        noise = dataset.event(i, seed=1, split="train").truth_links.particle_id == 0
        shares.append(noise.sum() / (~noise).sum())
    assert 0.1 <= min(shares) < 0.17 < 0.23 < max(shares) <= 0.3


def test_noise_of_a_share_of_the_events_lies_on_the_modules(bank, monkeypatch):
    """The bank's hits have radii of up to 40 mm."""
    module = (np.float32([500, 0, 0]), np.uint64(7))
    monkeypatch.setattr(
        "mltrack_plugin.simulation.bank.noise_hits",
        lambda n, rng: (np.tile(module[0], (n, 1)), np.full(n, module[1])),
    )
    settings = {"tracks": [20, 20], "noise_range": [0.2, 0.2], "augment": "never"}
    plain = with_bank(bank, **settings)
    mixed = with_bank(bank, **settings, module_noise=0.4)
    on_modules = []
    for i in range(60):
        event = mixed.event(i, seed=1, split="train")
        noise = event.hits.positions[event.truth_links.particle_id == 0]
        assert len(noise) == 16
        far = np.hypot(noise[:, 0], noise[:, 1]) > 100
        assert far.all() or not far.any()
        on_modules.append(far.all())
        hits = plain.event(i, seed=1, split="train").hits.positions
        assert (np.hypot(hits[:, 0], hits[:, 1]) < 100).all()
    assert np.mean(on_modules) == pytest.approx(0.4, abs=0.15)


def test_cut_out_has_the_density_of_the_whole_event(bank):
    rng = np.random.default_rng(5)
    composed = compose(bank, rng, (N, N), window=200)
    px, py, pz = composed.momentum.astype(float).T
    assert len(composed.particles) == pytest.approx(200, rel=0.3)
    # The same share of azimuth and of the (here uniform) slope: sqrt(200 / 2000) each.
    share = 0.1**0.5
    turned = np.angle(np.exp(1j * (np.arctan2(py, px) - np.angle(np.exp(1j * np.arctan2(py, px)).mean()))))
    assert np.ptp(turned) == pytest.approx(2 * np.pi * share, rel=0.1)
    assert np.ptp(pz / np.hypot(px, py)) == pytest.approx(4 * share, rel=0.1)
    assert (np.bincount(composed.track[composed.track >= 0]) == 4).all()


def test_cut_outs_are_mixed_in_by_their_share(bank):
    dataset = with_bank(bank, tracks=[10, 20], dense_share=0.5, dense_tracks=[1500, 1500], window=150)
    counts = np.array([len(dataset.event(i, seed=1, split="train").particles) for i in range(100)])
    assert np.mean(counts > 60) == pytest.approx(0.5, abs=0.15)
    assert ((counts <= 20) | (counts > 60)).all()


def test_same_number_gives_the_same_event_and_splits_differ(bank):
    dataset = with_bank(bank)
    first, again = (dataset.event(3, seed=1, split="train") for _ in range(2))
    np.testing.assert_array_equal(first.hits.x, again.hits.x)
    other = dataset.event(3, seed=1, split="validation")
    assert len(other.hits) != len(first.hits) or (other.hits.x != first.hits.x).any()


def test_gun_events_are_mixed_in_by_their_share(bank):
    dataset = with_bank(bank, tracks=[10, 20], gun_share=0.5)
    gun = bank_from_events(
        [
            DetectorEvent(
                position=np.full((30, 3), 500.0, np.float32),
                time=np.zeros(30, np.float32),
                geometry_id=join_geometry_id(np.full(30, 8), np.full(30, 2), np.arange(30)),
                particle=np.arange(30),
                vertex=np.zeros((30, 3), np.float32),
                momentum=np.ones((30, 3), np.float32),
                charge=np.ones(30, np.float32),
                pdg=np.full(30, 211, np.int32),
            )
        ]
    )
    dataset._gun_banks = {("train", 1): gun}
    from_gun = [abs(dataset.event(i, seed=1, split="train").hits.z).max() == 500 for i in range(100)]
    assert np.mean(from_gun) == pytest.approx(0.5, abs=0.15)


def test_gun_bank_is_simulated_once_and_kept(tmp_path):
    pytest.importorskip("acts")
    dataset = make_dataset("trackml-any-density", {"gun_particles": 40, "bank_dir": tmp_path})
    gun = dataset.gun_bank(1, "train")
    assert gun.n_particles > 35
    assert (tmp_path / "gun-train-1.npz").exists()
    pt = np.hypot(gun.momentum[:, 0], gun.momentum[:, 1])
    assert 0.3 <= pt.min() < 1 < pt.max() <= 10
    again = make_dataset("trackml-any-density", {"gun_particles": 40, "bank_dir": tmp_path}).gun_bank(
        1, "train"
    )
    np.testing.assert_array_equal(gun.position, again.position)
    with pytest.raises(ConfigurationError, match="other parameters"):
        make_dataset("trackml-any-density", {"gun_particles": 41, "bank_dir": tmp_path}).gun_bank(1, "train")


def test_a_source_cannot_give_more_than_it_has(bank):
    assert len(with_bank(bank, tracks=[5000, 5000]).event(0, seed=1, split="train").particles) == N


@pytest.mark.parametrize("setting", [{"noise_range": [0.3, 0.1]}, {"dense_tracks": [0, 5]}, {"window": 0}])
def test_wrong_ranges_are_named(setting):
    with pytest.raises(ConfigurationError, match=next(iter(setting))):
        make_dataset("trackml-any-density", setting)
