"""torch.export archives: operators of a list, names that are names, sizes that end, weights inside their members."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archive_cases import members

from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.archives.exported_graph import check_payload, clean_graph
from mltrack_plugin.archives.operators import ATEN
from mltrack_plugin.errors import ModelError

GRAPH, WEIGHTS = "models/model.json", "data/weights/model_weights_config.json"


@pytest.fixture
def parts(packed: dict[str, bytes]) -> dict[str, bytes]:
    return members(packed[".pt2"])[1]


@pytest.fixture
def program(parts: dict[str, bytes]) -> Any:
    return json.loads(parts[GRAPH])


def refuse(program: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as error:
        clean_graph(program, "test.pt2: graph")
    assert str(error.value).startswith("test.pt2: graph")


def test_a_good_graph_stays_as_it_is(parts: dict[str, bytes], program: Any) -> None:
    assert json.loads(clean_graph(program, "test")) == json.loads(parts[GRAPH])


@pytest.mark.parametrize(
    "target",
    [
        *(
            "torch.ops.aten.save.default",
            "torch.ops.aten.from_file.default",
            "torch.ops.aten.set_.source_Storage",
        ),
        *(
            "torch.ops.aten.resize_.default",
            "torch.ops.aten.rand.default",
            "torch.ops.aten.as_strided.default",
        ),
        *(
            "torch.ops.higher_order.cond",
            "torch.ops.prim.Print.default",
            "torch.ops.mylib.op.default",
            "torch.load",
        ),
        *(
            "torch.ops.aten.add",
            "torch.ops.aten.add.Tensor.x",
            "torch.os.system",
            "_operator.pow",
            "_operator.call",
        ),
        *("#custom:op", "math.factorial", "builtins.eval", "", 3, None, ["torch.ops.aten.add.Tensor"]),
    ],
)
def test_operators(program: Any, target: Any) -> None:
    program["graph_module"]["graph"]["nodes"][3]["target"] = target
    refuse(program, "which is no tensor operator")


def test_the_list_of_operators_computes_only() -> None:
    for name in (
        "save",
        "from_file",
        "set_",
        "resize_",
        "as_strided",
        "rand",
        "manual_seed",
        "record_stream",
        "to_here",
    ):
        assert name not in ATEN
    assert {"linear", "relu_", "scaled_dot_product_attention", "index_put_"} <= ATEN


@pytest.mark.parametrize(
    "name", ["x=__import__('os').system('true')", "a\nimport os", "a;b", "a b", "f(", 'a"b', "\u00e9"]
)
def test_names_become_python_code(program: Any, name: str) -> None:
    """Torch writes the names of inputs and weights into code that it runs."""
    graph = program["graph_module"]["graph"]
    for place in (graph["inputs"][-1]["as_tensor"], graph["nodes"][0], graph["outputs"][0]["as_tensor"]):
        before, place["name"] = place["name"], name
        refuse(program, "which is no name")
        place["name"] = before
    program["graph_module"]["signature"]["input_specs"][0]["parameter"]["parameter_name"] = name
    refuse(program, "which is no name")


def test_other_texts(program: Any) -> None:
    inputs = program["graph_module"]["graph"]["nodes"][3]["inputs"]
    inputs[0]["arg"] = {"as_string": "bij,bjk->bik"}
    clean_graph(program, "test")
    for argument in (
        {"as_string": "'+__import__"},
        {"as_operator": "x"},
        {"as_graph": {}},
        {"as_custom_obj": {}},
    ):
        inputs[0]["arg"] = argument
        refuse(program, "which is no name|holds 'as_")


@pytest.mark.parametrize(
    "size",
    [
        "Pow(Integer(9), Integer(999999999))",
        "Pow(Pow(Pow(Symbol('s0'), Integer(64)), Integer(64)), Integer(64))",
        "Pow(Integer(2), Symbol('s0'))",
        "9**9**9",
        "s0" + "+s0" * 1000,
        "(" * 150 + "s0" + ")" * 150 + "**99999",
    ],
)
def test_sizes_that_never_end(program: Any, size: str) -> None:
    values = program["graph_module"]["graph"]["sym_int_values"]
    next(iter(values.values()))["as_expr"]["expr_str"] = size
    refuse(program, "no plain arithmetic")


def test_products_that_never_end(program: Any) -> None:
    """Each squares the one before: after 60 of them the integer has 10**18 digits."""
    nodes = program["graph_module"]["graph"]["nodes"]
    factor = nodes[0]["outputs"][0]["as_sym_int"]["as_name"]
    for number in range(60):
        argument = {"as_sym_int": {"as_name": factor}}
        factor = f"square_{number}"
        inputs = [{"name": name, "arg": argument, "kind": 1} for name in ("a", "b")]
        output = {"as_sym_int": {"as_name": factor}}
        nodes.append({"target": "_operator.mul", "inputs": inputs, "outputs": [output], "name": factor})
        if number == 4:
            clean_graph(program, "test")
    refuse(program, "multiplies integers without end")


def test_numbers_and_depth(program: Any) -> None:
    inputs = program["graph_module"]["graph"]["nodes"][3]["inputs"]
    inputs[0]["arg"] = {"as_int": 2**64}
    refuse(program, "more than 64 bits")
    deep: Any = []
    for _ in range(100):
        deep = [deep]
    inputs[0]["arg"] = {"as_int_lists": deep}
    refuse(program, "nested more than 60 times")
    inputs[0]["arg"] = {"as_int": 1}
    program["graph_module"]["graph"]["nodes"] *= 2000
    refuse(program, "more than 50000 operators")


@pytest.mark.parametrize("tree", ["[", "[1]", "3", '[1, {"type": "builtins.tuple"}]', "null"])
def test_damaged_trees(program: Any, tree: str) -> None:
    program["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = tree
    refuse(program, "is damaged")


Meta = dict[str, Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p["tensor_meta"].update(sizes=[{"as_int": 16}, {"as_int": 24}]), "reaches number"),
        (lambda p: p["tensor_meta"].update(strides=[{"as_int": 24}, {"as_int": 1}]), "reaches number"),
        (lambda p: p["tensor_meta"].update(storage_offset={"as_int": 1}), "reaches number"),
        (lambda p: p["tensor_meta"].update(storage_offset={"as_int": -1}), "no fixed size"),
        (lambda p: p["tensor_meta"].update(sizes=[{"as_expr": {"expr_str": "s0"}}]), "no fixed size"),
        (lambda p: p["tensor_meta"].update(sizes=[{"as_int": 16}]), "damaged"),
        (lambda p: p["tensor_meta"].update(dtype=8), "reaches number|bytes"),
        (lambda p: p["tensor_meta"].update(dtype=99), "damaged"),
        (lambda p: p["tensor_meta"].update(layout=1), "no plain tensor"),
        (lambda p: p["tensor_meta"]["device"].update(type="meta"), "no plain tensor"),
        (lambda p: p.update(tensor_meta=None), "damaged"),
        (lambda p: p.update(path_name="weight_99"), "damaged"),
        (lambda p: p.update(path_name="custom_obj_0"), "Python pickle"),
        (lambda p: p.update(path_name="../weight_0"), "Python pickle"),
        (lambda p: p.update(use_pickle=True), "Python pickle"),
        (lambda p: p.update(use_pickle="no"), "Python pickle"),
    ],
)
def test_weights(parts: dict[str, bytes], change: Callable[[Meta], object], message: str) -> None:
    config = json.loads(parts[WEIGHTS])
    check_payload(config, parts, "data/weights", "test.pt2")
    change(config["config"]["embedding.linear.weight"])
    with pytest.raises(ModelError, match=message):
        check_payload(config, parts, "data/weights", "test.pt2")


@pytest.mark.parametrize("content", [b"", b"\0" * 1468, b"\0" * 1471])
def test_short_weights(packed: dict[str, bytes], tmp_path: Path, content: bytes) -> None:
    """Torch takes an empty weight for zeros."""
    from mltrack_plugin.archives.safezip import write_canonical

    root, parts = members(packed[".pt2"])
    parts["data/weights/weight_0"] = content
    path = tmp_path / "short.pt2"
    path.write_bytes(write_canonical(root, parts))
    with pytest.raises(ModelError, match=r"short\.pt2: .*'data/weights/weight_0'"):
        load_model(path)
