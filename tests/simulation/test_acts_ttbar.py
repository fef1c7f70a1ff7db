"""Complete events of top-quark pairs with pile-up."""

import numpy as np
import pytest

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.simulation.datasets import make_dataset


@pytest.fixture(scope="module")
def dataset():
    pytest.importorskip("acts")
    pytest.importorskip("pythia8mc")
    return make_dataset("acts-ttbar", {"pileup": 2, "noise": 0.15})


@pytest.fixture(scope="module")
def events(dataset):
    return list(dataset.events(3, seed=1, split="test"))


def test_every_hit_has_its_particle_or_is_noise(events):
    for event in events:
        event.truth_links.check_against(event.hits)
        ids, counts = np.unique(event.truth_links.particle_id, return_counts=True)
        noise = counts[ids == 0].item()
        assert noise == round(0.15 * counts[ids != 0].sum())
        np.testing.assert_array_equal(ids[ids != 0], np.sort(event.particles.particle_id))
        assert (np.diff(event.hits.geometry_id.astype(np.int64)) >= 0).all()


def test_events_hold_a_top_pair_and_displaced_particles(events):
    particles = [event.particles for event in events]
    # Decay products of a top quark, which pile-up does not have.
    assert np.median([p.pt.max() for p in particles]) > 20.0
    assert all(len(p) > 100 for p in particles)
    radius = np.concatenate([np.hypot(p.vx, p.vy) for p in particles])
    assert 0.05 < (radius > 1.0).mean() < 0.5


def test_cuts_are_made_before_the_detector(events):
    for event in events:
        primary = np.hypot(event.particles.vx, event.particles.vy) < 0.1
        assert event.particles.pt[primary].min() > 0.099
        assert np.abs(event.particles.eta[primary]).max() < 4.51


def test_an_event_does_not_depend_on_those_before_it(dataset, events):
    """Also in a new process: Pythia is prepared in the same way, and restarted for each event."""
    fresh = make_dataset("acts-ttbar", {"pileup": 2, "noise": 0.15})
    for again in (dataset, fresh):
        event = again.event(2, seed=1, split="test")
        assert event.hits.equals(events[2].hits)
        assert event.particles.equals(events[2].particles)


def test_splits_seeds_and_events_differ(dataset, events):
    others = [dataset.event(0, seed=1, split="validation"), dataset.event(0, seed=2, split="test"), events[1]]
    for other in others:
        assert not np.isin(other.particles.px, events[0].particles.px).any()


def test_pileup_adds_particles(dataset, events):
    more = make_dataset("acts-ttbar", {"pileup": 20}).event(0, seed=1, split="test")
    # A collision gives about 50 charged particles with hits.
    assert len(more.particles) > len(events[0].particles) + 300


def test_negative_pileup_is_refused():
    with pytest.raises(ConfigurationError, match="pileup"):
        make_dataset("acts-ttbar", {"pileup": -1})
