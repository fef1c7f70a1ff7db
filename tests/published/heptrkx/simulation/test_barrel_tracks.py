"""Barrel tracks composed from gun particles."""

import numpy as np
import pytest

pytest.importorskip("acts")

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.published.heptrkx.sequences.barrel import barrel_layer, particle_sequences
from mltrack_plugin.simulation.datasets import make_dataset

SMALL = {"particles": 200, "sources": 1, "tracks": [20, 30]}


@pytest.fixture(scope="module")
def dataset():
    return make_dataset("heptrkx-tracks", SMALL)


def test_particles_above_1_gev_cross_all_barrel_layers(dataset):
    events = list(dataset.events(3, seed=3, split="test"))
    for event in events:
        assert 20 <= len(event.particles) <= 30
        assert event.particles.pt.min() > 0.99
        assert np.abs(event.particles.vz).max() < 300
        assert (barrel_layer(event.hits) >= 0).all()
        length = particle_sequences(event.hits, event.truth_links).length
        assert len(length) == len(event.particles)
        assert (length == 10).mean() > 0.9


def test_events_and_splits_are_reproducible_and_different(dataset):
    again = make_dataset("heptrkx-tracks", SMALL)
    first = dataset.event(1, seed=3, split="test").hits.x
    np.testing.assert_array_equal(first, again.event(1, seed=3, split="test").hits.x)
    others = [dataset.event(2, seed=3, split="test"), dataset.event(1, seed=4, split="test")]
    others += [dataset.event(1, seed=3, split="validation"), dataset.event(1, seed=3, split="train")]
    for other in others:
        assert len(other.hits) != len(first) or not np.array_equal(other.hits.x, first)
    momenta = [dataset.bank(3, split).momentum for split in ("train", "validation", "test")]
    for i in range(3):
        assert not np.isin(momenta[i][:, 0], momenta[i - 1][:, 0]).any()


def test_endcaps_are_kept_if_wanted():
    wide = make_dataset("heptrkx-tracks", {**SMALL, "max_eta": 2.5, "endcaps": True})
    layer = barrel_layer(wide.event(0, seed=1, split="test").hits)
    assert (layer < 0).any()
    assert (layer >= 0).any()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tracks": [5, 3]}, "tracks must be two rising numbers"),
        ({"pt": [3.0, 1.0]}, "pt must be two rising numbers"),
        ({"tracks": [300, 400], "particles": 200}, "300 tracks cannot be picked from groups of 200"),
        ({"max_eata": 1.0}, "'max_eta'"),
    ],
)
def test_wrong_parameters_are_named(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        make_dataset("heptrkx-tracks", settings)
