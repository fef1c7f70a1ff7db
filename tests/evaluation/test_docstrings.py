"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["calibration", "matching", "definitions", "intervals", "trackml_weights"])
def test_examples(name):
    result = doctest.testmod(importlib.import_module(f"mltrack_plugin.evaluation.{name}"))
    assert result.attempted > 0
    assert result.failed == 0
