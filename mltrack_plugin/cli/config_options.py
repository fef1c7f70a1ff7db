"""Command line options made from a configuration class, so that every setting can be given as an option."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click

from mltrack_plugin.settings import Config


class NumbersType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """Numbers joined by ``-``, ``:`` or ``,``: ``20-80``, ``0.5:10``, ``0.8,0.1,0.1``; one stands for all.

    Args:
        kinds: type of each number.
    """

    def __init__(self, kinds: tuple[type, ...]) -> None:
        self.kinds = kinds
        self.name = "LOW-HIGH" if len(kinds) == 2 else ",".join(["X"] * len(kinds))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The tuple of numbers."""
        if isinstance(value, tuple):
            return value
        # A minus sign joins two numbers only between digits: "1e-3" and "-2:2" hold one number and two.
        parts = re.split(r"[:,]|(?<=[\d.])-(?=[\d.])", str(value).strip())
        if len(parts) == 1:
            parts = parts * len(self.kinds)
        try:
            return tuple(kind(part) for kind, part in zip(self.kinds, parts, strict=True))
        except ValueError:
            example = "0.8,0.1,0.1" if len(self.kinds) > 2 else "20-80" if self.kinds[0] is int else "0.5-10"
            self.fail(f"{value!r} is not {self.name}; write for example {example}", param, ctx)

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """How the help shows the value."""
        return self.name


def config_options(kind: type[Config], defaults: Mapping[str, Any]) -> list[click.Option]:
    """One option per setting. Options that are not given do not appear in the settings.

    Args:
        kind: the configuration.
        defaults: settings whose default differs from that of the configuration, shown in the help.
    """
    options = []
    for name, field in kind.model_fields.items():
        default = defaults.get(name, field.default)
        flag = f"--{name.replace('_', '-')}"
        shown = "" if default is None else f"  [default: {_text(default)}]"
        help_text = " ".join((field.description or "").split()) + shown
        value_type = _value_type(field.annotation)
        if value_type is bool:
            options.append(click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=help_text))
        else:
            options.append(click.Option([flag, name], type=value_type, default=None, help=help_text))
    return options


def _value_type(annotation: Any) -> Any:
    """The click type of an annotation; an optional value is an option that need not be given."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return _value_type(next(a for a in arguments if a is not type(None)))
    if origin is Literal:
        return click.Choice([str(a) for a in arguments])
    if origin is tuple:
        return NumbersType(arguments)
    if annotation is Path:
        return click.Path(path_type=Path)
    return annotation


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ("-" if len(value) == 2 else ",").join(map(str, value))
    return str(value)
