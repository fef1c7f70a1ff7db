"""Pictures of README and docs: each has a command that draws it, and that of the README is of today."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from mltrack_plugin.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"


@pytest.fixture(scope="module")
def pictures():
    spec = importlib.util.spec_from_file_location("pictures", ROOT / "benchmarks" / "pictures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_of_the_readme_is_of_today(pictures):
    image = pytest.importorskip("PIL.Image")
    with image.open(IMAGES / pictures.EVENT_PICTURE) as picture:
        found = {key: picture.info.get(key) for key in pictures.made_from()}
    assert found == pictures.made_from(), "draw it again: python benchmarks/pictures.py"


def test_a_change_of_what_it_is_made_from_is_seen(pictures, monkeypatch, tmp_path):
    now = pictures.made_from()
    sample = tmp_path / "sample.root"
    sample.write_bytes((ROOT / pictures.SAMPLE).read_bytes() + b" ")
    monkeypatch.setattr(pictures, "SAMPLE", str(sample))
    assert pictures.made_from()["Source"] != now["Source"]


def test_every_picture_has_a_command_and_is_shown(pictures):
    drawn = {pictures.EVENT_PICTURE, *pictures.COMMANDS}
    assert {path.name for path in IMAGES.iterdir()} == drawn
    text = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    assert {Path(target).name for target in re.findall(r"!\[[^]]*\]\(([^)]*)\)", text)} == drawn
    for command in pictures.COMMANDS.values():
        program, what = command.split()[:2]
        assert what in COMMANDS if program == "mltrack" else (ROOT / what).is_file()
