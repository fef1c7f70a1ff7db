"""The tiny variant of every shipped training configuration trains, and its checkpoint becomes a model."""

import hashlib
import json

import pytest

pytest.importorskip("lightning")

from mltrack_plugin.errors import MissingExtraError
from mltrack_plugin.models.archive import load_model
from mltrack_plugin.models.checkpoint import export_checkpoint
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
