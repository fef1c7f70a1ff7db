"""Particle banks and composed events, on hand-made events without ACTS."""

import time

import numpy as np
import pytest

from mltrack_plugin.detectors.geometry_ids import join_geometry_id, split_geometry_id
from mltrack_plugin.errors import ConfigurationError, InputError, OutputError
from mltrack_plugin.simulation.acts_chain import DetectorEvent
from mltrack_plugin.simulation.bank import (
    ParticleBank,
    bank_from_events,
    compose,
    composed_to_event,
    stop_hadrons,
)


def straight_event(n: int, seed: int, hits_per_track: int = 10) -> DetectorEvent:
    """n pions on straight lines from the origin; hit k of a particle is k + 1 steps along, at time k + 1, in
    layer 2 (k + 1); the hits come in random order."""
    rng = np.random.default_rng(seed)
    phi = rng.uniform(-np.pi, np.pi, n)
    momentum = np.stack([np.cos(phi), np.sin(phi), rng.uniform(-1, 1, n)], axis=1)
    particle, step = np.divmod(rng.permutation(n * hits_per_track), hits_per_track)
    return DetectorEvent(
        position=(momentum[particle] * 10.0 * (step + 1)[:, None]).astype(np.float32),
        time=(step + 1).astype(np.float32),
        geometry_id=join_geometry_id(np.full(len(step), 8), 2 * (step + 1), particle + 1),
        particle=particle,
        vertex=np.zeros((n, 3), np.float32),
        momentum=momentum.astype(np.float32),
        charge=np.where(np.arange(n) % 2, 1.0, -1.0).astype(np.float32),
        pdg=np.full(n, 211, np.int32),
    )


@pytest.fixture(scope="module")
def bank() -> ParticleBank:
    return bank_from_events([straight_event(60, 1), straight_event(80, 2)])


def test_geometry_ids_split_and_join():
    volume, layer, module = np.array([7, 18]), np.array([2, 14]), np.array([1, 3191])
    ids = join_geometry_id(volume, layer, module)
    # volume << 56 | layer << 36 | surface << 8, as ACTS documents it
    assert ids[0] == (7 << 56) | (2 << 36) | (1 << 8)
    for got, wanted in zip(split_geometry_id(ids), (volume, layer, module), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_bank_keeps_the_hits_of_each_particle_in_time_order(bank):
    assert bank.n_sources == 2
    assert bank.n_particles == 140
    np.testing.assert_array_equal(np.diff(bank.source_offsets), [60, 80])
    np.testing.assert_array_equal(bank.n_hits, 10)
    for particle in (0, 59, 60, 139):
        hits = bank.position[bank.hit_offsets[particle] : bank.hit_offsets[particle + 1]]
        expected = bank.momentum[particle] * 10.0 * np.arange(1, 11)[:, None]
        np.testing.assert_allclose(hits, expected, rtol=1e-5)


def test_selection_by_charge_pt_eta_and_hits():
    event = straight_event(5, 3)
    event.charge[0] = 0
    event.momentum[1] *= 0.1  # pT 0.1 GeV
    event.momentum[2, 2] = 30.0  # eta 4.09
    keep = event.particle != 3  # no hits
    event = DetectorEvent(
        event.position[keep],
        event.time[keep],
        event.geometry_id[keep],
        event.particle[keep],
        event.vertex,
        event.momentum,
        event.charge,
        event.pdg,
    )
    bank = bank_from_events([event])
    np.testing.assert_allclose(bank.momentum, event.momentum[[4]])
    assert bank_from_events([event], min_hits=11).n_particles == 0


def test_composed_event_holds_all_hits_of_its_particles_from_one_source(bank):
    rng = np.random.default_rng(4)
    counts = []
    for _ in range(200):
        event = compose(bank, rng, (10, 50))
        counts.append(len(event.particles))
        assert len(np.unique(event.particles)) == len(event.particles)
        assert (event.particles < 60).all() or (event.particles >= 60).all()
        np.testing.assert_array_equal(np.bincount(event.track), bank.n_hits[event.particles])
        expected = bank.momentum[event.particles[event.track]] * 10.0 * (event.order + 1)[:, None]
        np.testing.assert_allclose(event.position, expected, rtol=1e-5)
        assert (np.diff(event.geometry_id.astype(np.int64)) >= 0).all()
    assert min(counts) == 10
    assert max(counts) == 50


def test_augmentation_is_one_rotation_and_reflection_of_the_whole_event(bank):
    mirrored = 0
    for seed in range(20):
        plain = compose(bank, np.random.default_rng(seed), (10, 10))
        turned = compose(bank, np.random.default_rng(seed), (10, 10), augment=True)
        np.testing.assert_array_equal(plain.particles, turned.particles)
        np.testing.assert_allclose(
            np.hypot(*plain.position[:, :2].T), np.hypot(*turned.position[:, :2].T), rtol=1e-5
        )
        sign = np.sign(turned.position[0, 2] * plain.position[0, 2])
        mirrored += sign < 0
        np.testing.assert_allclose(turned.position[:, 2], sign * plain.position[:, 2], rtol=1e-5)
        # Hits still lie along the momentum: both were turned by the same angle.
        expected = turned.momentum[turned.track] * 10.0 * (turned.order + 1)[:, None]
        np.testing.assert_allclose(turned.position, expected, rtol=1e-4, atol=1e-4)
        angle = np.arctan2(turned.momentum[:, 1], turned.momentum[:, 0]) - np.arctan2(
            plain.momentum[:, 1], plain.momentum[:, 0]
        )
        np.testing.assert_allclose(np.exp(1j * angle), np.exp(1j * angle[0]), atol=1e-5)
    assert 3 < mirrored < 17


def test_noise_is_a_fraction_of_the_hits_on_the_layers(bank):
    event = compose(bank, np.random.default_rng(5), (20, 20), noise=0.25)
    noise = event.track == -1
    assert noise.sum() == 50
    assert (~noise).sum() == 200
    radii = np.hypot(*event.position[noise, :2].T)
    np.testing.assert_allclose(radii, 10 * np.round(radii / 10), atol=1e-3)
    links = composed_to_event(event).truth_links
    assert (links.particle_id[noise] == 0).all()
    assert (links.weight[noise] == 0).all()


def test_too_few_particles_in_the_source(bank):
    with pytest.raises(
        ConfigurationError, match="source event 0 has 60 particles, fewer than the 61 asked for"
    ):
        compose(bank, np.random.default_rng(6), (61, 70), source=0)
    assert len(compose(bank, np.random.default_rng(6), (60, 70), source=0).particles) == 60


def test_collections_of_a_composed_event(bank):
    composed = compose(bank, np.random.default_rng(7), (12, 12))
    event = composed_to_event(composed)
    event.truth_links.check_against(event.hits)
    np.testing.assert_array_equal(event.particles.particle_id, composed.particles + 1)
    assert set(event.truth_links.particle_id.tolist()) == set(event.particles.particle_id.tolist())
    np.testing.assert_array_equal(event.particles.nhits, 10)
    np.testing.assert_array_equal(event.hits.layer_id, 2 * (composed.order + 1))
    assert event.truth_links.weight.sum() == pytest.approx(1.0, abs=1e-5)


def test_hadrons_stop_with_a_constant_probability_per_hit_and_muons_never():
    event = straight_event(20_000, 8)
    stopped = stop_hadrons(event, 0.02, np.random.default_rng(9))
    counts = np.bincount(stopped.particle, minlength=20_000)
    assert counts.min() >= 1
    # Survival of k hits behind the first: 0.98^k, so 10 hits are left with probability 0.98^9.
    assert (counts == 10).mean() == pytest.approx(0.98**9, abs=0.01)
    assert (counts == 1).mean() == pytest.approx(0.02, abs=0.004)
    # What is left is the beginning of the track.
    assert (stopped.time <= counts[stopped.particle]).all()
    muons = DetectorEvent(**{**vars(event), "pdg": np.full(20_000, 13)})
    assert len(stop_hadrons(muons, 0.5, np.random.default_rng(9)).time) == len(event.time)


def test_save_and_load(bank, tmp_path):
    path = tmp_path / "bank.npz"
    bank.save(path, "made by hand")
    loaded, provenance = ParticleBank.load_with_provenance(path)
    assert provenance == "made by hand"
    for name, values in vars(bank).items():
        np.testing.assert_array_equal(getattr(loaded, name), values)
    assert [p.name for p in tmp_path.iterdir()] == ["bank.npz"]


def test_damaged_missing_or_foreign_file(bank, tmp_path):
    path = tmp_path / "bank.npz"
    with pytest.raises(InputError, match="not a readable particle bank"):
        ParticleBank.load(path)
    bank.save(path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InputError, match="not a readable particle bank"):
        ParticleBank.load(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(InputError, match="not a readable particle bank"):
        ParticleBank.load(path)
    with pytest.raises(OutputError, match="cannot write the particle bank"):
        bank.save(tmp_path / "no folder" / "bank.npz")


def test_composition_is_fast(bank):
    rng = np.random.default_rng(10)
    start = time.process_time()
    for _ in range(300):
        compose(bank, rng, (10, 50), augment=True)
    assert time.process_time() - start < 1.0
