"""An ONNX model looked through completely: main graph, the graphs inside its nodes, and every tensor anywhere."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

#: Largest number of nodes, and of graphs inside graphs (loops and branches).
MAX_NODES = 200_000
MAX_DEPTH = 8
_STANDARD = ("", "ai.onnx")
#: Numbers of ``TensorProto.DataType`` -> bytes per number and the field that holds them without ``raw_data``.
_TYPES = {
    1: (4, "float_data"),
    **dict.fromkeys((2, 3, 9), (1, "int32_data")),
    **dict.fromkeys((4, 5, 10, 16), (2, "int32_data")),
    6: (4, "int32_data"),
    7: (8, "int64_data"),
    11: (8, "double_data"),
    12: (4, "uint64_data"),
    13: (8, "uint64_data"),
}
_NUMBERS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")


def check_proto(proto: Any, operators: frozenset[str]) -> None:
    """Check a decoded model.

    Args:
        proto: ``onnx.ModelProto``.
        operators: names of the standard domain's operators.

    Raises:
        ValueError: with the reason why the model is not used.
    """
    if proto.functions:
        raise ValueError(f"defines the operator {proto.functions[0].name!r} itself")
    if proto.training_info:
        raise ValueError("holds training graphs")
    n_nodes = 0
    waiting = [(proto.graph, 0)]
    while waiting:
        graph, depth = waiting.pop()
        n_nodes += len(graph.node)
        if n_nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError(f"has more than {MAX_NODES} nodes, or graphs nested more than {MAX_DEPTH} times")
        for tensor in graph.initializer:
            _check_tensor(tensor)
        for sparse in graph.sparse_initializer:
            _check_sparse(sparse)
        for node in graph.node:
            if node.domain not in _STANDARD:
                raise ValueError(f"needs operators of {node.domain!r} ({node.op_type!r})")
            if node.op_type not in operators or node.overload:
                raise ValueError(f"needs the operator {node.op_type!r}, which is not standard")
            for attribute in node.attribute:
                waiting.extend((inner, depth + 1) for inner in _inside(attribute))


def _inside(attribute: Any) -> Iterator[Any]:
    """The graphs of a node's attribute, after checking its tensors."""
    if attribute.ref_attr_name:
        raise ValueError("has an attribute that refers to a function")
    for tensor in (attribute.t, *attribute.tensors):
        if tensor.ByteSize():
            _check_tensor(tensor)
    for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
        if sparse.ByteSize():
            _check_sparse(sparse)
    if attribute.HasField("g"):
        yield attribute.g
    yield from attribute.graphs


def _check_sparse(sparse: Any) -> None:
    for part in (sparse.values, sparse.indices):
        _check_tensor(part)


def _check_tensor(tensor: Any) -> None:
    """Its numbers are inside the file, and as many as its shape says."""
    if tensor.external_data or tensor.data_location == tensor.EXTERNAL or tensor.HasField("segment"):
        raise ValueError(f"has weights in other files ({tensor.name!r}); export it as one file")
    if tensor.data_type not in _TYPES or any(size < 0 for size in tensor.dims):
        raise ValueError(f"has a tensor of an unknown type or shape ({tensor.name!r})")
    item_size, field = _TYPES[tensor.data_type]
    count = math.prod(tensor.dims)
    lengths = {name: len(getattr(tensor, name)) for name in _NUMBERS}
    raw = tensor.HasField("raw_data")
    found = len(tensor.raw_data) if raw else lengths[field] * item_size
    others = sum(lengths.values()) - (0 if raw else lengths[field])
    if found != count * item_size or others or tensor.string_data:
        raise ValueError(
            f"has {found} bytes for the tensor {tensor.name!r}, {count * item_size} are expected for its shape"
        )
