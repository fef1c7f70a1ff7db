"""The five data sets of the published Transformer designs: reproducible, varied, with splits that share nothing."""

import itertools

import numpy as np
import pytest

from mltrack_plugin.detectors.geometry_ids import join_geometry_id
from mltrack_plugin.evaluation.trackml_weights import order_weights, pt_weights
from mltrack_plugin.simulation.acts_chain import DetectorEvent
from mltrack_plugin.simulation.bank import bank_from_events
from mltrack_plugin.simulation.base import SPLITS
from mltrack_plugin.simulation.datasets import make_dataset

#: Name -> smallest and largest number of tracks.
PUBLISHED = {
    "redvid-10-50-linear": (10, 50),
    "redvid-10-50-helical": (10, 50),
    "redvid-50-100-helical": (50, 100),
    "trackml-10-50": (10, 50),
    "trackml-200-500": (200, 500),
}
SEEDS = (1, 2026)
HITS = 6


def source_event(seed: int, n: int = 600) -> DetectorEvent:
    """n pions of pT 0.3 to 4 GeV on straight lines, six hits each, in random order."""
    rng = np.random.default_rng(seed)
    phi, pt = rng.uniform(-np.pi, np.pi, n), rng.uniform(0.3, 4.0, n)
    momentum = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * rng.uniform(-2, 2, n)], axis=1)
    particle, step = np.divmod(rng.permutation(n * HITS), HITS)
    direction = momentum / pt[:, None]
    return DetectorEvent(
        position=(direction[particle] * 50.0 * (step + 1)[:, None]).astype(np.float32),
        time=(step + 1).astype(np.float32),
        geometry_id=join_geometry_id(np.full(len(step), 8), 2 * (step + 1), particle + 1),
        particle=particle,
        vertex=np.zeros((n, 3), np.float32),
        momentum=momentum.astype(np.float32),
        charge=np.ones(n, np.float32),
        pdg=np.full(n, 211, np.int32),
    )


def dataset_of(name):
    """The data set; TrackML-like ones pick from hand-made source events, others for every split and seed."""
    dataset = make_dataset(name)
    if name.startswith("trackml"):
        for number, key in enumerate(itertools.product(SPLITS, SEEDS)):
            dataset._banks[key] = bank_from_events([source_event(2 * number), source_event(2 * number + 1)])
    return dataset


def momenta(events):
    """Momenta of all particles; of TrackML-like ones what turning and mirroring (training events) does not change."""
    found = set()
    for event in events:
        p = event.particles
        if p.pdg_id is None:
            found |= set(zip(p.px.tolist(), p.py.tolist(), p.pz.tolist(), strict=True))
        else:
            found |= set(zip(p.pt.round(5).tolist(), np.abs(p.pz).round(5).tolist(), strict=True))
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_same_seed_same_events_in_any_order(name):
    events = list(dataset_of(name).events(3, seed=1, split="test"))
    again = dataset_of(name)
    for index in (2, 0, 1):
        event = again.event(index, seed=1, split="test")
        assert event.hits.equals(events[index].hits)
        assert event.truth_links.equals(events[index].truth_links)
        assert event.particles.equals(events[index].particles)
    assert not events[0].hits.equals(events[1].hits)


@pytest.mark.parametrize("name", PUBLISHED)
def test_number_of_tracks_varies_within_its_range(name):
    low, high = PUBLISHED[name]
    counts = [len(event.particles) for event in dataset_of(name).events(60, seed=1, split="test")]
    assert low <= min(counts) < max(counts) <= high
    assert len(set(counts)) > 10


@pytest.mark.parametrize("name", PUBLISHED)
def test_splits_and_seeds_share_no_particle(name):
    dataset = dataset_of(name)
    found = [
        momenta(dataset.events(20, seed=seed, split=split))
        for split, seed in itertools.product(SPLITS, SEEDS)
    ]
    for mine, theirs in itertools.combinations(found, 2):
        assert not mine & theirs


def test_every_split_and_seed_simulates_its_own_source_events(monkeypatch):
    """The generator and the detector simulation get random numbers of their own; both TrackML-like sets share them."""
    generators, simulations = [], []

    class Collisions:
        def __init__(self, seed, *, pileup):
            generators.append(tuple(seed.generate_state(4)))

        def next(self):
            return None

    def simulate(collisions, seed, **settings):
        simulations.append(seed)
        return source_event(seed % 1000, n=20)

    monkeypatch.setattr("mltrack_plugin.simulation.pythia.PythiaCollisions", Collisions)
    monkeypatch.setattr("mltrack_plugin.simulation.acts_chain.simulate_primaries", simulate)
    monkeypatch.setattr("mltrack_plugin.simulation.acts_chain.require_acts", lambda: None)
    dataset = make_dataset("trackml-200-500")
    combinations = list(itertools.product(SPLITS, (0, 1, 2, 2026)))
    for split, seed in combinations:
        dataset.bank(seed, split)
    assert len(set(generators)) == len(combinations)
    assert len(simulations) == 4 * len(combinations)
    assert len(set(simulations)) == len(simulations)


@pytest.mark.parametrize("name", ["trackml-10-50", "trackml-200-500"])
def test_every_hit_carries_its_trackml_weight(name):
    """Order along the track times the factor of pT, with a sum of 1 over the event."""
    event = dataset_of(name).event(0, seed=1, split="test")
    weight, truth = event.truth_links.weight, event.truth_links.particle_id
    factors = pt_weights(event.particles.pt)
    for row, particle in enumerate(event.particles.particle_id):
        mine = np.flatnonzero(truth == particle)
        along = mine[np.argsort(event.hits.r[mine])]
        expected = order_weights(HITS) * factors[row] / factors.sum()
        np.testing.assert_allclose(weight[along], expected, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("redvid")])
def test_hits_of_redvid_count_alike(name):
    assert dataset_of(name).event(0, seed=1, split="test").truth_links.weight is None
