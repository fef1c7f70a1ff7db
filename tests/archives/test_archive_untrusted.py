"""Damaged and hostile model archives: refused with the reason, and nothing in them ever runs."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from model_fixtures import card_content, features, make_card

from mltrack_plugin.archives import safezip, zip_directory
from mltrack_plugin.archives.archive import load_model, save_torchscript
from mltrack_plugin.archives.safezip import read_checked, write_canonical
from mltrack_plugin.errors import ModelError

CARD = "extra/model_card.json"
GRAPH = "models/model.json"


class Bomb:
    """Unpickling it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.trace,))


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "code-has-run"


def edited(content: bytes, **changes: Any) -> bytes:
    """The archive with members replaced, removed (None) or changed by a function; "__" stands for "/"."""
    archive = read_checked(content, "test")
    members = dict(archive.members)
    for key, change in changes.items():
        name = next((n for n in members if n.replace("/", "__").replace(".", "_") == key), key)
        if change is None:
            del members[name]
        elif callable(change):
            members[name] = change(members[name])
        else:
            members[name] = change
    return write_canonical(archive.root, members)


def edited_json(change: Callable[[Any], object]) -> Callable[[bytes], bytes]:
    def apply(content: bytes) -> bytes:
        value = json.loads(content)
        change(value)
        return json.dumps(value).encode()

    return apply


def refuse(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as error:
        load_model(path)
    assert path.name in str(error.value)


def test_editing_nothing_keeps_the_archive_loadable(packed: dict[str, bytes], tmp_path: Path) -> None:
    for suffix in (".pt", ".pt2"):
        path = tmp_path / f"same{suffix}"
        path.write_bytes(edited(packed[suffix]))
        assert load_model(path).predict(features(3)).shape == (3, 2)


def test_truncated_anywhere(archive: Path) -> None:
    content = archive.read_bytes()
    for fraction in (0.0, 0.001, 0.3, 0.7, 0.99):
        refuse(
            archive, content[: int(len(content) * fraction)], r"damaged|not a model archive|not an ONNX|card"
        )
    refuse(archive, content[:-1], r"damaged|not an ONNX|card")


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_a_flipped_byte_is_found_or_harmless(packed: dict[str, bytes], tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(5)
    path = tmp_path / f"model{suffix}"
    path.write_bytes(packed[suffix])
    wanted = load_model(path).predict(features(5))
    found = 0
    for position in rng.integers(0, len(packed[suffix]), 60):
        content = bytearray(packed[suffix])
        content[position] ^= 0x10
        path.write_bytes(bytes(content))
        try:
            model = load_model(path)
        except ModelError:
            found += 1
        else:
            # Padding and dates between the members carry nothing.
            np.testing.assert_array_equal(model.predict(features(5)), wanted)
    assert found > 20


@pytest.mark.parametrize("suffix", [".pt", ".pt2", ".onnx"])
@pytest.mark.parametrize("content", [b"", b"PK", b"root file", b"\x00" * 1000, b"\x80\x05garbage"])
def test_files_of_another_kind(suffix: str, content: bytes, tmp_path: Path) -> None:
    if suffix == ".onnx":
        pytest.importorskip("onnx")
    refuse(tmp_path / f"model{suffix}", content, "not a model archive|damaged|not an ONNX|pickle|card")


def test_pickles_are_never_opened(trace: Path, tmp_path: Path) -> None:
    for suffix in (".pt", ".pt2"):
        refuse(
            tmp_path / f"model{suffix}", pickle.dumps(Bomb(trace)), "a Python pickle, which can run any code"
        )
    buffer = io.BytesIO()
    torch.save({"state_dict": Bomb(trace)}, buffer)
    refuse(tmp_path / "model.pt", buffer.getvalue(), "torch.save checkpoint .*mltrack export")
    refuse(tmp_path / "model.pt2", buffer.getvalue(), "not a torch.export archive")
    assert not trace.exists()


def zipped(names: list[str], content: bytes = b"x", method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["../../etc/cron.d/job"], "would lie outside the archive"),
        (["/etc/passwd"], "would lie outside the archive"),
        (["model/../../x"], "would lie outside the archive"),
        (["model\\..\\x"], "would lie outside the archive"),
        (["model//x"], "would lie outside the archive"),
        (["model/a", "other/b"], "2 top-level entries instead of one folder"),
        ([], "0 top-level entries"),
    ],
)
def test_members_must_lie_in_one_folder(names: list[str], message: str, tmp_path: Path) -> None:
    refuse(tmp_path / "model.pt", zipped(names), message)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_repeated_members_and_prepended_data(packed: dict[str, bytes], tmp_path: Path) -> None:
    refuse(tmp_path / "model.pt", zipped(["model/a", "model/a"]), "member names are repeated")
    # Two readers of a zip file with bytes in front may see different members.
    refuse(tmp_path / "model.pt", b"PK\x03\x04" + packed[".pt"], "damaged|precede")


def test_size_bombs(tmp_path: Path, packed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped(["model/data.pkl"], b"\0" * 10_000_000, zipfile.ZIP_DEFLATED)
    assert len(bomb) < 20_000
    refuse(tmp_path / "model.pt", bomb, "packed .* times")
    monkeypatch.setattr(zip_directory, "MAX_MEMBERS", 5)
    refuse(tmp_path / "model.pt", packed[".pt"], "more than the limit of 5")
    monkeypatch.setattr(safezip, "MAX_BYTES", 1000)
    refuse(tmp_path / "model.pt", packed[".pt"], "larger than the limit of 1000")


@pytest.mark.parametrize("suffix", [".pt", ".pt2"])
def test_cards_of_archives(packed: dict[str, bytes], tmp_path: Path, suffix: str) -> None:
    path, good = tmp_path / f"model{suffix}", packed[suffix]
    for card, message in (
        (None, "model card, so features, units and detector are unknown"),
        (b"{", "not valid JSON"),
        (json.dumps(card_content(format_version=99)).encode(), "format version 99"),
        (json.dumps(card_content(features=["x", "y", "q"])).encode(), "no hit feature 'q'"),
    ):
        refuse(path, edited(good, extra__model_card_json=card), message)


def test_torchscript_whose_pickle_names_python_objects(
    packed: dict[str, bytes], trace: Path, tmp_path: Path
) -> None:
    for protocol in (0, 2, 4):
        bomb = pickle.dumps(Bomb(trace), protocol)
        for member in ("data_pkl", "constants_pkl"):
            refuse(tmp_path / "model.pt", edited(packed[".pt"], **{member: bomb}), "Python object")
    refuse(tmp_path / "model.pt", edited(packed[".pt"], data_pkl=b"\xff\xfe"), r"data\.pkl is damaged")
    refuse(tmp_path / "model.pt", edited(packed[".pt"], constants_pkl=None), "not a TorchScript archive")
    assert not trace.exists()


class SavesOnUse(torch.nn.Module):
    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        torch.save(features, "stolen.pt")
        return features


class ReadsOnUse(torch.nn.Module):
    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.from_file("secret", False, 10)


class SavesOnLoad(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, bool]:
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]) -> None:
        self.weight = state[0]
        self.training = state[1]

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return features


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (SavesOnUse, r"uses the operator 'save'"),
        (ReadsOnUse, r"uses the operator 'from_file'"),
        (SavesOnLoad, r"runs code while it is loaded"),
    ],
)
def test_torchscript_that_does_more_than_compute(
    module: type[torch.nn.Module], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save_torchscript(module(), make_card(), tmp_path / "model.pt")
    with pytest.raises(ModelError, match=message):
        load_model(path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.pt"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('getattr(torch, "save")(x, "stolen")', "reads an attribute that no class has"),
        ("t = ops", "passes the namespace 'ops' around"),
        ("ops.c10d.allreduce_(x)", "native extension ops.c10d"),
        ("__torch__.torch.classes.dist.Thing()", "native extension"),
        ("def broken(", "cannot be checked"),
    ],
)
def test_torchscript_code_by_hand(packed: dict[str, bytes], tmp_path: Path, line: str, message: str) -> None:
    archive = read_checked(packed[".pt"], "test")
    members = dict(archive.members)
    name = next(n for n in members if n.startswith("code/") and n.endswith(".py"))
    members[name] += f"\n{line}\n".encode()
    refuse(tmp_path / "model.pt", write_canonical(archive.root, members), message)


def test_exported_archives_never_unpickle(packed: dict[str, bytes], trace: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt2"
    bomb = io.BytesIO()
    torch.save(Bomb(trace), bomb)

    def mark(config: Any) -> None:
        next(iter(config["config"].values()))["use_pickle"] = True

    weights = {"data__weights__weight_0": bomb.getvalue()}
    weights["data__weights__model_weights_config_json"] = edited_json(mark)  # type: ignore[assignment]
    refuse(path, edited(packed[".pt2"], **weights), "a Python pickle, which can run any code")
    for member in ("data/weights/model.pt", "data/constants/custom_obj_0", "data/aotinductor/model/x.so"):
        content = edited(packed[".pt2"], **{member: bomb.getvalue()})
        refuse(path, content, "unexpected member")
    # torch would fall back to unpickling these; they are not needed, so they are dropped.
    path.write_bytes(edited(packed[".pt2"], data__sample_inputs__model_pt=bomb.getvalue()))
    assert load_model(path).predict(features(3)).shape == (3, 2)
    assert not trace.exists()


def test_guards_of_exported_archives_are_not_evaluated(
    packed: dict[str, bytes], trace: Path, tmp_path: Path
) -> None:
    def guard(program: Any) -> None:
        program["guards_code"] = [f"open({str(trace)!r}, 'w') is not None"]

    path = tmp_path / "model.pt2"
    path.write_bytes(edited(packed[".pt2"], models__model_json=edited_json(guard)))
    assert load_model(path).predict(features(3)).shape == (3, 2)
    assert not trace.exists()


def replace_first(key: str, value: Any) -> Callable[[Any], bool]:
    """Replace the value of the first ``key`` anywhere in a JSON value."""

    def change(node: Any) -> bool:
        if isinstance(node, dict):
            if key in node:
                node[key] = value
                return True
            return any(change(item) for item in node.values())
        return isinstance(node, list) and any(change(item) for item in node)

    return change


@pytest.mark.parametrize(
    "target", ["torch.os.system", "torch.load", "_operator.call", "torch.ops.aten.from_file.default"]
)
def test_operators_of_exported_archives(packed: dict[str, bytes], tmp_path: Path, target: str) -> None:
    content = edited(packed[".pt2"], models__model_json=edited_json(replace_first("target", target)))
    refuse(tmp_path / "model.pt2", content, "which is no tensor operator")


@pytest.mark.parametrize(
    "size",
    [
        "__import__('os').system('true')",
        "s0.__class__",
        "Symbol('a b; import os')",
        "(lambda: 1)()",
        "[s0 for s0 in ()]",
        "eval('1')",
        "s0 +",
    ],
)
def test_sizes_of_exported_archives(packed: dict[str, bytes], tmp_path: Path, size: str) -> None:
    content = edited(packed[".pt2"], models__model_json=edited_json(replace_first("expr_str", size)))
    refuse(tmp_path / "model.pt2", content, "which is no plain arithmetic")


def test_damaged_graphs(packed: dict[str, bytes], tmp_path: Path) -> None:
    for graph in (b"[]", b"{}", b"{", b'{"graph_module": 3}'):
        refuse(tmp_path / "model.pt2", edited(packed[".pt2"], models__model_json=graph), "damaged")
    tree = '[1, {"type": "subprocess.Popen", "context": "null", "children_spec": []}]'
    content = edited(packed[".pt2"], models__model_json=edited_json(replace_first("in_spec", tree)))
    refuse(tmp_path / "model.pt2", content, "needs the Python class 'subprocess.Popen'")


def test_onnx_files(packed: dict[str, bytes], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    if ".onnx" not in packed:
        pytest.skip("needs the extra [onnx]")

    def changed(change: Callable[[Any], object]) -> bytes:
        proto = onnx.load_model_from_string(packed[".onnx"])
        change(proto)
        return bytes(proto.SerializeToString())

    def external(proto: Any) -> None:
        tensor = proto.graph.initializer[0]
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "/etc/passwd"

    def foreign(proto: Any) -> None:
        proto.opset_import.add(domain="evil", version=1)
        proto.graph.node[0].domain = "evil"

    path = tmp_path / "model.onnx"
    refuse(path, changed(external), "other files|not an ONNX model, or damaged")
    refuse(path, changed(foreign), "needs operators of 'evil'")
    refuse(path, changed(lambda proto: proto.ClearField("metadata_props")), "ONNX without a model card")
    refuse(path, changed(lambda proto: proto.graph.ClearField("node")), "damaged|cannot load")
