"""What README and docs print is executed as printed."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import documentation
import numpy as np
import pytest
import yaml

import mltrack_plugin
from mltrack_plugin.errors import ConfigurationError

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXTS = [*PAGES, ROOT / "CONTRIBUTING.md"]
#: Folders of the checkout whose files the pages name by their paths.
FOLDERS = "mltrack_plugin|algorithms|io|configs|tests|benchmarks|examples|docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_blocks_do_what_they_say(page, tmp_path, monkeypatch):
    blocks = documentation.blocks(page.read_text(encoding="utf-8"))
    if any(re.search("acts|reference ckf|simulate (trackml|heptrkx)", block.text) for block in blocks):
        pytest.importorskip("acts")
    # A reader has a file of events, and stands in the clone.
    shutil.copy(ROOT / "examples" / "data" / "trackml-10-50.root", tmp_path / "events.root")
    for name in ("examples", "benchmarks", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "documentation"}
    for block in blocks:
        execute(block, names, tmp_path)


def execute(block, names, folder):
    if block.kind == "python":
        documentation.run_python(block, names, folder)
    elif block.kind == "yaml":
        documentation.check_yaml(block, folder)
    else:
        for words in documentation.commands(block):
            documentation.run_command(words, ROOT, block.long)


@pytest.mark.parametrize(
    ("page", "error"),
    [
        ("```yaml\nsequence:\n  - {algorithm: hdbscan, min_cluster: 4}\n```", ConfigurationError),
        ("```yaml\n- algorithm: hdbskan\n```", ConfigurationError),
        ("```yaml\nvolumes: [\n```", yaml.YAMLError),
        ("    mltrack run --imput events.root", AssertionError),
        ("    mltrack simulate trackml-10-50 --events many --output none.root", AssertionError),
        ("<!-- long -->\n\n    mltrack train encemb-generic --threads none", click.BadParameter),
        ("    python benchmarks/ckf.py --slow", AssertionError),
        ("```python\nimport mltrack_plugin.tracking\n```", ImportError),
    ],
)
def test_what_does_not_do_what_it_says_is_found(page, error, tmp_path):
    (block,) = documentation.blocks(page)
    with pytest.raises(error):
        execute(block, {}, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_nothing_is_offered_that_cannot_be_had():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert "pip install mltrack-plugin" not in text, page
        assert "'mltrack-plugin[" not in text, page


@pytest.mark.parametrize("page", TEXTS, ids=lambda page: page.stem)
def test_files_modules_and_objects_exist(page):
    for text in documentation.quoted(page.read_text(encoding="utf-8")):
        for path in re.findall(rf"(?<![\w./-])(?:{FOLDERS})/[\w./<>*-]*", text):
            pattern = re.sub(r"<\w+>", "*", path).rstrip("/.")
            assert any(ROOT.glob(pattern)), f"{page.name}: there is no {path}"
        for name in re.findall(r"\bmltrack_plugin(?:\.\w+)+", text):
            assert documentation.exists(name, ROOT), f"{page.name}: there is no {name}"
        for command in re.findall(r"^mltrack ([a-z]\w*)", text):
            assert documentation.is_command(command), f"{page.name}: there is no mltrack {command}"


def test_imports_of_examples_and_benchmarks_exist():
    scripts = [path for folder in ("examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(scripts) > 15
    for path in scripts:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mltrack_plugin"):
                for alias in node.names:
                    name = f"{node.module}.{alias.name}"
                    assert documentation.exists(name, ROOT), f"{path.name}: there is no {name}"


def test_the_example_of_a_sequence_tells_what_it_did(tmp_path):
    source, target = ROOT / "examples" / "data" / "trackml-10-50.root", tmp_path / "tracks.root"
    script = ROOT / "examples" / "reconstruction_sequence.py"
    done = subprocess.run(
        [sys.executable, str(script), str(source), str(target), "--events", "4", "--workers", "2"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "fit-kalman" in done.stdout
    assert "4 events" in done.stdout
    tracks = mltrack_plugin.read_tracks(target)
    momenta = np.concatenate([found.pt for _, found in tracks])
    assert len(momenta) > 40
    assert np.isfinite(momenta).mean() > 0.9
    assert 0.1 < np.nanmedian(momenta) < 5
    # The loop over the tracks prints a line for each event.
    assert len(re.findall(r"^event \d+: \d+ tracks", done.stdout, re.MULTILINE)) == 4
