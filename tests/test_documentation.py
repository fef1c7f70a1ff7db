"""What README and docs print is executed as printed."""

from __future__ import annotations

import shutil
from pathlib import Path

import documentation
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_do_what_they_say(page, tmp_path, monkeypatch):
    blocks = documentation.blocks(page.read_text(encoding="utf-8"))
    if any("mltrack_plugin.acts" in block.text or "acts" in block.text for block in blocks):
        pytest.importorskip("acts")
    # A reader has a file of events, and stands in the clone.
    shutil.copy(ROOT / "examples" / "data" / "trackml-10-50.root", tmp_path / "events.root")
    for name in ("examples", "benchmarks", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "documentation"}
    for block in blocks:
        if block.kind == "python":
            documentation.run_python(block, names, tmp_path)
        elif block.kind == "yaml":
            documentation.check_yaml(block, tmp_path)
        else:
            for words in documentation.commands(block):
                documentation.run_command(words, ROOT, block.long)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page):
    import re

    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_nothing_is_offered_that_cannot_be_had():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert "pip install mltrack-plugin" not in text, page
        assert "'mltrack-plugin[" not in text, page
