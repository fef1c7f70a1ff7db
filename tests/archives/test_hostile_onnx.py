"""ONNX: every graph, attribute and tensor is looked at, wherever it stands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from model_fixtures import features

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.errors import ModelError

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


@pytest.fixture
def proto(packed: dict[str, bytes]) -> Any:
    return onnx.load_model_from_string(packed[".onnx"])


def external(name: str = "outside") -> Any:
    tensor = numpy_helper.from_array(np.zeros(2, dtype=np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    return tensor


def constant(tensor: Any) -> Any:
    return helper.make_node("Constant", [], ["value"], value=tensor)


def graph_of(*nodes: Any, initializer: tuple[Any, ...] = ()) -> Any:
    output = helper.make_tensor_value_info("value", TensorProto.FLOAT, [2])
    return helper.make_graph(list(nodes), "inner", [], [output], list(initializer))


def branch(inner: Any) -> Any:
    good = graph_of(constant(numpy_helper.from_array(np.zeros(2, dtype=np.float32), "x")))
    return helper.make_node("If", ["choice"], ["chosen"], then_branch=good, else_branch=inner)


def loop(inner: Any) -> Any:
    return helper.make_node("Loop", ["", "choice"], ["chosen"], body=inner)


def add_node(node: Any) -> Callable[[Any], object]:
    return lambda proto: proto.graph.node.append(node)


def nested(times: int) -> Any:
    inner = graph_of(constant(external()))
    for _ in range(times):
        inner = graph_of(branch(inner))
    return inner


def local_function(proto: Any) -> None:
    function = proto.functions.add()
    function.name, function.domain = "Mine", "local"


def sparse(proto: Any) -> None:
    tensor = proto.graph.sparse_initializer.add()
    tensor.values.CopyFrom(external("values"))
    tensor.indices.CopyFrom(numpy_helper.from_array(np.zeros(2, dtype=np.int64), "indices"))


def training(proto: Any) -> None:
    proto.training_info.add().algorithm.initializer.append(external())


def long_dims(proto: Any) -> None:
    proto.graph.initializer[0].dims[0] = 2**40


def negative_dims(proto: Any) -> None:
    proto.graph.initializer[0].dims[0] = -1


def short_data(proto: Any) -> None:
    tensor = proto.graph.initializer[0]
    tensor.raw_data = tensor.raw_data[:-1]


def two_kinds_of_data(proto: Any) -> None:
    proto.graph.initializer[0].float_data.append(1.0)


def text_data(proto: Any) -> None:
    proto.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"x"]))


FOREIGN = helper.make_node("Gelu", ["features"], ["value"], domain="com.microsoft")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda proto: proto.graph.initializer.append(external()), "weights in other files"),
        (add_node(constant(external())), "weights in other files"),
        (add_node(branch(graph_of(constant(external())))), "weights in other files"),
        (add_node(branch(graph_of(initializer=(external(),)))), "weights in other files"),
        (add_node(loop(graph_of(branch(graph_of(constant(external())))))), "weights in other files"),
        (
            add_node(helper.make_node("Scan", [], ["y"], body=nested(3), num_scan_inputs=0)),
            "weights in other files",
        ),
        (add_node(branch(nested(20))), "nested more than 8 times"),
        (sparse, "weights in other files"),
        (training, "training graphs"),
        (add_node(FOREIGN), "operators of 'com.microsoft'"),
        (add_node(branch(graph_of(FOREIGN))), "operators of 'com.microsoft'"),
        (add_node(loop(graph_of(FOREIGN))), "operators of 'com.microsoft'"),
        (add_node(helper.make_node("PyOp", ["features"], ["value"])), "the operator 'PyOp'"),
        (local_function, "defines the operator 'Mine' itself"),
        (long_dims, "bytes for the tensor"),
        (negative_dims, "unknown type or shape"),
        (short_data, "are expected for its shape"),
        (two_kinds_of_data, "are expected for its shape"),
        (text_data, "unknown type or shape"),
        (lambda proto: proto.graph.input.pop(), "'features', 'mask' and one output are expected"),
        (lambda proto: proto.graph.ClearField("node"), "damaged|cannot load"),
        (lambda proto: proto.ClearField("opset_import"), "damaged|cannot load"),
    ],
)
def test_what_is_no_network(
    proto: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(np.array([3.0, 5.0], dtype=np.float32).tobytes())
    change(proto)
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=message) as error:
        load_model(path)
    assert str(error.value).startswith(str(path))


def test_branches_of_standard_operators_are_read(proto: Any, tmp_path: Path) -> None:
    """An If between two constants, added to a good network."""
    proto.graph.initializer.append(numpy_helper.from_array(np.array(True), "choice"))
    proto.graph.node.append(
        branch(graph_of(constant(numpy_helper.from_array(np.ones(2, dtype=np.float32), "y"))))
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    assert load_model(path).predict(features(3)).shape == (3, 2)


def test_onnx_runtime_gets_what_was_checked(
    packed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unknown fields and notes, which another reader could take for something, are left out."""
    import onnxruntime

    given: list[bytes] = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda content, *options, **more: (given.append(content), session(content, *options, **more))[1],
    )
    path = tmp_path / "model.onnx"
    unknown = b"\xfa\x7f\x06hidden"
    path.write_bytes(packed[".onnx"] + unknown)
    assert load_model(path).predict(features(3)).shape == (3, 2)
    assert b"hidden" not in given[0]
    assert b"model_card.json" not in given[0]


def test_a_graph_that_fails_at_its_use(proto: Any, tmp_path: Path) -> None:
    """What ONNX Runtime raises has types of its own."""
    for node in proto.graph.node:
        if node.op_type in ("Reshape", "Concat", "Split", "Slice"):
            node.input[0], node.input[-1] = node.input[-1], node.input[0]
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match=r"model\.onnx: "):
        load_model(path).predict(features(3))
