"""Algorithms on images, with networks whose answers are known."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from mltrack_plugin.algorithms.heptrkx.find_vertices import FindVertices
from mltrack_plugin.algorithms.heptrkx.regress_image_tracks import RegressImageTracks
from mltrack_plugin.algorithms.heptrkx.segment_image import SegmentImage
from mltrack_plugin.archives.archive import save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.track_model import TrackModel
from mltrack_plugin.errors import EventError, ModelError
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks, Vertices
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.models import build_network
from mltrack_plugin.models.vertex_cnn import VertexCNNConfig
from mltrack_plugin.simulation.datasets import make_dataset
from mltrack_plugin.simulation.redvid import disc_lines

RASTER = {"planes": 50, "pixels": 50, "pitch": 1.0, "spacing": 1.0}


def make_card(architecture, outputs, detector="toy-planes", **hyperparameters):
    return ModelCard(
        name="known",
        architecture=architecture,
        hyperparameters=hyperparameters,
        kind="image",
        features=("hit",),
        units={"hit": "1"},
        coordinate_system="cartesian",
        detectors=(detector,),
        outputs=outputs,
    )


def use(algorithm, monkeypatch, card, engine):
    """The algorithm with ``engine`` as its network."""
    model = TrackModel(card=card, sha256="0" * 64, path=Path("known.pt"), device="cpu", engine=engine)
    monkeypatch.setattr("mltrack_plugin.archives.archive.load_model", lambda *args, **settings: model)
    algorithm.initialize()
    return algorithm


def store_of(hits):
    store = EventStore(1)
    store.add("hits", hits)
    return store


def no_hits():
    return Hits(*np.zeros((4, 0), dtype=np.uint64), layer_id=np.zeros(0, int), volume_id=np.zeros(0, int))


def extrapolate(images):
    """The pixels on the straight line through the first and the last pixel of the seed."""
    first, last = images[:, 0].argmax(axis=1), images[:, 4].argmax(axis=1)
    centre = first[:, None] + (last - first)[:, None] / 4 * np.arange(images.shape[1])
    distance = np.abs(np.arange(images.shape[2]) - centre[:, :, None])
    weight = np.exp(-distance)
    return (weight / weight.sum(axis=2, keepdims=True)).astype(np.float32)


@pytest.fixture
def segment(monkeypatch):
    card = make_card("image-segmentation", ("probability",), seed_planes=5, **RASTER)
    return use(SegmentImage(model="known"), monkeypatch, card, extrapolate)


def parallel_tracks(*pixels):
    plane, pixel = (grid.ravel() for grid in np.meshgrid(np.arange(50), pixels, indexing="ij"))
    n = len(plane)
    return Hits(np.arange(n), plane, pixel + 0.5, np.zeros(n), layer_id=plane), pixel


def test_segmentation_gives_each_pixel_its_track(segment):
    hits, pixel = parallel_tracks(5, 20, 40)
    store = store_of(hits)
    segment.execute(store)
    tracks = store.get("proto_tracks", ProtoTracks)
    assert len(tracks) == 3
    labels = tracks.labels(len(hits))
    for track in range(3):
        assert len(np.unique(pixel[labels == track])) == 1
    assert (labels >= 0).all()
    assert (tracks.membership > 0.3).all()


def test_segmentation_leaves_noise_alone(segment):
    hits, _ = parallel_tracks(5)
    noise = Hits(np.arange(100, 103), [10, 20, 30], [30.5, 40.5, 45.5], np.zeros(3), layer_id=[10, 20, 30])
    both = Hits(**{n: np.concatenate([getattr(hits, n), getattr(noise, n)]) for n in hits.arrays()})
    store = store_of(both)
    segment.execute(store)
    labels = store.get("proto_tracks", ProtoTracks).labels(len(both))
    assert (labels[:50] == 0).all()
    assert (labels[50:] == -1).all()


def test_an_empty_event_and_one_without_seeds_have_no_tracks(segment):
    for hits in (no_hits(), Hits([1], [30.0], [3.5], [0.0], layer_id=[30])):
        store = store_of(hits)
        segment.execute(store)
        assert len(store.get("proto_tracks", ProtoTracks)) == 0


def test_hits_beside_the_image_are_an_error_or_left_out(segment, caplog):
    hits, _ = parallel_tracks(5, 20)
    shifted = Hits(**{**hits.arrays(), "y": hits.y + 40})
    with pytest.raises(EventError, match=r"50 of 100 hits lie outside the image .* y from 0 to 50 mm"):
        segment.execute(store_of(shifted))
    far = hits.y.copy()
    far[7] = -3.0
    store = store_of(Hits(**{**hits.arrays(), "y": far}))
    segment.execute(store)
    assert store.get("proto_tracks", ProtoTracks).labels(100)[7] == -1
    with caplog.at_level(logging.WARNING):
        segment.finalize()
    assert "1 hits lie outside the image" in caplog.text


def test_hits_of_another_detector_are_refused(segment):
    event = make_dataset("redvid-10-50-linear").event(0, seed=1, split="test")
    with pytest.raises(EventError, match="outside the image"):
        segment.execute(store_of(event.hits))
    with pytest.raises(EventError, match="layer_id"):
        segment.execute(store_of(Hits(np.arange(2), *np.ones((3, 2)))))


def test_too_many_seeds_are_an_error(monkeypatch):
    card = make_card("image-segmentation", ("probability",), seed_planes=5, **RASTER)
    algorithm = use(SegmentImage(model="known", max_seeds=10), monkeypatch, card, extrapolate)
    event = make_dataset("toy-planes", {"noise": [0.5, 0.5]}).event(0, seed=1, split="test")
    with pytest.raises(EventError, match="max_seeds = 10"):
        algorithm.execute(store_of(event.hits))


def test_a_model_of_another_kind_or_detector_is_refused(tmp_path):
    torch.manual_seed(1)
    sizes = {"planes": 8, "pixels": 8, "channels": [2, 3], "features": 4}
    network = build_network("track-regression-cnn", sizes).eval()
    card = make_card("track-regression-cnn", ("intercept", "slope"), **sizes)
    path = str(save_torchscript(network, card, tmp_path / "line.pt"))
    RegressImageTracks(model=path, detector="toy-planes").initialize()
    with pytest.raises(ModelError, match="image-segmentation"):
        SegmentImage(model=path).initialize()
    with pytest.raises(ModelError, match="'generic'"):
        RegressImageTracks(model=path, detector="generic").initialize()
    with pytest.raises(ModelError, match="reads the hits of an event"):
        SegmentImage(model="encreg-redvid-10-50-linear").initialize()


def regressor(monkeypatch, lines, **settings):
    """The algorithm with a network that gives these lines for every image."""
    lines = np.asarray(lines, dtype=np.float32)
    names = ("intercept", "slope", "sigma_intercept", "sigma_slope", "correlation", "exists")
    card = make_card(
        "track-sequence-cnn" if lines.shape[1] == 6 else "track-regression-cnn",
        names[: lines.shape[1]],
        slots=len(lines),
        **RASTER,
    )
    return use(RegressImageTracks(model="known", **settings), monkeypatch, card, lambda image: lines[None])


def test_regressed_lines_take_their_hits(monkeypatch):
    hits, pixel = parallel_tracks(5, 20, 40)
    lines = [
        [40.5, 0.0, 0.1, 0.01, 0.0, 0.9],
        [5.5, 0.0, 0.1, 0.01, 0.0, 0.9],
        [20.5, 0.0, 0.1, 0.01, 0.0, 0.1],
    ]
    store = store_of(hits)
    regressor(monkeypatch, lines).execute(store)
    tracks = store.get("candidate_tracks", Tracks)
    # The third line does not exist; the order of tracks is that of their hits.
    np.testing.assert_allclose(tracks.d0, [5.5, 40.5])
    np.testing.assert_allclose(tracks.phi, 0.0)
    np.testing.assert_allclose(tracks.covariance[:, 0, 0], 0.1**2, rtol=1e-5)
    labels = tracks.labels(len(hits))
    assert set(pixel[labels == 0]) == {5}
    assert set(pixel[labels == 1]) == {40}
    assert (labels[pixel == 20] == -1).all()


def test_the_sequence_ends_at_the_first_line_that_does_not_exist(monkeypatch):
    hits, _ = parallel_tracks(5, 20)
    lines = [[5.5, 0, 0.1, 0.01, 0, 0.9], [1.0, 0, 0.1, 0.01, 0, 0.2], [20.5, 0, 0.1, 0.01, 0, 0.9]]
    store = store_of(hits)
    regressor(monkeypatch, lines).execute(store)
    assert len(store.get("candidate_tracks", Tracks)) == 1


def test_events_that_fill_all_places_are_counted(monkeypatch, caplog):
    hits, _ = parallel_tracks(5, 20, 40)
    algorithm = regressor(monkeypatch, [[5.5, 0, 0.1, 0.01, 0, 0.9], [20.5, 0, 0.1, 0.01, 0, 0.9]])
    store = store_of(hits)
    algorithm.execute(store)
    assert len(store.get("candidate_tracks", Tracks)) == 2
    with caplog.at_level(logging.WARNING):
        algorithm.finalize()
    assert "1 events fill all 2 places" in caplog.text


def test_a_network_without_uncertainties_gives_no_covariance(monkeypatch):
    hits, _ = parallel_tracks(5)
    store = store_of(hits)
    regressor(monkeypatch, [[5.5, 0.0]]).execute(store)
    tracks = store.get("candidate_tracks", Tracks)
    assert len(tracks) == 1
    assert tracks.covariance is None


def test_a_line_far_from_all_hits_is_dropped_and_no_hits_give_no_tracks(monkeypatch):
    algorithm = regressor(monkeypatch, [[45.0, 0.0]])
    for hits in (parallel_tracks(5)[0], no_hits()):
        store = store_of(hits)
        algorithm.execute(store)
        assert len(store.get("candidate_tracks", Tracks)) == 0


DISCS = {
    "planes": 9,
    "pixels": 64,
    "pitch": 2 * np.pi / 64,
    "coordinate": "phi",
    "start": 2.0,
    "layers": [[0, layer] for layer in range(9, 18)],
}


def test_lines_in_azimuth_take_their_hits_across_the_edge(monkeypatch):
    exact = {"tracks": (2, 2), "sigma_r": 0.0, "sigma_theta": 0.0, "sigma_z": 0.0}
    dataset = make_dataset("redvid-endcap", exact)
    # An event with a track that crosses azimuth pi.
    events = (dataset.event(index, seed=1, split="test") for index in range(100))
    event = next(e for e in events if np.abs(np.diff(e.hits.phi[e.truth_links.particle_id == 1])).max() > 6)
    azimuth, slope = disc_lines(event.particles)
    place = (azimuth + 2.0 * slope + np.pi) % (2 * np.pi)
    lines = np.stack([place, slope, *np.tile([[0.01], [0.002], [0.0], [0.9]], 2)], axis=1)
    names = ("intercept", "slope", "sigma_intercept", "sigma_slope", "correlation", "exists")
    card = make_card("track-sequence-cnn", names, "redvid", slots=3, **DISCS)
    output = np.concatenate([lines, np.zeros((1, 6))]).astype(np.float32)[None]
    algorithm = use(RegressImageTracks(model="known"), monkeypatch, card, lambda image: output)
    store = store_of(event.hits)
    algorithm.execute(store)
    tracks = store.get("candidate_tracks", Tracks)
    labels = tracks.labels(len(event.hits))
    assert len(tracks) == 2
    for track in range(2):
        owner = np.unique(event.truth_links.particle_id[labels == track])
        assert len(owner) == 1
        difference = tracks.phi[track] - azimuth[int(owner[0]) - 1]
        assert np.abs((difference + np.pi) % (2 * np.pi) - np.pi) < 1e-5
    np.testing.assert_allclose(tracks.covariance[:, 2, 2], 0.01**2 + (2 * 0.002) ** 2, rtol=1e-5)
    assert np.isnan(tracks.d0).all()


def test_hits_on_other_layers_than_the_planes_are_refused_by_name(monkeypatch):
    card = make_card("image-segmentation", ("probability",), "redvid", seed_planes=3, **DISCS)
    algorithm = use(SegmentImage(model="known"), monkeypatch, card, extrapolate)
    event = make_dataset("redvid-10-50-linear").event(0, seed=1, split="test")
    with pytest.raises(EventError, match=r"outside the image .* one of \(0, 9\), \(0, 10\).* volume_id"):
        algorithm.execute(store_of(event.hits))


@pytest.fixture
def vertex_finder(monkeypatch):
    sizes = VertexCNNConfig()
    seen = []

    def network(images):
        seen.append(images)
        output = np.zeros((1, 2, sizes.bins), dtype=np.float32)
        output[0, 0, 10] = 1.0
        output[0, 1, [10, 40]] = 0.9
        return output

    card = make_card("vertex-cnn", ("primary", "vertex"), "generic", **sizes.model_dump(mode="json"))
    return use(FindVertices(model="known"), monkeypatch, card, network), seen, sizes


def barrel_hits(layers, z):
    n = len(layers)
    radius = np.array([32.0, 72.0, 116.0])[np.asarray(layers) // 2 - 1]
    return Hits(np.arange(n), radius, np.zeros(n), z, volume_id=np.full(n, 8), layer_id=layers)


def test_vertices_of_the_network_come_out_with_the_primary_first(vertex_finder):
    algorithm, seen, sizes = vertex_finder
    store = store_of(barrel_hits([2, 4, 6, 2], [0.0, 10.0, -10.0, 9999.0]))
    algorithm.execute(store)
    assert seen[0].shape == (1, 3, sizes.n_phi, sizes.columns)
    # A hit beyond the image is no pixel.
    assert seen[0].sum() == 3
    vertices = store.get("vertices", Vertices)
    centre = (np.arange(sizes.bins) - 0.5 * (sizes.bins - 1)) * sizes.bin_width
    np.testing.assert_allclose(vertices.z, centre[[10, 40]])
    np.testing.assert_allclose(vertices.weight, [1.0, 0.9])


def test_events_without_barrel_hits_have_no_vertices_and_are_counted(vertex_finder, caplog):
    algorithm, seen, _ = vertex_finder
    endcap = Hits([1], [50.0], [0.0], [700.0], volume_id=[9], layer_id=[2])
    for hits in (no_hits(), endcap):
        store = store_of(hits)
        algorithm.execute(store)
        assert len(store.get("vertices", Vertices)) == 0
    assert not seen
    with caplog.at_level(logging.WARNING):
        algorithm.finalize()
    assert "2 of 2 events have no hit on volume 8 layer 2" in caplog.text


def test_hits_without_volumes_are_refused(vertex_finder):
    with pytest.raises(EventError, match="volume_id"):
        vertex_finder[0].execute(store_of(Hits([1], [32.0], [0.0], [0.0], layer_id=[2])))
