"""What the settings of a configuration are, for ``help()``, ``?`` and the command line."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import to_jsonable_python

from mltrack_plugin.reprs import short

_LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Setting(NamedTuple):
    """One setting. Those of a configuration inside follow it: ``resolution.rphi``, ``passes[].min_hits``."""

    name: str
    #: Type and limits, as text.
    type: str
    required: bool
    #: As Python has it.
    default: Any
    description: str

    def plain(self) -> dict[str, Any]:
        """As plain values, for JSON; a required setting has no default."""
        values = {"name": self.name, "type": self.type, "required": self.required}
        if not self.required:
            values["default"] = to_jsonable_python(self.default, fallback=str)
        return values | {"description": self.description}


def describe(kind: type[BaseModel], prefix: str = "") -> list[Setting]:
    """The settings of a configuration in the order of their declaration."""
    found = []
    for name, field in kind.model_fields.items():
        required = field.is_required()
        default = None if required else field.get_default(call_default_factory=True)
        description = " ".join((field.description or "").split())
        found.append(Setting(prefix + name, _type(field), required, default, description))
        for inner, mark in _inside(field.annotation):
            found += describe(inner, f"{prefix}{name}{mark}.")
    return found


def with_settings(doc: str | None, kind: type[BaseModel]) -> str:
    """A docstring followed by the settings of a configuration."""
    parts = [inspect.cleandoc(doc or "")]
    lines = []
    for setting in describe(kind):
        default = "" if setting.required else f" = {short(setting.default)}"
        lines.append(f"    {setting.name}: {setting.type}{default}")
        lines += textwrap.wrap(setting.description, 100, initial_indent=" " * 8, subsequent_indent=" " * 8)
    if lines:
        parts.append("\n".join(["Settings:", *lines]))
    return "\n\n".join(part for part in parts if part)


def _type(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(part, name):g}"
        for part in field.metadata
        for name, sign in _LIMITS.items()
        if getattr(part, name, None) is not None
    ]
    return " and ".join([" ".join([_type_name(field.annotation), *limits[:1]]), *limits[1:]])


def _type_name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " | ".join(map(_type_name, arguments))
    if origin is not None:
        inside = ", ".join("..." if one is Ellipsis else _type_name(one) for one in arguments)
        return f"{origin.__name__}[{inside}]"
    return "None" if annotation is NoneType else getattr(annotation, "__name__", str(annotation))


def _inside(annotation: Any) -> Iterator[tuple[type[BaseModel], str]]:
    """Configurations that a value holds, with the mark of where: ``[]`` of a list, ``{}`` of a mapping."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        if issubclass(annotation, BaseModel):
            yield annotation, ""
        return
    marks: dict[Any, str] = {dict: "{}", list: "[]", tuple: "[]"}
    mark = marks.get(get_origin(annotation), "")
    for argument in get_args(annotation):
        for kind, inner in _inside(argument):
            yield kind, mark + inner
