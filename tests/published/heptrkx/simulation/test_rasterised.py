"""Events of detectors as images: pixels of every track, the seed alone in the first planes, straight lines on discs."""

import numpy as np
import pytest

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models.plane_raster import PlaneRaster
from mltrack_plugin.published.heptrkx.simulation.rasterised import rasterised, straight
from mltrack_plugin.simulation.datasets import make_dataset

DISCS = PlaneRaster(
    planes=9,
    pixels=64,
    pitch=2 * np.pi / 64,
    coordinate="phi",
    start=2.0,
    layers=tuple((0, layer) for layer in range(9, 18)),
)
EXACT = {"sigma_r": 0.0, "sigma_theta": 0.0, "sigma_z": 0.0}


def events_of(n=20, **settings):
    dataset = make_dataset("redvid-endcap", settings)
    return [dataset.event(index, seed=3, split="test") for index in range(n)]


def test_helices_are_straight_lines_on_the_discs():
    found = rasterised(events_of(**EXACT), DISCS, 0, np.random.default_rng(1))
    place = found.intercept[:, :, None] + found.slope[:, :, None] * np.arange(9)
    pixel = np.floor(place % (2 * np.pi) / DISCS.pitch).astype(int)
    seen = found.track_pixel >= 0
    np.testing.assert_array_equal(found.track_pixel[seen], pixel[seen])
    assert np.abs(found.slope).max() > DISCS.pitch
    # Only the outermost of the short discs can be missed.
    assert (
        seen[:, :, [0, 1, 2, 3, 5, 6, 7, 8]].all(axis=2) == (np.arange(6) < found.n_tracks[:, None])
    ).all()


def test_every_hit_is_a_pixel_of_its_image():
    events = events_of(n=8)
    found = rasterised(events, DISCS, 0, np.random.default_rng(1))
    assert found.n_tracks.tolist() == [len(event.particles) for event in events]
    for event, image in zip(events, found.images, strict=True):
        row, column = np.nonzero(image)
        turn = np.mod(event.hits.phi.astype(float) + np.pi, 2 * np.pi)
        pixels = {(int(p), int(c)) for p, c in zip(event.hits.layer_id - 9, turn // DISCS.pitch, strict=True)}
        assert pixels == set(zip(row.tolist(), column.tolist(), strict=True))


def test_the_first_planes_show_the_seed_alone():
    found = rasterised(events_of(tracks=(4, 6)), DISCS, 3, np.random.default_rng(1))
    images = found.images
    assert (images[:, :3].sum(axis=2) == 1).all()
    rows = np.arange(len(images))[:, None]
    assert (images[rows, np.arange(3), found.track_pixel[:, 0, :3]] == 1).all()
    assert (images[:, 3:].sum(axis=(1, 2)) > 6).all()
    # Any track may be the seed.
    again = rasterised(events_of(tracks=(4, 6)), DISCS, 3, np.random.default_rng(2))
    assert (again.track_pixel[:, 0] != found.track_pixel[:, 0]).any()


def test_barrel_layers_are_planes_too():
    dataset = make_dataset("redvid-10-50-linear", {"tracks": (5, 5), "last_layers": ("barrel",)})
    event = dataset.event(0, seed=1, split="test")
    raster = PlaneRaster(
        planes=4, pixels=32, pitch=np.pi / 16, coordinate="phi", layers=((1, 0), (1, 1), (1, 2), (1, 3))
    )
    found = rasterised([event], raster, 0, np.random.default_rng(1))
    assert found.n_tracks.tolist() == [5]
    assert (found.track_pixel[0] >= 0).any(axis=1).all()
    assert not straight(raster)
    assert straight(DISCS)


def test_events_without_a_seed_are_refused():
    elsewhere = events_of(n=3, last_layers=("long-",))
    with pytest.raises(ConfigurationError, match=r"none of 3 events has a track .* first 3 planes"):
        rasterised(elsewhere, DISCS, 3, np.random.default_rng(1))
