"""The values of a TorchScript archive, compared with the types that its code declares.

Torch sets the attributes of a network from the archive's pickle without looking at their types; a number in the place
of a tensor, or an object of another class, is found only when it is used, if at all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mltrack_plugin.archives.pickles import ITEM_SIZES, Instance, Tensor
from mltrack_plugin.archives.scripted_code import ScriptClass

#: Largest number of modules (layers) of a network.
MAX_MODULES = 20_000
_CLASS = re.compile(r"__torch__(\.\w+)* \w+")
_LISTS: dict[str, type] = {
    "torch.jit._pickle build_intlist": int,
    "torch.jit._pickle build_doublelist": float,
    "torch.jit._pickle build_boollist": bool,
    "torch.jit._pickle build_tensorlist": Tensor,
}
_TYPED = "torch.jit._pickle restore_type_tag"
_DEVICE = "torch device"
_NAMES = {"torch._utils _rebuild_tensor_v2", "collections OrderedDict", _TYPED, _DEVICE, *_LISTS, *ITEM_SIZES}
#: Torch reads the name of a type by functions that call themselves.
_MAX_TYPE_NAME = 1000
_PLAIN: dict[str, type] = {
    "int": int,
    "float": float,
    "bool": bool,
    "str": str,
    "Tensor": Tensor,
    "NoneType": type(None),
}


def allowed_name(name: str) -> bool:
    """Whether a pickle of TorchScript may name this class or function ("module name")."""
    return name in _NAMES or (bool(_CLASS.fullmatch(name)) and not name.startswith("__torch__.torch.classes"))


def check_values(root: Any, classes: Mapping[str, ScriptClass]) -> None:
    """Compare a network with the classes of its code.

    Args:
        root: value of ``data.pkl``.
        classes: by full name, see :func:`~mltrack_plugin.archives.scripted_code.check_code`.

    Raises:
        ValueError: naming the attribute and its declared type.
    """
    if not isinstance(root, Instance):
        raise ValueError("the network is missing")
    waiting, seen = [root], {id(root)}
    while waiting:
        instance = waiting.pop()
        name = _class_name(instance)
        if name not in classes:
            raise ValueError(f"an object of the unknown class {name!r}")
        declared = classes[name].attributes
        state = instance.state if instance.state is not None else {}
        if not isinstance(state, dict) or instance.arguments or state.keys() != declared.keys():
            raise ValueError(f"an object of {name} has other attributes than its class")
        for attribute, value in state.items():
            if not _fits(value, declared[attribute], classes):
                raise ValueError(f"{name}.{attribute} is no {ast.unparse(declared[attribute])}")
            for part in _objects(value):
                if id(part) not in seen:
                    seen.add(id(part))
                    waiting.append(part)
        if len(seen) > MAX_MODULES:
            raise ValueError(f"more than {MAX_MODULES} modules")


def _objects(value: Any) -> Iterator[Instance]:
    """The objects of the archive's own classes that a value is or holds."""
    if isinstance(value, Instance) and _class_name(value):
        yield value
    elif isinstance(value, Instance):
        yield from _objects(value.arguments)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _objects(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _objects(item)


def _class_name(instance: Instance) -> str:
    """The full name of an object of the archive's own code; empty for others."""
    name = instance.callable.name
    return name.replace(" ", ".") if _CLASS.fullmatch(name) else ""


def _fits(value: Any, annotation: ast.expr, classes: Mapping[str, ScriptClass]) -> bool:
    """Whether a value has the declared type."""
    match annotation:
        case ast.Name(id="Device"):
            return isinstance(value, Instance) and value.callable.name == _DEVICE
        case ast.Name(id=name):
            return name in _PLAIN and type(value) is _PLAIN[name]
        case ast.Attribute():
            return isinstance(value, Instance) and _class_name(value) == ast.unparse(annotation)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return value is None or _fits(value, inner, classes)
        case ast.Subscript(value=ast.Name(id="List"), slice=inner):
            items = _plain(value)
            return isinstance(items, list) and all(_fits(item, inner, classes) for item in items)
        case ast.Subscript(value=ast.Name(id="Dict"), slice=ast.Tuple(elts=[key_type, value_type])):
            items = _plain(value)
            return isinstance(items, dict) and all(
                _fits(key, key_type, classes) and _fits(item, value_type, classes)
                for key, item in items.items()
            )
        case ast.Subscript(value=ast.Name(id="Tuple"), slice=inner):
            types = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return (
                isinstance(value, tuple)
                and len(value) == len(types)
                and all(_fits(item, kind, classes) for item, kind in zip(value, types, strict=True))
            )
    return False


def _plain(value: Any) -> Any:
    """A list or mapping without the call that gives it its type."""
    match value:
        case Instance(arguments=(inner, str(tag))) if (
            value.callable.name == _TYPED and len(tag) < _MAX_TYPE_NAME
        ):
            return inner
        case Instance(arguments=(list(inner),)) if kind := _LISTS.get(value.callable.name):
            return inner if all(type(item) is kind for item in inner) else None
    return value
