"""Toy detector planes: straight tracks where their parameters say, noise as often as asked for."""

import numpy as np
import pytest

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.simulation.datasets import make_dataset


def test_hits_of_a_particle_lie_on_its_line():
    dataset = make_dataset(
        "toy-planes", {"tracks": [3, 3], "pitch": 0.5, "spacing": 2.0, "noise": [0.1, 0.1]}
    )
    event = dataset.event(4, seed=1, split="train")
    hits, particles = event.hits, event.particles
    assert len(particles) == 3
    for row in range(3):
        mine = event.truth_links.particle_id == particles.particle_id[row]
        assert mine.sum() == particles.nhits[row] > 0
        slope = particles.py[row] / particles.px[row]
        np.testing.assert_allclose(hits.x[mine], 2.0 * hits.layer_id[mine])
        # The centre of a pixel is at most half a pixel from the line.
        distance = np.abs(particles.vy[row] + slope * hits.x[mine] - hits.y[mine])
        assert distance.max() <= 0.25 + 1e-4
    assert (event.truth_links.particle_id == 0).any()


def test_a_pixel_is_one_hit_and_shared_ones_belong_to_the_first_track():
    dataset = make_dataset("toy-planes", {"tracks": [6, 6], "planes": 8, "pixels": 6})
    for index in range(20):
        event = dataset.event(index, seed=1, split="test")
        hits = event.hits
        places = np.stack([hits.layer_id, np.floor(hits.y).astype(int)])
        assert np.unique(places, axis=1).shape[1] == len(hits)
        assert particle_hits(event, 1) == 8


def particle_hits(event, number):
    return int((event.truth_links.particle_id == number).sum())


def test_clean_planes_show_the_first_track_alone():
    dataset = make_dataset("toy-planes", {"tracks": [5, 5], "noise": [0.3, 0.3], "clean_planes": 4})
    event = dataset.event(0, seed=1, split="train")
    front = event.hits.layer_id < 4
    assert event.hits.layer_id[front].tolist() == [0, 1, 2, 3]
    assert (event.truth_links.particle_id[front] == 1).all()
    assert len(event.hits) > 500


def test_batches_agree_with_their_images_and_have_the_noise_asked_for():
    dataset = make_dataset("toy-planes", {"tracks": [0, 3], "noise": [0.2, 0.2]})
    batch = dataset.batch(0, 200, seed=1, split="train")
    assert batch.images.shape == (200, 50, 50)
    assert batch.noise.mean() == pytest.approx(0.2, abs=0.003)
    exists = batch.track_pixel[:, :, 0] >= 0
    np.testing.assert_array_equal(exists.sum(axis=1), batch.n_tracks)
    event, track, plane = np.nonzero(batch.track_pixel >= 0)
    assert (batch.images[event, plane, batch.track_pixel[event, track, plane]] == 1).all()
    assert batch.images.sum() <= batch.noise.sum() + len(event)


def test_poisson_numbers_of_tracks_end_at_the_limits():
    dataset = make_dataset("toy-planes", {"tracks": [0, 6], "mean_tracks": 3.0})
    n = dataset.batch(0, 5000, seed=1, split="train").n_tracks
    assert n.min() == 0
    assert n.max() == 6
    assert n.mean() == pytest.approx(2.98, abs=0.1)


def test_same_arguments_give_the_same_event_and_splits_differ():
    dataset = make_dataset("toy-planes", {"noise": [0.1, 0.2]})
    again = make_dataset("toy-planes", {"noise": [0.1, 0.2]})
    first = dataset.event(3, seed=1, split="train")
    assert first.hits.equals(again.event(3, seed=1, split="train").hits)
    assert not first.hits.equals(dataset.event(3, seed=1, split="test").hits)
    one, two = (d.batch(3, 4, seed=1, split="train").images for d in (dataset, again))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, dataset.batch(4, 4, seed=1, split="train").images)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"tracks": [3, 1]}, "tracks"),
        ({"noise": [0.5, 1.5]}, "noise"),
        ({"clean_planes": 60}, "clean_planes"),
        ({"tracks": [0, 2], "clean_planes": 3}, "first track"),
        ({"plane": 3}, "planes"),
    ],
)
def test_wrong_parameters_are_refused(settings, words):
    with pytest.raises(ConfigurationError, match=words):
        make_dataset("toy-planes", settings)


def test_an_event_without_tracks_and_noise_is_empty():
    event = make_dataset("toy-planes", {"tracks": [0, 0]}).event(0, seed=1, split="test")
    assert len(event.hits) == len(event.particles) == 0
