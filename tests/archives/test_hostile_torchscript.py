"""TorchScript that is no network: what its code, its members and its values must not be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from archive_cases import members
from model_fixtures import features, make_card

from mltrack_plugin.archives.archive import load_model, save_torchscript
from mltrack_plugin.archives.safezip import write_canonical
from mltrack_plugin.archives.scripted_code import check_code
from mltrack_plugin.archives.torchscript import TorchScriptEngine
from mltrack_plugin.errors import ModelError

NETWORK = """class Net(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  def forward(self: __torch__.Net,
    features: Tensor,
    mask: Tensor) -> Tensor:
    {}
    return features
"""


def code(*lines: str) -> dict[str, bytes]:
    return {"code/__torch__.py": NETWORK.format("\n    ".join(lines)).encode()}


def test_what_networks_do() -> None:
    """Statements of the shipped networks, as torch writes them."""
    found = check_code(
        code(
            "_0 = __torch__.helper",
            '_1 = torch.format("{} hits (\\"{}\\")", torch.len([features]), 9223372036854775807)',
            "if torch.gt(torch.dim(features), -1):",
            '  ops.prim.RaiseException(_1, "builtins.ValueError")',
            "else:",
            "  pass",
            "x = torch.to(features, ops.prim.device(mask), 6)",
            "for i in range(torch.len([1., inf])):",
            "  x = _0(x, i, )",
            "y = annotate(List[Optional[Tensor]], [mask, None])",
            "z = (self).forward(torch.index(x, y), mask, )",
        )
        | {"code/__torch__/torch/nn/modules/linear.py": b"def f(x: Tensor) -> Tensor:\n  return x\n"},
        "test",
    )
    assert found["__torch__.Net"].attributes.keys() == {"training"}
    assert found["__torch__.Net"].methods == {"forward"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('torch.save(features, "stolen")', "uses the operator 'save'"),
        ('ops.aten.save(features, "stolen")', "uses the operator 'save'"),
        ('features0 = torch.from_file("secret", False, 10)', "uses the operator 'from_file'"),
        ('(features).save("stolen")', "uses the operator 'save'"),
        ('features.save("stolen")', "uses the operator 'save'"),
        ("_0 = features.save", "uses the operator 'save'"),
        ("_0 = torch.save", "uses the operator 'save'"),
        ('_0 = getattr(features, "save")', "reads an attribute that no class has"),
        ("_0 = getattr", "namespace 'getattr' around"),
        ("_0 = print", "namespace 'print' around"),
        ('print("hello")', "calls 'print'"),
        ("ops.prim.Print(features)", r"uses the operator 'prim\.Print'"),
        ('ops.prim.PythonOp("os.system")', r"uses the operator 'prim\.PythonOp'"),
        ("torch.ops.c10d.send(features)", r"native extension torch\.ops\.c10d\.send"),
        ("ops.c10d.allreduce_(features)", r"native extension ops\.c10d"),
        ("x = __torch__.torch.classes.dist.Thing()", "native extension"),
        ("torch = features", "passes the namespace 'torch' around"),
        ("f = fork(features)", "calls 'fork'"),
        ("features0 = torch.resize_(features, [9223372036854775807])", "uses the operator 'resize_'"),
        ("features0 = torch.set_(features, mask)", "uses the operator 'set_'"),
        ("features0 = torch.rand([3])", "uses the operator 'rand'"),
        ("torch.manual_seed(1)", "uses the operator 'manual_seed'"),
        ("x = CONSTANTS.evil", "unknown constant"),
        ("x = unknown", "uses 'unknown'"),
        ("x = _0(features, )", "uses '_0'"),
        ("import os", "holds Import"),
        ("x = lambda: 1", "holds Lambda"),
        ("with torch.no_grad():\n      pass", "holds With"),
        ("def inner(x: Tensor) -> Tensor:\n      return x", "holds FunctionDef"),
        ("x = [a for a in [1]]", "holds ListComp"),
        ("x = 123456789012345678901234567890", "more than 64 bits"),
        ("x = 1j", "constant of type complex"),
        ("x = b''", "not written by torch"),
        ("# type: (Tensor) -> Tensor", "not written by torch"),
        ("x = 'text'", "not written by torch"),
        ('x = """text"""', "quotes"),
        ("x = features \\\n      .save", "not written by torch"),
        ("x = " + "-" * 200 + "1", "nests too deep|cannot be checked"),
        ("x = " + "(" * 150 + "1" + ")" * 150, None),
        ("x = features" + ".detach()" * 100, "nests too deep"),
    ],
)
def test_what_networks_do_not(line: str, message: str | None) -> None:
    if message is None:
        check_code(code(line), "test")
        return
    with pytest.raises(ModelError, match=message) as error:
        check_code(code(line), "test.pt")
    assert str(error.value).startswith("test.pt: code/__torch__.py")


def test_names_of_operators_are_no_names_of_parts() -> None:
    """Behind a tensor torch takes the operator, whatever a class calls its method."""
    text = (
        NETWORK.format("_0 = (features).save(mask, )")
        + "  def save(self: __torch__.Net) -> int:\n    return 1\n"
    )
    with pytest.raises(ModelError, match="a part with the name of the operator 'save'"):
        check_code({"code/__torch__.py": text.encode()}, "test")


@pytest.mark.parametrize(
    "text",
    [
        "class Net(Module):\n  def __setstate__(self: __torch__.Net, state: int) -> NoneType:\n    pass\n",
        "class Net(Module):\n  torch.save(1)\n",
        "class Net(object):\n  training : bool\n",
        "torch.save(1)\n",
        "@torch.save\ndef f(x: Tensor) -> Tensor:\n  return x\n",
        "def f(x: Tensor=torch.save(1)) -> Tensor:\n  return x\n",
        "def f(x: torch.classes.x) -> Tensor:\n  return x\n",
        "class Net(Module):\n  x : __torch__.torch.classes.dist.Thing\n",
        "def f(\u017fave: Tensor) -> Tensor:\n  return x\n",
    ],
)
def test_other_places_of_code(text: str) -> None:
    with pytest.raises(ModelError):
        check_code({"code/__torch__.py": text.encode()}, "test.pt")


def test_code_without_end() -> None:
    with pytest.raises(ModelError, match="bytes of code"):
        check_code({"code/__torch__.py": b" " * 5_000_000}, "test.pt")
    with pytest.raises(ModelError, match="more than 400000 parts"):
        check_code(code("x = [" + "1, " * 500_000 + "]"), "test.pt")


def refused(content: bytes, path: Path, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(ModelError, match=message) as error:
        load_model(path)
    assert str(error.value).startswith(str(path))


class Small(torch.nn.Module):
    """Attributes of several types."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)
        self.scale = 2.5
        self.sizes = [1, 2]
        self.pair = (1, "a")
        self.words = {"a": 1}

    def forward(self, features: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self.linear(features) * self.scale * self.sizes[1] * self.words["a"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(0)
    return save_torchscript(Small(), make_card(), tmp_path_factory.mktemp("small") / "small.pt").read_bytes()


def edited(content: bytes, change: Callable[[dict[str, bytes]], object]) -> bytes:
    root, parts = members(content)
    change(parts)
    return write_canonical(root, parts)


def test_values_of_every_type(small: bytes, tmp_path: Path) -> None:
    path = tmp_path / "small.pt"
    path.write_bytes(small)
    torch.manual_seed(0)
    wanted = Small()(torch.from_numpy(features(4)), torch.ones(4)).detach().numpy()
    assert abs(load_model(path).predict(features(4)) - wanted).max() < 1e-4


def replaced(name: str, old: bytes, new: bytes) -> Callable[[dict[str, bytes]], object]:
    def change(parts: dict[str, bytes]) -> None:
        member = next(n for n in parts if n.endswith(name))
        assert old in parts[member]
        parts[member] = parts[member].replace(old, new, 1)

    return change


CODE = "test_hostile_torchscript.py"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda parts: parts.update({"data/0": parts["data/0"][:-4]}), "has 20 bytes, 24 are expected"),
        (lambda parts: parts.update({"data/0": b""}), "has 0 bytes, 24 are expected"),
        (lambda parts: parts.update({"data/0": parts["data/0"] + b"more"}), "has 28 bytes, 24 are expected"),
        (
            replaced("data.pkl", b"(K\x02K\x03t", b"(K\x09K\x03t"),
            "reaches number 26 of member 'data/0', which has 6",
        ),
        (replaced(CODE, b"scale : float", b"scale : int"), r"scale is no int"),
        (replaced(CODE, b"scale : float", b"scale : Tensor"), r"scale is no Tensor"),
        (replaced(CODE, b"sizes : List[int]", b"sizes : List[Tensor]"), r"sizes is no List\[Tensor\]"),
        (replaced(CODE, b"words : Dict[str, int]", b"words : Dict[int, int]"), "words is no"),
        (replaced(CODE, b"  training : bool\n", b""), "other attributes than its class"),
        (replaced(CODE, b"  scale : float\n", b"  scale : float\n  more : int\n"), "other attributes"),
        (
            replaced(CODE, b"linear : __torch__.torch.nn.modules.linear", b"linear : __torch__.other"),
            "linear is no",
        ),
        (lambda parts: parts.update({"code/__torch__/x.PY": b"pass"}), "unexpected member"),
        (lambda parts: parts.update({"CODE/__torch__/x.py": b"pass"}), "unexpected member"),
        (lambda parts: parts.update({"evil.so": b"\x7fELF"}), "unexpected member 'evil.so'"),
        (lambda parts: parts.update({"data/0/x": b""}), "unexpected member"),
        (lambda parts: parts.update({"version": b"many"}), "version or the byte order is damaged"),
        (lambda parts: parts.update({"byteorder": b"middle"}), "version or the byte order is damaged"),
        (lambda parts: parts.update({"constants.pkl": b"\x80\x02K\x01\x85."}), "holds more than tensors"),
    ],
)
def test_members_and_values(
    small: bytes, tmp_path: Path, change: Callable[[dict[str, bytes]], object], message: str
) -> None:
    refused(edited(small, change), tmp_path / "small.pt", message)


def test_torch_gets_only_checked_members(
    small: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that torch writes for itself are not passed on, and neither are the user's bytes."""
    given = []
    load = torch.jit.load
    monkeypatch.setattr(
        torch.jit, "load", lambda file, **options: (given.append(file.getvalue()), load(file, **options))[1]
    )
    path = tmp_path / "small.pt"
    path.write_bytes(
        edited(small, lambda parts: parts.update({"extra/more": b"x", ".data/serialization_id": b"1"}))
    )
    assert isinstance(load_model(path).engine, TorchScriptEngine)
    assert given[0] != path.read_bytes()
    _, parts = members(given[0])
    assert {name.split("/")[0] for name in parts} == {
        "data.pkl",
        "constants.pkl",
        "version",
        "byteorder",
        "data",
        "code",
    }


def test_a_network_of_a_script_is_refused_when_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Small, "__module__", "__main__")
    with pytest.raises(
        ModelError, match=r"class Small is defined in a script \(__main__\).*Move it into a module"
    ):
        save_torchscript(torch.nn.Sequential(Small()), make_card(), tmp_path / "model.pt")
    assert list(tmp_path.iterdir()) == []


def test_cards_are_plain_text(small: bytes, tmp_path: Path) -> None:
    """Nothing in a card can write to the terminal other than letters."""
    for text in ("\x1b[2J", "\u202e", "\ud800", "a\0b"):
        card = json.dumps({**make_card().model_dump(mode="json"), "version": text}).encode()
        content = edited(small, lambda parts, card=card: parts.update({"extra/model_card.json": card}))
        refused(content, tmp_path / "small.pt", "the model card holds .*, which cannot be printed")
