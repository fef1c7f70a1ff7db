"""The HEP.TrkX events: what the publication says of them, seeds and splits, kept collisions."""

import numpy as np
import pytest

pytest.importorskip("acts")
pytest.importorskip("pythia8mc")

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.published.heptrkx.graphs.layers import BARREL_VOLUMES, hit_layers
from mltrack_plugin.simulation.datasets import make_dataset

SMALL = {"block": 3, "pileup": 4, "blocks": 1}


@pytest.fixture(scope="module")
def bank_dir(tmp_path_factory):
    return str(tmp_path_factory.mktemp("banks"))


def dataset(bank_dir, **settings):
    return make_dataset("heptrkx-qcd", {**SMALL, "bank_dir": bank_dir, **settings})


def arrays(event):
    return {**event.hits.arrays(), "truth": event.truth_links.particle_id, "vertex": event.particles.vz}


def same(first, second):
    a, b = arrays(first), arrays(second)
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_events_are_as_published(bank_dir):
    for split in ("train", "test"):
        for event in dataset(bank_dir).events(3, 1, split):
            hits, particle = event.hits, event.truth_links.particle_id
            assert np.isin(hits.volume_id, BARREL_VOLUMES).all()
            assert (event.particles.pt >= 1.0).all()
            assert (particle > 0).all()
            # One hit per particle and layer, every particle with a hit.
            assert len(np.unique(np.stack([particle, hit_layers(hits)]), axis=1).T) == len(hits)
            np.testing.assert_array_equal(np.unique(particle), np.sort(event.particles.particle_id))
            np.testing.assert_array_equal(
                event.particles.nhits, [np.sum(particle == i) for i in event.particles.particle_id]
            )
            # Barrel modules lie within some millimetres of the radius of their layer.
            mean = np.bincount(hit_layers(hits), hits.r, minlength=10) / np.bincount(
                hit_layers(hits), minlength=10
            )
            assert np.abs(hits.r - mean[hit_layers(hits)]).max() < 15


def test_endcaps_and_double_hits_are_settings(bank_dir):
    plain = dataset(bank_dir).event(0, seed=1, split="test")
    full = dataset(bank_dir, endcaps=True, duplicates=True).event(0, seed=1, split="test")
    assert len(full.hits) > 1.3 * len(plain.hits)
    assert not np.isin(full.hits.volume_id, BARREL_VOLUMES).all()
    assert np.isin(plain.hits.x, full.hits.x).all()


def test_same_arguments_same_event_and_nothing_shared_between_splits(bank_dir):
    settings = {"pileup": 0, "min_pt_hat": 20.0}
    data = dataset(f"{bank_dir}/hard", **settings)
    splits = ("train", "validation", "test")
    events = [data.event(i, seed=1, split=split) for split in splits for i in range(2)]
    for i, first in enumerate(events):
        assert not any(same(first, second) for second in events[i + 1 :])
    assert same(events[4], dataset(f"{bank_dir}/hard", **settings).event(0, seed=1, split="test"))


def test_kept_collisions_are_those_that_are_simulated(bank_dir):
    kept = dataset(f"{bank_dir}/hard", pileup=0, min_pt_hat=20.0).event(1, seed=1, split="test")
    fresh = make_dataset("heptrkx-qcd", {**SMALL, "pileup": 0, "min_pt_hat": 20.0}).event(
        1, seed=1, split="test"
    )
    assert same(kept, fresh)


def test_kept_collisions_of_other_parameters_are_refused(bank_dir):
    dataset(bank_dir).event(0, seed=1, split="test")
    with pytest.raises(ConfigurationError, match="made with other parameters"):
        dataset(bank_dir, min_pt=2.0).event(0, seed=1, split="test")


def test_training_events_turn_their_collisions(bank_dir):
    data = dataset(bank_dir)
    events = [data.event(i, seed=1, split="train") for i in range(12)]
    assert len({len(event.hits) for event in events}) > 1
    # More events than collisions, and none like another.
    assert not any(same(a, b) for i, a in enumerate(events) for b in events[i + 1 :])


def test_events_without_pileup(bank_dir):
    event = make_dataset("heptrkx-qcd", {"block": 2, "pileup": 0, "min_pt_hat": 20.0}).event(
        1, seed=3, split="validation"
    )
    assert len(np.unique(event.particles.vz.round(0))) <= len(event.particles)


def test_soft_exchange_is_refused():
    with pytest.raises(ConfigurationError, match="min_pt_hat must be at least 1 GeV"):
        make_dataset("heptrkx-qcd", {"min_pt_hat": 0.5})
