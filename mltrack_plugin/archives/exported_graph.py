"""The graph and the weights of a torch.export archive, checked before torch sees them.

Torch looks operators up as attributes, evaluates symbolic sizes with sympy, and writes Python code with the names of
the graph, which it then runs. So everything in the JSON is compared with what a graph of tensor operators needs:
operators of a list, names that are names, integers of 64 bits, sizes that are small arithmetic.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any

from mltrack_plugin.archives.operators import ATEN
from mltrack_plugin.archives.pickles import check_inside
from mltrack_plugin.errors import ModelError

#: Largest number of operators of a graph, of levels of nested values, and of bits of an integer.
MAX_NODES = 50_000
MAX_DEPTH = 60
_MAX_BITS = 4096
_MAX_TEXT = 1000
_PATH_NAME = re.compile(r"(weight|tensor)_\d+")
_ATEN_TARGET = re.compile(r"torch\.ops\.aten\.(\w+)\.\w+", re.ASCII)
_OTHER_TARGET = re.compile(
    r"torch\.sym_(int|not|max|min)|math\.(ceil|floor|trunc)|"
    r"_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|neg|eq|ne|lt|le|gt|ge|and_|or_|not_)"
)
_SYMBOL = re.compile(r"[su]\d+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.]*")
#: Texts with a meaning of their own; what is not here is a name.
_TEXTS = {
    "torch_version": re.compile(r"[A-Za-z0-9_.+-]*"),
    "as_float": re.compile(r"-?(Infinity|NaN)"),
    "as_floats": re.compile(r"-?(Infinity|NaN)"),
    "as_string": re.compile(r"[A-Za-z0-9_.,> -]*"),
    "as_strings": re.compile(r"[A-Za-z0-9_.,> -]*"),
}
_FUNCTIONS = {
    *("Symbol", "Integer", "Add", "Mul", "Pow", "Mod", "PythonMod", "FloorDiv", "CeilDiv", "Max", "Min"),
    *("Eq", "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "Equality", "Unequality"),
    *("StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan"),
}
_EXPRESSION_NODES: tuple[type[ast.AST], ...] = (
    *(ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant),
    *(ast.BinOp, ast.UnaryOp, ast.operator, ast.USub),
)
_ARGUMENTS_REFUSED = {"as_operator", "as_custom_obj", "as_graph", "as_string_to_argument"}
_TREE_TYPES = {"builtins.tuple", "builtins.list", "builtins.dict", None}
#: Numbers of torch's types of numbers -> bytes.
_ITEM_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 10: 8, 11: 16, 12: 1, 13: 2}
_STRIDED = 7


def read_json(content: bytes, where: str) -> Any:
    """Decoded JSON (raises ``ModelError``)."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{where} is damaged ({error}). Export the model again") from None


def check_payload(config: Any, members: Mapping[str, bytes], folder: str, where: str) -> None:
    """Weights and constants must be raw tensors, each inside a member of its own length (raises ``ModelError``)."""
    types: dict[str, int] = {}
    try:
        for name, payload in config["config"].items():
            path_name, meta = payload["path_name"], payload["tensor_meta"]
            if payload["use_pickle"] is not False or not _PATH_NAME.fullmatch(path_name):
                raise ModelError(
                    f"{where}: {name!r} is a Python pickle, which can run any code; it is not opened"
                )
            if (
                not _NAME.fullmatch(name)
                or meta["layout"] != _STRIDED
                or meta["device"]["type"] not in ("cpu", "cuda")
            ):
                raise ModelError(f"{where}: {name!r} is no plain tensor; the file is not opened")
            size, stride = (
                tuple(_length(entry, name, where) for entry in meta[k]) for k in ("sizes", "strides")
            )
            offset, kind = _length(meta["storage_offset"], name, where), meta["dtype"]
            member = f"{folder}/{path_name}"
            if types.setdefault(member, kind) != kind:
                raise ModelError(
                    f"{where}: member {member!r} holds numbers of two types; the file is not opened"
                )
            n_bytes, item_size = len(members[member]), _ITEM_SIZES[kind]
            check_inside(n_bytes, item_size, n_bytes // item_size, offset, size, stride, member)
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(f"{where} is damaged ({error}). Export the model again") from None


def _length(entry: Any, name: str, where: str) -> int:
    if set(entry) != {"as_int"} or type(entry["as_int"]) is not int or entry["as_int"] < 0:
        raise ModelError(f"{where}: {name!r} has no fixed size; the file is not opened")
    return int(entry["as_int"])


def clean_graph(program: Any, where: str) -> bytes:
    """The graph without source paths and guards, after checking all that torch would evaluate.

    Raises:
        ModelError: naming what is not allowed.
    """
    try:
        program["guards_code"] = []
        module = program["graph_module"]
        module["metadata"] = {}
        module["module_call_graph"] = [entry for entry in module["module_call_graph"] if entry["fqn"] == ""]
        if module["treespec_namedtuple_fields"] or module["graph"]["custom_obj_values"]:
            raise ModelError(f"{where} needs Python classes; the file is not opened")
        nodes = module["graph"]["nodes"]
        if len(nodes) > MAX_NODES:
            raise ModelError(f"{where} has more than {MAX_NODES} operators; the file is not opened")
        for node in nodes:
            node["metadata"] = {}
            _check_target(node["target"], where)
        for name in program["range_constraints"]:
            if not _SYMBOL.fullmatch(name):
                raise ModelError(f"{where} names the symbol {name!r}; the file is not opened")
        _check_values(program, "", 0, where)
        _check_products(nodes, where)
    except (LookupError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise ModelError(f"{where} is damaged ({error!r}). Export the model again") from None
    return json.dumps(program, separators=(",", ":")).encode()


def _check_target(target: Any, where: str) -> None:
    text = target if isinstance(target, str) else ""
    found = _ATEN_TARGET.fullmatch(text)
    if not (found and found[1] in ATEN) and not _OTHER_TARGET.fullmatch(text):
        raise ModelError(f"{where} calls {target!r}, which is no tensor operator; the file is not opened")


def _check_values(value: Any, key: str, depth: int, where: str) -> None:
    """Everything in the JSON; ``key`` is the nearest one above a value."""
    if depth > MAX_DEPTH:
        raise ModelError(f"{where} is nested more than {MAX_DEPTH} times; the file is not opened")
    if isinstance(value, list):
        for item in value:
            _check_values(item, key, depth + 1, where)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name in _ARGUMENTS_REFUSED:
                raise ModelError(f"{where} holds {name!r}; the file is not opened")
            _check_text(name, "", where)
            _check_values(item, name, depth + 1, where)
    elif isinstance(value, str):
        _check_text(value, key, where)
    elif isinstance(value, int) and abs(value) > 2**63:
        raise ModelError(f"{where} holds an integer of more than 64 bits; the file is not opened")


def _check_text(text: str, key: str, where: str) -> None:
    if key == "target":
        _check_target(text, where)
    elif key == "expr_str":
        _check_expression(text, where)
    elif key in ("in_spec", "out_spec"):
        _check_tree(json.loads(text)[1], where)
    elif len(text) > _MAX_TEXT or not _TEXTS.get(key, _NAME).fullmatch(text):
        raise ModelError(f"{where} holds {text[:100]!r}, which is no name; the file is not opened")


def _check_products(nodes: list[Any], where: str) -> None:
    """Python multiplies integers of any length; products of products would never come to an end."""
    bits: dict[str, int] = {}
    for node in nodes:
        if node["target"] != "_operator.mul":
            continue
        factors = [entry["arg"].get("as_sym_int", entry["arg"]) for entry in node["inputs"]]
        total = sum(bits.get(factor.get("as_name", ""), 64) for factor in factors)
        for output in node["outputs"]:
            bits[output.get("as_sym_int", {}).get("as_name", "")] = total
        if total > _MAX_BITS:
            raise ModelError(f"{where} multiplies integers without end; the file is not opened")


def _check_expression(text: str, where: str) -> None:
    """A symbolic size is small arithmetic of integers and symbols."""
    try:
        if len(text) > _MAX_TEXT:
            raise ValueError("too long")
        nodes = list(ast.walk(tree := ast.parse(text, mode="eval")))
        if _bits(tree.body) > _MAX_BITS:
            raise ValueError("too large")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        nodes = []
    functions = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    for node in nodes:
        good = isinstance(node, _EXPRESSION_NODES)
        if isinstance(node, ast.Name):
            good = node.id in _FUNCTIONS if id(node) in functions else bool(_SYMBOL.fullmatch(node.id))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            good = bool(_SYMBOL.fullmatch(node.value))
        if not good:
            nodes = []
            break
    if not nodes:
        raise ModelError(
            f"{where} holds the size {text[:200]!r}, which is no plain arithmetic; the file is not opened"
        )


def _bits(node: ast.expr) -> int:
    """An upper limit of the bits of a size (raises ``ValueError`` where there is none)."""
    match node:
        case ast.Constant(value=int(value)):
            return value.bit_length() + 1
        case (
            ast.Call(func=ast.Name(id="Pow"), args=[base, exponent])
            | ast.BinOp(left=base, op=ast.Pow(), right=exponent)
        ):
            match exponent:
                case ast.Constant(value=int(power)) | ast.Call(args=[ast.Constant(value=int(power))]):
                    return _bits(base) * max(abs(power), 1)
            raise ValueError("no constant exponent")
        case ast.Call(args=args):
            return sum(map(_bits, args)) + len(args)
        case ast.BinOp(left=left, right=right):
            return _bits(left) + _bits(right) + 1
        case ast.UnaryOp(operand=operand):
            return _bits(operand)
    return 64


def _check_tree(tree: Any, where: str) -> None:
    """Arguments and results are nested tuples, lists and dicts of tensors."""
    if tree["type"] not in _TREE_TYPES:
        raise ModelError(f"{where} needs the Python class {tree['type']!r}; the file is not opened")
    keys = json.loads(tree["context"] or "null") or []
    if not isinstance(keys, list) or any(not isinstance(key, str) or not key.isidentifier() for key in keys):
        raise ModelError(f"{where} has arguments without names; the file is not opened")
    for child in tree["children_spec"]:
        _check_tree(child, where)
