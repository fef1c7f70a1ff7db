"""Settings in docstrings: what ``help()`` and ``?`` show of a configuration and of an element."""

from __future__ import annotations

import inspect
import pydoc
from typing import Annotated, Literal

from pydantic import Field

from mltrack_plugin.framework.algorithm import Algorithm
from mltrack_plugin.settings import Config
from mltrack_plugin.settings_help import describe


class Window(Config):
    """A window."""

    width: float = Field(gt=0, le=5)
    """Full width, mm."""


class Settings(Config):
    """Settings of a step."""

    mode: Literal["fast", "exact"] = "fast"
    """How."""
    number: int | None = None
    """How many; a text that is so long that it does not fit on one line of a terminal and must be broken
    somewhere.
    """
    windows: tuple[Window, ...] = (Window(width=1.0),)
    """Where."""
    by_layer: dict[Annotated[int, Field(ge=0)], Window] = Field(default_factory=dict)
    """Where, by layer."""


class Step(Algorithm):
    """Does a step."""

    Config = Settings


def test_settings_are_described_with_those_inside():
    found = {setting.name: setting for setting in describe(Settings)}
    assert list(found) == ["mode", "number", "windows", "windows[].width", "by_layer", "by_layer{}.width"]
    assert found["mode"].type == "'fast' | 'exact'"
    assert found["number"].type == "int | None"
    assert found["windows[].width"].type == "float > 0 and <= 5"
    assert found["windows[].width"].required
    assert found["by_layer"].type == "dict[int, Window]"
    assert found["windows"].plain()["default"] == [{"width": 1.0}]
    assert found["by_layer"].plain()["default"] == {}


def test_docstring_of_an_element_shows_its_settings():
    doc = inspect.getdoc(Step)
    assert doc.startswith("Does a step.\n\nSettings:\n    mode: 'fast' | 'exact' = 'fast'\n        How.\n")
    assert "    windows[].width: float > 0 and <= 5\n        Full width, mm." in doc
    assert max(map(len, doc.splitlines())) <= 100
    assert "Full width, mm." in pydoc.render_doc(Step)
    assert inspect.getdoc(Window) == (
        "A window.\n\nSettings:\n    width: float > 0 and <= 5\n        Full width, mm."
    )


def test_element_without_docstring_or_settings():
    class Silent(Algorithm):
        pass

    class Heir(Step):
        pass

    assert Silent.__doc__ == ""
    assert Heir.__doc__.startswith("Settings:\n    mode:")
