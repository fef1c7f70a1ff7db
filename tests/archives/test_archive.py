"""Archives: the same numbers in every format, reproducible bytes, names, devices."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_fixtures import eager, features, make_card, make_network

from mltrack_plugin.archives import archive as archive_module
from mltrack_plugin.archives.archive import (
    check_content,
    load_file,
    load_model,
    pack,
    save_torchscript,
    write_atomically,
)
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import EventError, MissingExtraError, ModelError, OutputError
from mltrack_plugin.event_data import Hits

#: TorchScript runs the same kernels as the eager network; the exporters may reorder sums.
TOLERANCE = {".pt": 1e-6, ".pt2": 1e-5, ".onnx": 2e-5}


def test_every_format_gives_the_networks_numbers(archive: Path, network: torch.nn.Module) -> None:
    model = load_model(archive)
    # The first lengths differ on purpose: an executor that specialises on shapes would show here.
    for seed, n in enumerate((37, 1, 2, 300, 38)):
        event = features(n, seed)
        tolerance = TOLERANCE[archive.suffix]
        np.testing.assert_allclose(
            model.predict(event), eager(network, event), rtol=tolerance, atol=tolerance
        )


def test_padding_never_changes_real_hits(archive: Path) -> None:
    engine = load_model(archive).engine
    lengths = (5, 1, 40)
    for width, rubbish in ((40, 0.0), (64, 1e4)):
        padded = np.full((len(lengths), width, 3), rubbish, dtype=np.float32)
        mask = np.zeros((len(lengths), width), dtype=np.bool_)
        for row, n in enumerate(lengths):
            padded[row, :n], mask[row, :n] = features(n, row), True
        output = engine(padded, mask)
        for row, n in enumerate(lengths):
            alone = engine(features(n, row)[None], np.ones((1, n), dtype=np.bool_))[0]
            np.testing.assert_allclose(output[row, :n], alone, rtol=2e-5, atol=2e-5)


def test_batches_of_a_gpu_give_each_event_its_own_result(
    archive: Path, network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(archive)
    events = [features(n, n) for n in (30, 0, 7, 100, 31, 8, 1)]
    one_by_one = model.predict_batch(events)
    monkeypatch.setattr("mltrack_plugin.archives.track_model._BATCH_HITS", 70)
    object.__setattr__(model, "device", "cuda")
    assert [len(batch) for batch in model._batches([len(e) for e in events])] == [3, 2, 1]
    for event, alone, batched in zip(events, one_by_one, model.predict_batch(events), strict=True):
        assert alone.shape == batched.shape == (len(event), 2)
        np.testing.assert_allclose(batched, alone, rtol=2e-5, atol=2e-5)
        if len(event):
            np.testing.assert_allclose(alone, eager(network, event), rtol=2e-5, atol=2e-5)


def test_same_input_same_output_bit_for_bit(archive: Path) -> None:
    event = features(50)
    first = load_model(archive).predict(event)
    assert first.dtype == np.float32
    np.testing.assert_array_equal(load_model(archive).predict(event), first)


def test_the_card_travels_with_the_network(archive: Path, card: ModelCard) -> None:
    model = load_model(archive)
    added = {"parameters": sum(p.numel() for p in make_network().parameters())}
    assert model.card == card.model_copy(update={**added, "mltrack_version": model.card.mltrack_version})
    assert model.card.mltrack_version
    assert model.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert model.path == archive


def test_bytes_are_reproducible_and_free_of_local_paths(
    packed: dict[str, bytes], network: torch.nn.Module
) -> None:
    source = str(Path(archive_module.__file__).parent)
    for suffix, content in packed.items():
        assert source.encode() not in content, suffix
    for suffix in (".pt", ".pt2"):
        assert pack(make_network(), make_card(), suffix) == packed[suffix], suffix
    assert pack(make_network(seed=1), make_card(), ".pt") != packed[".pt"]


def test_bytes_do_not_depend_on_the_order_of_sets() -> None:
    """Torch keeps the constants of a module in a set of strings, whose order each Python process chooses anew."""
    program = """
import hashlib
from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.archives.torchscript import save
print(hashlib.sha256(save(*eager_network("encemb-redvid-helical"))).hexdigest())
"""
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1


def test_predict_hits_checks_the_event(archive: Path) -> None:
    model = load_model(archive)
    n = 30
    hits = Hits(hit_id=np.arange(n), x=np.linspace(50, 900, n), y=np.zeros(n), z=np.zeros(n))
    np.testing.assert_array_equal(model.predict_hits(hits), model.predict(hits.positions))
    with pytest.raises(EventError, match="metres"):
        model.predict_hits(
            Hits(hit_id=np.arange(n), x=np.linspace(0.05, 0.9, n), y=np.zeros(n), z=np.zeros(n))
        )


@pytest.mark.parametrize("shape", [(5, 2), (5, 4), (5,), (1, 5, 3)])
def test_features_of_the_wrong_shape(archive: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"needs features of shape \(n, 3\): x, y, z; got"):
        load_model(archive).predict(np.zeros(shape, dtype=np.float32))


def test_event_without_hits(archive: Path) -> None:
    assert load_model(archive).predict(np.zeros((0, 3))).shape == (0, 2)


def test_expected_sha256(archive: Path) -> None:
    checksum = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert load_model(archive, expected_sha256=checksum.upper()).sha256 == checksum
    with pytest.raises(ModelError, match=f"sha256 is {checksum}, expected 00"):
        load_model(archive, expected_sha256="00")


def test_network_that_breaks_its_cards_promise(network: torch.nn.Module, tmp_path: Path) -> None:
    card = make_card(outputs=["theta", "q", "p"], output_scales=[1.0, 1.0, 1.0])
    model = load_model(save_torchscript(network, card, tmp_path / "model.pt"))
    with pytest.raises(ModelError, match=r"returned shape \(1, 4, 2\), its card promises \(1, 4, 3\)"):
        model.predict(features(4))


def test_network_that_fails_names_the_file(network: torch.nn.Module, tmp_path: Path) -> None:
    card = make_card(features=["x", "y"], units={"x": "mm", "y": "mm"})
    model = load_model(save_torchscript(network, card, tmp_path / "model.pt"))
    with pytest.raises(ModelError, match=r"model\.pt: the network failed on 4 hits: "):
        model.predict(features(4)[:, :2])


def test_devices(archive: Path) -> None:
    with pytest.raises(ModelError, match="no device 'tpu'; there is auto, cpu and cuda"):
        load_model(archive, device="tpu")
    if not torch.cuda.is_available():
        assert load_model(archive, device="auto").device == "cpu"
        with pytest.raises(ModelError, match="no CUDA device is available"):
            load_model(archive, device="cuda")


def test_missing_files_and_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"gone\.pt: no such file"):
        load_model(tmp_path / "gone.pt")
    with pytest.raises(ModelError, match="no shipped model 'encreg-nothing' and no such file"):
        load_model("encreg-nothing")
    with pytest.raises(ModelError, match=r"must end in \.pt, \.pt2, \.onnx"):
        load_model(tmp_path / "model.ckpt")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "events.root").write_bytes(b"root")
    with pytest.raises(ModelError, match=r"^events\.root: not a model archive; .*mltrack export"):
        load_model("events.root")
    # A file of the same name does not hide a shipped model.
    (tmp_path / "encreg-redvid-10-50-linear").write_bytes(b"")
    assert load_model("encreg-redvid-10-50-linear").card.name == "encreg-redvid-10-50-linear"
    (tmp_path / "folder.pt").mkdir()
    with pytest.raises(ModelError, match="is a folder"):
        load_model(tmp_path / "folder.pt")


def test_unwritable_output_leaves_nothing(network: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        save_torchscript(network, make_card(), tmp_path / "missing" / "model.pt")
    (tmp_path / "taken.pt").mkdir()
    with pytest.raises(OutputError, match=r"taken\.pt: cannot be written"):
        write_atomically(tmp_path / "taken.pt", b"content")
    assert [p.name for p in tmp_path.iterdir()] == ["taken.pt"]


class Refused(torch.nn.Module):
    """Branches on values in a way that only Python can follow."""

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return features * {True: 1.0}.get(bool((features.sum() > 0).item()), 2.0).__float__()


@pytest.mark.parametrize(
    ("suffix", "message"), [(".pt", "cannot be compiled to TorchScript"), (".pt2", "cannot be exported")]
)
def test_networks_that_a_format_cannot_hold(suffix: str, message: str) -> None:
    with pytest.raises(ModelError, match=f"model 'tiny-encreg' {message}"):
        pack(Refused(), make_card(), suffix)


def test_unknown_format() -> None:
    with pytest.raises(ModelError, match=r"no model format '\.h5'"):
        pack(make_network(), make_card(), ".h5")


def test_the_first_events_are_as_fast_as_the_others(
    packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TorchScript's optimising executor recompiles on the first calls; it must be off, and only inside."""
    optimising = torch._C._get_graph_executor_optimize
    seen = []

    def network(features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        seen.append((optimising(), torch.is_inference_mode_enabled()))
        return features[..., :2]

    model = load_file(check_content(Path("model.pt"), packed[".pt"]))
    monkeypatch.setattr(model.engine, "_module", network)
    before = optimising()
    model.predict(features(3))
    assert seen == [(False, True)]
    assert optimising() == before


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_onnx_without_its_extra_names_the_install_line(
    packed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    if ".onnx" not in packed:
        pytest.skip("needs the extra [onnx]")
    path = tmp_path / "model.onnx"
    path.write_bytes(packed[".onnx"])
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'onnx>=[\d.]+' 'onnxruntime>="):
        load_model(path)
    with pytest.raises(MissingExtraError, match=r"pip install 'onnx>="):
        pack(make_network(), make_card(), ".onnx")
