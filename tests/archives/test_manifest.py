"""Shipped models: the manifest is consistent with the files, and a changed file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_fixtures import features, make_card, make_network

from mltrack_plugin.archives import manifest
from mltrack_plugin.archives.archive import SUFFIXES, load_model, read_model_file, save_torchscript
from mltrack_plugin.archives.manifest import available_models, pretrained_folder
from mltrack_plugin.archives.register import register_model
from mltrack_plugin.errors import ModelError, OutputError
from mltrack_plugin.jobs.config import job_text
from mltrack_plugin.models import build_network


@pytest.fixture
def shipped(tmp_path: Path, network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of shipped models that holds one."""
    folder = tmp_path / "pretrained"
    folder.mkdir()
    monkeypatch.setattr(manifest, "pretrained_folder", lambda: folder)
    register_model(save_torchscript(network, make_card(), tmp_path / "new.pt"), "tiny-job", ["gun"])
    return folder


def test_every_shipped_model_is_what_the_manifest_says() -> None:
    models = available_models()
    for name, entry in models.items():
        file = read_model_file(name)
        assert file.sha256 == entry.sha256
        assert file.card.name == name
        assert file.card.architecture == entry.architecture
        assert file.card.detectors == entry.detectors
        if file.card.kind == "hits":
            assert load_model(name).predict(features(3)[:, : len(file.card.features)]).shape[0] == 3
        else:
            network: Any = build_network(file.card.architecture, file.card.hyperparameters)
            inputs = [tensor.numpy() for tensor in network.example_inputs(1)]
            assert np.isfinite(load_model(name).apply(*inputs)).all()
    files = {path.name for path in pretrained_folder().iterdir() if path.suffix in SUFFIXES}
    assert files == {entry.file for entry in models.values()}


def test_every_shipped_models_job_exists_and_uses_it() -> None:
    for name, entry in available_models().items():
        if entry.job is not None:
            # Or says in a comment that it can.
            assert name in job_text(entry.job)


def test_a_registered_model_loads_by_name(shipped: Path) -> None:
    model = load_model("tiny-encreg")
    assert model.path == shipped / "tiny-encreg.pt"
    entry = available_models()["tiny-encreg"]
    assert (entry.sha256, entry.job, entry.datasets) == (model.sha256, "tiny-job", ("gun",))
    assert sorted(p.name for p in shipped.iterdir()) == ["manifest.json", "tiny-encreg.pt"]


def test_near_names(shipped: Path) -> None:
    with pytest.raises(ModelError, match=r"no shipped model 'tiny-encrag' .* Did you mean 'tiny-encreg'"):
        load_model("tiny-encrag")


def test_a_changed_file_is_refused_unless_asked(shipped: Path) -> None:
    other = save_torchscript(make_network(seed=9), make_card(), shipped / "tiny-encreg.pt")
    with pytest.raises(ModelError, match=r"the file was changed or damaged. Reinstall"):
        load_model("tiny-encreg")
    assert load_model("tiny-encreg", verify=False).path == other


def test_registering_again_replaces_and_keeps_the_others(shipped: Path, tmp_path: Path) -> None:
    first = available_models()["tiny-encreg"]
    card = make_card(name="another")
    register_model(save_torchscript(make_network(3), card, tmp_path / "x.pt"), "job-2", ["gun", "hepmc"])
    register_model(save_torchscript(make_network(4), make_card(), tmp_path / "y.pt"), "tiny-job", ["gun"])
    models = available_models()
    assert list(models) == ["another", "tiny-encreg"]
    assert models["tiny-encreg"].sha256 != first.sha256
    assert load_model("tiny-encreg").sha256 == models["tiny-encreg"].sha256


def test_only_loadable_models_are_registered(shipped: Path, tmp_path: Path) -> None:
    before = (shipped / "manifest.json").read_bytes()
    (tmp_path / "bad.pt").write_bytes(b"rubbish")
    with pytest.raises(ModelError, match=r"bad\.pt: not a model archive"):
        register_model(tmp_path / "bad.pt", "job", [])
    with pytest.raises(OutputError, match="cannot be registered"):
        register_model(shipped / "tiny-encreg.pt", "job", [], folder=tmp_path / "missing")
    assert (shipped / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    "content", ["", "[]", '{"a": 1}', json.dumps({"a": {"file": "../a.pt", "sha256": "0" * 64}})]
)
def test_damaged_manifest(shipped: Path, content: str) -> None:
    (shipped / "manifest.json").write_text(content)
    with pytest.raises(ModelError, match="list of shipped models is damaged"):
        available_models()
    (shipped / "manifest.json").unlink()
    with pytest.raises(ModelError, match="list of shipped models cannot be read"):
        available_models()
