"""Blocks of code in a Markdown page, and their execution as a reader would type them."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml

from mltrack_plugin.cli.main import cli, main
from mltrack_plugin.jobs.config import JobConfig, parse_job
from mltrack_plugin.jobs.variants import jobs_in

#: In front of a block whose run takes too long for a test: its options are checked, and nothing is run.
LONG = "<!-- long -->"
#: Languages of fenced blocks that show what is not typed: output, other languages, files.
SHOWN = {"text", "cpp", "json", "toml"}
#: Languages of fenced blocks that are checked -> kind of block.
CHECKED = {"python": "python", "sh": "shell", "yaml": "yaml"}


class Block(NamedTuple):
    """A block of a page."""

    #: "python", "shell" or "yaml".
    kind: str
    text: str
    line: int
    #: Only its options are checked.
    long: bool


def blocks(page: str) -> list[Block]:
    """Python, shell and YAML blocks of a page in their order; an indented block is typed into a shell."""
    found: list[Block] = []
    language: str | None = None
    lines: list[str] = []
    start, long, paragraph = 0, False, ""
    for number, line in enumerate([*page.splitlines(), ""], start=1):
        if language is None and line.startswith("```"):
            language, start, lines = line[3:].strip() or "text", number, []
            long = paragraph == LONG
        elif language is not None and language != "indented":
            if line.startswith("```"):
                if language not in SHOWN:
                    found.append(Block(CHECKED[language], "\n".join(lines), start, long))
                language = None
            else:
                lines.append(line)
        elif line.startswith("    ") and (language == "indented" or not paragraph or paragraph == LONG):
            if language is None:
                language, start, lines, long = "indented", number, [], paragraph == LONG
            lines.append(line[4:])
        elif language == "indented":
            found.append(Block("shell", "\n".join(lines), start, long))
            language = None
        if line.strip() or paragraph != LONG:
            paragraph = line.strip()
    return found


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a shell block, without comments."""
    joined = re.sub(r"\\\n\s*", " ", block.text)
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def run_python(block: Block, names: dict[str, Any], folder: Path) -> None:
    """Execute a Python block: a script with a guarded entry as a script, anything else with the names made so far."""
    if "__main__" in block.text:
        script = folder / f"block_{block.line}.py"
        script.write_text(block.text, encoding="utf-8")
        done = subprocess.run([sys.executable, str(script)], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip(), "a script of the documentation prints something"
        return
    exec(compile(block.text, f"line {block.line}", "exec"), names)


def check_yaml(block: Block, folder: Path) -> None:
    """Parse a YAML block, with every setting of every step if it is a job or a part of one.

    A block whose first line is ``# NAME.yaml`` is that file from there on.
    """
    if name := re.match(r"# (\S+\.yaml)\n", block.text):
        (folder / name[1]).write_text(block.text, encoding="utf-8")
    content, source = yaml.safe_load(block.text), f"line {block.line}"
    assert isinstance(content, dict | list), source
    if isinstance(content, list):
        JobConfig(name=source, detector="generic", sequence=content).algorithms()
    elif "sequence" in content:
        for variant in jobs_in(content, source):
            parse_job(block.text, source, variant).algorithms()


def run_command(words: list[str], root: Path, long: bool) -> None:
    """Run a command of a shell block, or check that it can be run."""
    if words[0] == "mltrack":
        if long:
            check_options(words[1:])
        else:
            assert main(words[1:]) == 0, words
    elif words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[1] in targets
    elif words[0] == "python":
        script = root / words[1]
        text = script.read_text(encoding="utf-8")
        for option in (word for word in words[2:] if word.startswith("--")):
            assert f'"{option}"' in text, f"{words[1]} has no option {option}"
    elif words[:2] == ["pip", "install"]:
        for extra in re.findall(r"\[(.+)\]", " ".join(words)):
            text = (root / "pyproject.toml").read_text(encoding="utf-8")
            assert all(f"\n{name} = [" in text for name in extra.split(",")), extra
    else:
        raise AssertionError(f"not a command that a test can judge: {' '.join(words)}")


def check_options(words: list[str]) -> None:
    """Refuse commands and options that do not exist, and values of the wrong kind; nothing is run."""
    command: click.Command = cli
    context = click.Context(command, info_name="mltrack")
    while isinstance(command, click.Group):
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    command.make_context("mltrack", words, parent=context).close()


def quoted(page: str) -> list[str]:
    """What stands in single backticks, outside fenced blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE))


def exists(name: str, root: Path) -> bool:
    """Whether a dotted name is a module, an object in one, or a group of entry points."""
    if f'[project.entry-points."{name}"]' in (root / "pyproject.toml").read_text(encoding="utf-8"):
        return True
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if not module.startswith(error.name or "?"):
                raise
            continue
        try:
            reduce(getattr, parts[length:], found)
        except AttributeError:
            return False
        return True
    return False


def is_command(name: str) -> bool:
    """Whether ``mltrack`` has a command."""
    return name in cli.list_commands(click.Context(cli))
