"""TorchScript code, checked before torch sees it: only what a network needs to compute.

The code is written in Python's syntax, in a dialect so small that it can be compared with a list: which statements
there are, which names may be called, which operators exist. What torch would read differently from Python's parser
(comments, unusual letters and quotes) is refused, so that both see the same program. Nothing is compiled or run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mltrack_plugin.archives.operators import ATEN, EFFECTS, PRIM
from mltrack_plugin.errors import ModelError

#: Largest number of characters, and of statements, expressions and names, of an archive's code; and how deep they nest.
MAX_CODE = 4_000_000
MAX_NODES = 400_000
MAX_DEPTH = 60
_LITERAL = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_OUTSIDE_LITERALS = re.compile(r'[A-Za-z0-9_ \n()\[\]{}:.,=>\-"]*')
_ALIAS = re.compile(r"_\d+")
_CONSTANT = re.compile(r"c\d+")
_NAMESPACES = {"torch", "ops", "__torch__", "CONSTANTS"}
#: What may be called by its plain name, beside functions that stand in a local name ``_0``.
_CALLABLE = {
    "annotate",
    "bool",
    "float",
    "getattr",
    "int",
    "isinstance",
    "range",
    "unchecked_cast",
    "uninitialized",
}
#: Names that may stand for themselves without being assigned: types, and numbers that have no other spelling.
_FREE = {
    *(
        "Any",
        "Device",
        "Dict",
        "Final",
        "List",
        "NoneType",
        "Optional",
        "Tensor",
        "Tuple",
        "Union",
        "bool",
        "complex",
    ),
    *("float", "inf", "infj", "int", "nan", "nanj", "number", "str"),
}
#: Names that would reach more than a network needs if something else took them.
_RESERVED = _NAMESPACES | {"awaitable", "fork", "getattr", "print", "rpc_async", "rpc_remote", "rpc_sync"}
_BASES = {"Module", "NamedTuple", "Interface"}
_INNER: tuple[type[ast.AST], ...] = (
    *(
        ast.Return,
        ast.Assign,
        ast.AnnAssign,
        ast.Expr,
        ast.If,
        ast.For,
        ast.While,
        ast.Pass,
        ast.arguments,
        ast.keyword,
    ),
    *(ast.Call, ast.Subscript, ast.List, ast.Tuple, ast.Dict, ast.UnaryOp, ast.USub, ast.Load, ast.Store),
)
_LARGEST_INT = 2**63


@dataclass
class ScriptClass:
    """A class of the code: its attributes with the type that each is declared to have, and its methods."""

    attributes: dict[str, ast.expr] = field(default_factory=dict)
    constants: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)


def check_code(code: Mapping[str, bytes], source: str) -> dict[str, ScriptClass]:
    """Check all code of an archive.

    Args:
        code: content by member name, ``code/....py``.
        source: the file, for messages.

    Returns:
        its classes by full name (``__torch__...``).

    Raises:
        ModelError: naming member and line of what is not allowed.
    """
    if sum(map(len, code.values())) > MAX_CODE:
        raise ModelError(f"{source}: more than {MAX_CODE} bytes of code; the file is not opened")
    trees = {name: _parsed(content, f"{source}: {name}") for name, content in code.items()}
    classes: dict[str, ScriptClass] = {}
    for name, tree in trees.items():
        module = name.removeprefix("code/").removesuffix(".py").replace("/", ".")
        for statement in tree.body:
            if isinstance(statement, ast.ClassDef):
                classes[f"{module}.{statement.name}"] = _script_class(statement, f"{source}: {name}")
    declared = {n for one in classes.values() for n in (*one.attributes, *one.constants, *one.methods)}
    if effects := sorted(declared & EFFECTS):
        raise ModelError(
            f"{source} has a part with the name of the operator {effects[0]!r}; the file is not opened"
        )
    total = 0
    for name, tree in trees.items():
        for part in _parts(tree):
            total += _check_part(part, declared, f"{source}: {name}")
            if total > MAX_NODES:
                raise ModelError(
                    f"{source}: the code has more than {MAX_NODES} parts; the file is not opened"
                )
        if any(not isinstance(statement, (ast.ClassDef, ast.FunctionDef)) for statement in tree.body):
            raise ModelError(f"{source}: {name} runs code while it is loaded; the file is not opened")
    return classes


def _parts(tree: ast.Module) -> Iterator[ast.stmt]:
    """Functions, methods and declarations: each has its own local names."""
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            yield from statement.body
        else:
            yield statement


def _parsed(content: bytes, where: str) -> ast.Module:
    try:
        text = content.decode("ascii")
        strange = _OUTSIDE_LITERALS.sub("", _LITERAL.sub('""', text))
        if strange or '"""' in text:
            raise ValueError(f"{(strange or 'quotes')[:20]!r} is not written by torch")
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(f"{where} cannot be checked ({error}); the file is not opened") from None


def _script_class(statement: ast.ClassDef, where: str) -> ScriptClass:
    found = ScriptClass()
    if any(not isinstance(base, ast.Name) or base.id not in _BASES for base in statement.bases):
        raise ModelError(f"{where}: class {statement.name} is none of a network; the file is not opened")
    for part in statement.body:
        match part:
            case ast.FunctionDef(name=("__setstate__" | "__getstate__") as name):
                raise ModelError(f"{where} runs code while it is loaded ({name}); the file is not opened")
            case ast.FunctionDef(name=name):
                found.methods.add(name)
            case ast.AnnAssign(target=ast.Name(id=name), value=None, annotation=annotation):
                found.attributes[name] = annotation
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if value is not None:
                found.constants.add(name)
            case ast.Assign(
                targets=[
                    ast.Subscript(value=ast.Name(id="__annotations__"), slice=ast.Constant(value=str(name)))
                ],
                value=annotation,
            ):
                found.attributes[name] = annotation
            case (
                ast.Assign(targets=[ast.Name(id="__parameters__" | "__buffers__")], value=ast.List())
                | ast.Pass()
            ):
                pass
            case _:
                raise ModelError(
                    f"{where}:{part.lineno}: no part of a class of a network; the file is not opened"
                )
    return found


def _check_part(part: ast.stmt, declared: set[str], where: str) -> int:
    """Check every node of a function or declaration; returns their number."""

    def refuse(node: ast.AST, problem: str) -> ModelError:
        return ModelError(f"{where}:{getattr(node, 'lineno', part.lineno)} {problem}; the file is not opened")

    number = 0
    bound: set[str] = set()
    used: dict[str, ast.Name] = {}
    waiting: list[tuple[ast.AST, int]] = [(part, 0)]
    if isinstance(part, ast.FunctionDef):
        if part.decorator_list:
            raise refuse(part, "has a decorator")
        waiting = [(child, 1) for child in (part.args, *part.body, *([part.returns] if part.returns else []))]
    while waiting:
        node, depth = waiting.pop()
        number += 1
        if depth > MAX_DEPTH:
            raise refuse(node, "nests too deep")
        kind = type(node)
        problem = None
        if isinstance(node, ast.Name):
            if node.id in _RESERVED:
                problem = f"passes the namespace {node.id!r} around"
            elif isinstance(node.ctx, ast.Store):
                bound.add(node.id)
            else:
                used[node.id] = node
        elif isinstance(node, ast.Attribute):
            problem = _attribute_problem(node, declared)
            if _dotted(node) is None:
                waiting.append((node.value, depth + 1))
            elif isinstance(root := _root(node), ast.Name) and root.id not in _NAMESPACES:
                used[root.id] = root
        elif isinstance(node, ast.Constant):
            problem = _constant_problem(node.value)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
            if node.arg in _RESERVED:
                problem = f"passes the namespace {node.arg!r} around"
            if node.annotation is not None:
                waiting.append((node.annotation, depth + 1))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            problem = _call_problem(node, node.func.id, declared)
            if _ALIAS.fullmatch(node.func.id):
                used[node.func.id] = node.func
            waiting.extend((child, depth + 1) for child in (*node.args, *node.keywords))
        elif kind in _INNER:
            waiting.extend((child, depth + 1) for child in ast.iter_child_nodes(node))
        else:
            problem = f"holds {kind.__name__}, which no network needs"
        if problem:
            raise refuse(node, problem)
    for name in used.keys() - bound - _FREE:
        if name != "__annotations__":
            raise refuse(used[name], f"uses {name!r}, which no network needs")
    return number


def _dotted(node: ast.Attribute) -> list[str] | None:
    """The parts of a dotted name (``ops.prim.dtype``), ``None`` for attributes of other expressions."""
    parts: list[str] = []
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        parts.append(inner.attr)
        inner = inner.value
    return [inner.id, *parts[::-1]] if isinstance(inner, ast.Name) else None


def _root(node: ast.expr) -> ast.expr:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node


def _call_problem(node: ast.Call, name: str, declared: set[str]) -> str | None:
    """What is wrong with a call of a plain name."""
    if name == "getattr":
        attribute = node.args[1] if len(node.args) == 2 else None
        if not isinstance(attribute, ast.Constant) or attribute.value not in declared:
            return "reads an attribute that no class has"
    elif name not in _CALLABLE and not _ALIAS.fullmatch(name):
        return f"calls {name!r}, which no network needs"
    return None


def _constant_problem(value: object) -> str | None:
    if value is not None and type(value) not in (bool, int, float, str):
        return f"holds a constant of type {type(value).__name__}"
    if isinstance(value, int) and abs(value) > _LARGEST_INT:
        return "holds an integer of more than 64 bits"
    return None


def _attribute_problem(node: ast.Attribute, declared: set[str]) -> str | None:
    match _dotted(node):
        case ["torch", name] | ["ops", "aten", name]:
            return None if name in ATEN else f"uses the operator {name!r}, which is none of a network"
        case ["ops", "prim", name]:
            return None if name in PRIM else f"uses the operator 'prim.{name}', which is none of a network"
        case ["__torch__", "torch", "classes", *_] | ["torch" | "ops", *_]:
            return f"needs the native extension {ast.unparse(node)}"
        case ["__torch__", *_]:
            return None
        case ["CONSTANTS", name]:
            return None if _CONSTANT.fullmatch(name) else f"uses the unknown constant {name!r}"
        case None:
            names = [node.attr]
        case [_, *names]:
            pass
    for name in names:
        if name not in declared and name not in ATEN and name not in PRIM:
            return f"uses the operator {name!r}, which is none of a network"
    return None
