"""Barrel layers and the hits of particles along them."""

import numpy as np
import pytest
from barrel_events import event, lines

from mltrack_plugin.errors import EventError
from mltrack_plugin.event_data import Hits, TruthLinks
from mltrack_plugin.published.heptrkx.sequences.barrel import (
    N_LAYERS,
    HitSequences,
    barrel_layer,
    particle_sequences,
    validity_ranges,
)


def hits_on(volumes, layers, r=None):
    n = len(volumes)
    r = np.linspace(30, 1000, n) if r is None else np.asarray(r)
    return Hits(np.arange(n), r, np.zeros(n), np.zeros(n), volume_id=volumes, layer_id=layers)


def test_layers_are_counted_from_the_inside_and_endcaps_are_none():
    hits = hits_on([8, 8, 13, 17, 17, 7, 9, 8, 12], [2, 8, 2, 2, 4, 2, 14, 3, 2])
    assert barrel_layer(hits).tolist() == [0, 3, 4, 8, 9, -1, -1, -1, -1]


def test_hits_without_layer_numbers_are_refused():
    with pytest.raises(EventError, match=r"no layer_id.*map the branches"):
        barrel_layer(Hits(np.arange(1), [30.0], [0.0], [0.0], volume_id=[8]))
    with pytest.raises(EventError, match="no volume_id and layer_id"):
        barrel_layer(Hits(np.arange(1), [30.0], [0.0], [0.0]))


def test_each_particle_gives_its_hits_in_the_order_of_the_layers():
    tracks = lines(5)
    hits, truth = event(tracks)
    found = particle_sequences(hits, truth)
    assert found.particle_id.tolist() == [1, 2, 3, 4, 5]
    assert found.length.tolist() == [N_LAYERS] * 5
    np.testing.assert_allclose(found.hits, tracks, atol=1e-3)
    assert (truth.particle_id[found.rows] == found.particle_id[:, None]).all()
    assert found.mask.all()


def test_a_sequence_ends_before_the_first_missing_layer():
    present = np.ones((4, N_LAYERS), dtype=bool)
    present[0, 5] = present[1, 2] = present[2, 0] = False
    found = particle_sequences(*event(lines(4), present), min_length=3)
    assert found.particle_id.tolist() == [1, 4]
    assert found.length.tolist() == [5, 10]
    assert (found.hits[0, 5:] == 0).all()
    assert (found.rows[0, 5:] == -1).all()
    assert found.mask[0].sum() == 5


def test_of_two_hits_on_a_layer_the_inner_one_counts():
    hits = hits_on([8, 8, 8, 8], [2, 2, 4, 6], [33.0, 31.0, 72.0, 116.0])
    found = particle_sequences(hits, TruthLinks(np.full(4, 9, dtype=np.uint64)))
    assert found.rows[0, :3].tolist() == [1, 2, 3]


def test_noise_is_in_no_sequence_and_an_empty_event_has_none():
    hits, truth = event(lines(2))
    assert len(particle_sequences(hits, TruthLinks(np.zeros(len(hits), dtype=np.uint64)))) == 0
    empty = Hits(np.zeros(0), [], [], [], volume_id=[], layer_id=[])
    found = particle_sequences(empty, TruthLinks(np.zeros(0, dtype=np.uint64)))
    assert len(HitSequences.join([found, particle_sequences(hits, truth)])) == 2


def test_validity_reaches_a_little_beyond_the_hits():
    assert validity_ranges(np.array([[30.0, 1.0, -200.0], [1000.0, 0.0, 100.0]])) == {
        "r": [0.0, 1050.0],
        "z": [-300.0, 200.0],
    }
