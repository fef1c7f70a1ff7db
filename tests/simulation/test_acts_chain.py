"""Fatras and digitisation on the GenericDetector: single tracks, resolution, noise, determinism."""

import numpy as np
import pytest

pytest.importorskip("acts")

from mltrack_plugin.detectors.acts_geometry import PITCH, modules
from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.simulation.acts_chain import Primaries, simulate_primaries
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.full_event import full_event, noise_hits


def muons(pt: float, n: int = 100, eta: float = 0.5) -> Primaries:
    phi = np.linspace(-np.pi, np.pi, n, endpoint=False)
    charge = np.where(np.arange(n) % 2, 1.0, -1.0)
    return Primaries(
        pdg=(-13 * charge).astype(np.int64),
        charge=charge,
        mass=np.full(n, 0.10566),
        position=np.zeros((n, 4)),
        momentum=np.stack([pt * np.cos(phi), pt * np.sin(phi), np.full(n, pt * np.sinh(eta))], axis=1),
    )


def distance_from_module(event):
    """Height of each hit above its module's plane, and its local coordinates, mm."""
    table = modules()
    order = np.argsort(table.geometry_id)
    row = order[np.searchsorted(table.geometry_id[order], event.geometry_id)]
    assert (table.geometry_id[row] == event.geometry_id).all()
    offset = event.position - table.center[row]
    normal = np.cross(table.axes[row, 0], table.axes[row, 1])
    local = np.einsum("ni,nki->nk", offset, table.axes[row])
    return np.abs((offset * normal).sum(axis=1)), local, table.half[row]


def test_tracks_bend_as_a_charge_in_two_tesla():
    event = simulate_primaries(muons(1.0), seed=1)
    radius = 1000.0 / (0.299792458 * 2.0)
    for particle in range(event.n_particles):
        x, y, _ = event.position[event.particle == particle].T
        pt, phi, q = (
            np.hypot(*event.momentum[particle, :2]),
            np.arctan2(*event.momentum[particle, 1::-1]),
            event.charge[particle],
        )
        assert pt == pytest.approx(1.0, rel=1e-4)
        centre = radius * q * np.array([np.sin(phi), -np.cos(phi)])
        deviation = np.hypot(x - centre[0], y - centre[1]) - radius
        # Scattering moves a 1 GeV track by some millimetres; the other charge would be off by decimetres.
        assert np.abs(deviation).max() < 15.0


def test_hits_lie_on_modules_and_resolution_is_pitch_over_sqrt_12():
    event = simulate_primaries(muons(10.0, 2000), seed=2)
    height, local, half = distance_from_module(event)
    assert height.max() < 1e-3
    exact = simulate_primaries(muons(10.0, 2000), seed=2, resolution=0.0)
    assert len(exact.position) == len(event.position)
    _, exact_local, half = distance_from_module(exact)
    assert (np.abs(exact_local[:, 1]) <= half[:, 2] + 1e-3).all()
    volume = split_geometry_id(event.geometry_id)[0]
    for number in (8, 13, 17):
        measured = (local - exact_local)[volume == number].std(axis=0)
        np.testing.assert_allclose(measured, np.array(PITCH[number]) / 12**0.5, rtol=0.1)


def test_the_seed_decides_everything():
    first, again, other = (simulate_primaries(muons(1.0), seed=seed) for seed in (2**62, 2**62, 5))
    for name, values in vars(first).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    assert not np.array_equal(first.position, other.position)


def test_event_without_hits():
    event = simulate_primaries(muons(0.2, n=3, eta=7.0), seed=1)
    full = full_event(event, 0.5, np.random.default_rng(1))
    assert len(event.position) == len(full.hits) == len(full.truth_links) == len(full.particles) == 0


def test_photons_convert_and_their_electrons_point_back():
    n = 2000
    photons = Primaries(
        pdg=np.full(n, 22),
        charge=np.zeros(n),
        mass=np.zeros(n),
        position=np.zeros((n, 4)),
        momentum=muons(5.0, n).momentum,
    )
    event = simulate_primaries(photons, seed=3)
    assert set(np.abs(event.pdg).tolist()) == {11}
    assert np.hypot(*event.vertex[:, :2].T).min() > 15.0
    # X0 of the detector is a few ten percent: so is the fraction of photons that convert.
    assert 0.05 < event.n_particles / (2 * n) < 0.6


def test_noise_covers_the_modules_uniformly():
    position, geometry_id = noise_hits(40_000, np.random.default_rng(4))
    table = modules()
    assert len(table.geometry_id) == 18_728
    volume = split_geometry_id(geometry_id)[0]
    wanted = (split_geometry_id(table.geometry_id)[0] == 13).mean()
    assert (volume == 13).mean() == pytest.approx(wanted, abs=0.01)
    order = np.argsort(table.geometry_id)
    row = order[np.searchsorted(table.geometry_id[order], geometry_id)]
    local = np.einsum("ni,nki->nk", position - table.center[row], table.axes[row])
    low, high, length = table.half[row].T
    along = local[:, 1] / length
    width = low + (high - low) * (along + 1) / 2
    assert np.abs(along).max() < 1.0 + 1e-4
    assert (np.abs(local[:, 0]) <= width + 1e-2).all()
    # Uniform in area: on a trapezoid the mean of the position along it is (high - low) / (high + low) / 3.
    trapezoid = high != low
    expected = ((high - low) / (high + low) / 3)[trapezoid].mean()
    assert along[trapezoid].mean() == pytest.approx(expected, abs=0.02)


def test_gun_events():
    dataset = make_dataset("acts-gun", {"tracks": (30, 30), "noise": 0.2, "vertices": (4, 4)})
    assert dataset.detector == "generic"
    events = list(dataset.events(20, seed=1, split="test"))
    hits_per_track = []
    for event in events:
        event.truth_links.check_against(event.hits)
        pions = event.particles.pdg_id[np.abs(event.particles.pdg_id) == 211]
        assert len(pions) >= 29  # a pion along a crack may leave no hit
        truth = event.truth_links.particle_id
        assert (truth == 0).sum() == round(0.2 * (truth > 0).sum())
        ids, counts = np.unique(truth[truth > 0], return_counts=True)
        np.testing.assert_array_equal(ids, event.particles.particle_id)
        np.testing.assert_array_equal(counts, event.particles.nhits)
        assert event.truth_links.weight.sum() == pytest.approx(1.0, abs=1e-4)
        assert len(np.unique(event.particles.vz)) <= 4
        assert (event.particles.pt > 0.49).all()
        assert (event.particles.pt < 10.01).all()
        assert np.abs(event.particles.eta).max() < 3.0
        hits_per_track.append(event.particles.nhits)
    assert np.concatenate(hits_per_track).mean() == pytest.approx(12.3, abs=0.4)
    # Events do not depend on how many are made.
    assert dataset.event(5, seed=1, split="test").hits.equals(events[5].hits)
    assert not dataset.event(5, seed=1, split="train").hits.equals(events[5].hits)
