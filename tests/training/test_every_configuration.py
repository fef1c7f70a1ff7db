"""Shipped training configurations: tiny variants train and become models; shipped models are what they say."""

import hashlib
import json

import pytest

pytest.importorskip("lightning")

from mltrack_plugin.archives.archive import load_model, read_model_file
from mltrack_plugin.archives.checkpoint import export_checkpoint
from mltrack_plugin.archives.manifest import available_models
from mltrack_plugin.errors import MissingExtraError
from mltrack_plugin.simulation.datasets import dataset_entry
from mltrack_plugin.training.config import load_training_config, training_configs
from mltrack_plugin.training.metrics_file import read_metrics
from mltrack_plugin.training.run import train


@pytest.fixture(scope="module")
def banks(tmp_path_factory):
    return tmp_path_factory.mktemp("banks")


def tiny(name, banks):
    """The tiny variant, with its simulated particles kept for other configurations that need the same."""
    config = load_training_config(name, tiny=True)
    settings = config.dataset_settings
    if "bank_dir" in dataset_entry(config.dataset).load().Config.model_fields:
        key = hashlib.sha256(json.dumps([config.dataset, settings], sort_keys=True).encode()).hexdigest()
        settings = {**settings, "bank_dir": str(banks / key[:16])}
    return load_training_config(name, tiny=True, dataset_settings=settings)


@pytest.mark.parametrize("name", training_configs())
def test_tiny_variant_trains_and_is_exported(name, banks, tmp_path):
    config = tiny(name, banks)
    try:
        last = train(config, tmp_path / "run", device="cpu", threads=1, progress=False)
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert sum("val_score" in row for row in read_metrics(tmp_path / "run" / "metrics.csv")) >= 1
    model = export_checkpoint(last, tmp_path / "model.pt")
    card = load_model(tmp_path / "model.pt").card
    assert card.name == model.card.name == name
    assert card.architecture == config.architecture
    assert card.training_recipe["command"] == f"mltrack train {name} --tiny"
    assert str(banks) not in card.to_json()


#: Trained in parts on several schedules, or before cards named command, time and machine.
OTHERWISE_MADE = {
    "gaussian-hit-predictor", "gnn-hits", "gnn-segments", "gnn-segments-endcaps", "gru-assignment",
    "image-segmentation-cnn", "image-segmentation-lstm", "image-track-cnn", "image-track-cnn-gauss",
    "image-tracks-cnn-lstm", "lstm-hit-predictor", "vertex-cnn",
}  # fmt: skip


def shipped_models():
    """Names; those made otherwise are expected to fail, so that none stays on the list once it is made anew."""
    otherwise = pytest.mark.xfail(strict=True, raises=(AssertionError, KeyError))
    return [
        pytest.param(name, marks=otherwise if name in OTHERWISE_MADE else ()) for name in available_models()
    ]


@pytest.mark.parametrize("name", shipped_models())
def test_every_shipped_model_is_what_its_configuration_trains(name):
    card, config = read_model_file(name).card, load_training_config(name)
    recipe = card.training_recipe
    assert recipe["command"] == f"mltrack train {name}"
    assert recipe["machine"]
    assert recipe["wall_time_s"] > 0
    # The whole training was one of this command.
    assert "wall_time_from_step" not in recipe
    assert (recipe["steps"], recipe["precision"]) == (config.steps, config.precision)
    assert f"learning rate {config.learning_rate:g}" in recipe["optimiser"]
    assert card.metrics["steps"] <= config.steps
    for field in ("dataset", "seed"):
        assert card.training_data[field] == getattr(config, field)
    assert card.training_data["settings"] == config.dataset_settings
    assert card.architecture == config.architecture
    assert card.detectors == config.detectors
    assert contains(card.hyperparameters, config.network)


def contains(whole, part):
    """Whether settings, with all defaults filled in, are those of a part of them."""
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return whole == part


def test_what_contains_tells_apart():
    whole = {"a": [{"b": 1, "c": 2}], "d": 1.0}
    assert contains(whole, {"a": [{"b": 1}], "d": 1})
    for other in ({"a": [{"b": 2}]}, {"a": []}, {"e": 1}, {"a": [{"b": 1}, {"b": 1}]}):
        assert not contains(whole, other)
