"""Trainings of the networks on images: targets, batches, and from the tiny configuration to a model archive."""

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.archives.checkpoint import export_checkpoint
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models.plane_images import line_parameters
from mltrack_plugin.published.heptrkx.training.images import entry_and_exit, hit_accuracy
from mltrack_plugin.training.config import load_training_config
from mltrack_plugin.training.run import train
from mltrack_plugin.training.tasks import make_task

RUNS = {
    "image-segmentation-lstm": ("probability",),
    "image-segmentation-cnn": ("probability",),
    "image-track-cnn": ("intercept", "slope"),
    "image-track-cnn-gauss": ("intercept", "slope", "sigma_intercept", "sigma_slope", "correlation"),
    "image-tracks-cnn-lstm": (
        *("intercept", "slope", "sigma_intercept", "sigma_slope", "correlation"),
        "exists",
    ),
}
#: Runs on the planes of other detectors than the toy: their detectors and rows.
RASTERS = {"image-segmentation-redvid": ("redvid", 9), "image-tracks-redvid": ("redvid", 9)}


@pytest.mark.parametrize("name", RUNS)
def test_tiny_training_becomes_a_model(name, tmp_path):
    config = load_training_config(name, tiny=True)
    last = train(config, tmp_path / "run", device="cpu", threads=1, progress=False)
    export_checkpoint(last, tmp_path / "model.pt")
    model = load_model(tmp_path / "model.pt")
    card = model.card
    assert card.kind == "image"
    assert card.outputs == RUNS[name]
    assert card.detectors == ("toy-planes",)
    assert card.hyperparameters["planes"] == card.hyperparameters["pixels"] == 12
    output = model.apply(np.zeros((2, 12, 12), dtype=np.float32))
    assert output.shape[0] == 2
    assert np.isfinite(output).all()


@pytest.mark.parametrize("name", RASTERS)
def test_planes_of_other_detectors_are_learned_too(name, tmp_path):
    config = load_training_config(name, tiny=True)
    export_checkpoint(
        train(config, tmp_path / "run", device="cpu", threads=1, progress=False), tmp_path / "model.pt"
    )
    card = load_model(tmp_path / "model.pt").card
    detector, planes = RASTERS[name]
    assert card.detectors == (detector,)
    assert card.coordinate_system == "cylindrical"
    assert card.hyperparameters["layers"] == [[0, layer] for layer in range(9, 18)]
    assert load_model(tmp_path / "model.pt").apply(np.zeros((2, planes, 64), dtype=np.float32)).shape[0] == 2


def test_lines_need_planes_where_tracks_are_straight():
    raster = load_training_config("image-segmentation-barrel").raster
    config = load_training_config("image-tracks-redvid", tiny=True).model_copy(update={"raster": raster})
    with pytest.raises(ConfigurationError, match="straight lines on toy planes and on discs"):
        make_task(config)


@pytest.mark.parametrize("name", [*RUNS, *RASTERS])
def test_batches_depend_on_their_number_alone(name):
    task = make_task(load_training_config(name, tiny=True))
    stream = task.training_batches(0)
    batches = [next(stream) for _ in range(3)]
    for one, two in zip(batches[2], next(task.training_batches(2)), strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(batches[0][0], batches[1][0])
    assert not torch.equal(batches[0][0], task.validation_batches()[0][0])


def test_entry_and_exit_are_what_the_network_turns_into_lines():
    task = make_task(load_training_config("image-track-cnn", tiny=True))
    events = task.events(0, "train")
    raw = entry_and_exit(events, task.raster)
    lines = line_parameters(raw, 12, 12, 1.0, 1.0).numpy()
    np.testing.assert_allclose(lines[..., 0], events.intercept, rtol=1e-4)
    np.testing.assert_allclose(lines[..., 1], events.slope, atol=1e-5)


def test_sequence_targets_are_sorted_and_end_with_the_tracks():
    task = make_task(load_training_config("image-tracks-cnn-lstm", tiny=True))
    _, target, exists = next(task.training_batches(0))
    assert (exists.int().diff(dim=1) <= 0).all()
    for line, present in zip(target[..., 0], exists, strict=True):
        assert (line[present].diff() >= 0).all()


def test_planes_without_the_track_do_not_count():
    image, probability = torch.ones(1, 2, 3), torch.tensor([[[0.1, 0.8, 0.1], [0.2, 0.1, 0.7]]])
    assert float(hit_accuracy(probability, image, torch.tensor([[1, -1]]))) == 1.0


def test_accuracy_of_hits_counts_planes():
    image = torch.ones(1, 2, 3)
    image[0, 1, 2] = 0
    probability = torch.tensor([[[0.1, 0.8, 0.1], [0.2, 0.1, 0.7]]])
    # In the second plane the most probable pixel has no hit: pixel 0 wins.
    assert float(hit_accuracy(probability, image, torch.tensor([[1, 2]]))) == 0.5
    assert float(hit_accuracy(probability, image, torch.tensor([[1, 0]]))) == 1.0
