"""What the tests of bad input share."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_input import CommandLine, good_events, save_events
from direction_model import save_direction_model


@pytest.fixture(scope="session")
def direction_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that finds straight tracks, with the range of radii in which it was trained."""
    ranges = {"r": (0.0, 7.0), "z": (-20.0, 20.0), "n_hits": (1, 200)}
    return save_direction_model(
        tmp_path_factory.mktemp("model") / "direction.pt", validity=ranges, detectors=("redvid", "trackml")
    )


@pytest.fixture
def mltrack(tmp_path: Path, direction_model: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line, with an empty folder for its outputs."""
    return CommandLine(tmp_path, direction_model, capsys)


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Three events without fault."""
    return save_events(tmp_path / "good.root", *good_events())
