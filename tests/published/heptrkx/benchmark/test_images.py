"""The figures of the image methods, with networks whose performance is known."""

from pathlib import Path

import numpy as np
import pytest

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.track_model import TrackModel
from mltrack_plugin.published.heptrkx.benchmark import figures, images, vertices
from mltrack_plugin.published.heptrkx.simulation.heptrkx_vertex import VertexImages


def model_of(engine, **hyperparameters):
    card = ModelCard(
        name="known",
        architecture="known",
        hyperparameters=hyperparameters,
        kind="image",
        features=("hit",),
        units={"hit": "1"},
        coordinate_system="cartesian",
        detectors=("toy-planes",),
        outputs=("known",),
    )
    return TrackModel(card=card, sha256="0" * 64, path=Path("known.pt"), device="cpu", engine=engine)


def one_hot(sample):
    """The pixels of the first track of each event."""
    return np.concatenate([np.eye(50, dtype=np.float32)[batch.track_pixel[:, 0]] for batch in sample])


def test_accuracy_is_one_for_the_truth_and_the_share_of_planes_otherwise():
    sample = images.plane_events({"tracks": (6, 6), "clean_planes": 5}, seed=1, events=40)
    value, error = images.segmentation_accuracy(model_of(lambda image: one_hot(sample)), sample)
    assert (value, error) == (1.0, 0.0)
    wrong = one_hot(sample)
    # Every second event is wrong in the rear half of its planes.
    wrong[::2, 25:] = 0.0
    wrong[::2, 25:, 0] = 1.0
    value, error = images.segmentation_accuracy(model_of(lambda image: wrong), sample)
    assert 0.75 <= value < 0.8
    assert error == pytest.approx(0.25 / np.sqrt(39), rel=0.1)


def test_lines_with_known_errors_have_their_widths_and_unit_pulls(monkeypatch):
    rng = np.random.default_rng(1)

    def network(batch):
        (sample,) = [b for b in samples if len(b.intercept) == len(batch) and np.array_equal(b.images, batch)]
        noise = rng.normal(size=(len(batch), 2)) * [0.3, 0.01]
        true = np.stack([sample.intercept[:, 0], sample.slope[:, 0]], axis=1)
        lines = np.zeros((len(batch), 1, 5), dtype=np.float32)
        lines[:, 0, :2] = true + noise
        lines[:, 0, 2:4] = 0.3, 0.01
        return lines

    samples = images.plane_events({"tracks": (1, 1), "noise": (0.2, 0.2)}, seed=1, events=1000)
    monkeypatch.setattr(images, "load_model", lambda name: model_of(network))
    rows = [row for row in images.line_rows(1, 1000) if row.system == "image-track-cnn-gauss"]
    expected = [0.3, 0.0, 1.0, 0.01, 0.0, 1.0]
    assert len(rows) == len(expected)
    for row, value in zip(rows, expected, strict=True):
        assert abs(row.ours - value) < 5 * row.uncertainty


def test_lengths_of_sequences():
    exists = np.array([[0.9, 0.8, 0.7], [0.9, 0.4, 0.9], [0.1, 0.9, 0.9]])
    assert images.sequence_lengths(exists).tolist() == [3, 1, 0]


def test_figures_of_vertices_count_what_is_near():
    # Bins of 5 mm centred at -7.5, -2.5, 2.5, 7.5; event 0: right, event 1: 10 mm away and a second one found.
    output = np.zeros((2, 2, 4), dtype=np.float32)
    output[:, 0, 0] = 1.0
    output[1, 1, 3] = 0.9
    sample = VertexImages(
        images=np.zeros((2, 3, 1, 1)),
        primary=np.array([-6.0, 2.5]),
        event=np.array([0, 1, 1]),
        z=np.array([-6.0, 2.5, 8.0]),
    )
    found = vertices.vertex_figures(model_of(lambda image: output, bin_width=5.0), [sample])
    assert found["primary vertex within 5 mm"][0] == 0.5
    assert found["efficiency of all vertices"][0] == pytest.approx(1.0)
    assert found["purity of all vertices"][0] == pytest.approx(2 / 3)


def test_central_width_of_a_gaussian_ignores_tails():
    rng = np.random.default_rng(1)
    values = np.append(rng.normal(0, 2.0, 50_000), np.full(50, 1e6))
    assert figures.central_width(values) == pytest.approx(2.0, rel=0.02)
