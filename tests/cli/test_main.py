"""The program starts at once, and every error ends with a message and an exit code, not with a traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import click
import pytest

from mltrack_plugin import __version__
from mltrack_plugin.cli import main as main_module
from mltrack_plugin.cli.main import COMMANDS, LazyGroup, Terminated, main
from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.jobs.config import available_jobs, load_job


def test_help_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for name, (_, help_text) in COMMANDS.items():
        assert f"  {name} " in text
        assert help_text in text


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"mltrack, version {__version__}"


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["configs"], ["rum"]])
def test_start_imports_nothing_heavy(arguments):
    """What takes seconds to import (torch and friends) is imported by the work, not by the command line."""
    code = f"""
import sys
from mltrack_plugin.cli.main import main
main({arguments!r})
heavy = {{"torch", "awkward", "uproot", "hdbscan", "scipy", "pyarrow", "vector", "matplotlib", "lightning"}}
print("loaded:", sorted(heavy & sys.modules.keys()))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "loaded: []"


def test_unknown_command_gives_the_nearest(capsys):
    assert main(["evalute"]) == 2
    assert "no command 'evalute'. Did you mean 'evaluate'" in capsys.readouterr().err


def raising(monkeypatch, error: BaseException) -> None:
    """Make ``mltrack configs`` raise."""

    @click.command()
    def command() -> None:
        raise error

    module = SimpleNamespace(command=command)
    monkeypatch.setattr(main_module.importlib, "import_module", lambda name: module)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (InputError("events.root: no tree 'hits'"), 1, "mltrack: error: events.root: no tree 'hits'\n"),
        (ConfigurationError("no setting 'x'"), 2, "mltrack: error: no setting 'x'\n"),
        (FileNotFoundError(2, "No such file", "a"), 1, "mltrack: error: [Errno 2] No such file: 'a'\n"),
        (KeyboardInterrupt(), 130, "mltrack: stopped\n"),
        (Terminated(signal.SIGTERM), 143, "mltrack: stopped\n"),
        (click.UsageError("odd option"), 2, "Error: odd option\n"),
    ],
)
def test_errors_end_with_a_message_and_a_code(monkeypatch, capsys, error, code, message):
    raising(monkeypatch, error)
    assert main(["configs"]) == code
    errors = capsys.readouterr().err
    assert errors.endswith(message)
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("error", "text"), [(KeyError("x"), "KeyError: 'x'"), (EOFError("x"), "EOFError: x")]
)
def test_unexpected_error_asks_for_a_report(monkeypatch, capsys, error, text):
    raising(monkeypatch, error)
    assert main(["configs"]) == 70
    errors = capsys.readouterr().err
    assert f"mltrack: internal error: {text}" in errors
    assert "report it with the output of --debug" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("arguments", [["--debug", "configs"], ["configs", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(monkeypatch, capsys, arguments):
    raising(monkeypatch, InputError("damaged"))
    assert main(arguments) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_stop_like_ctrl_c(monkeypatch, capsys, signum, code):
    @click.command()
    def command() -> None:
        os.kill(os.getpid(), signum)

    monkeypatch.setattr(main_module.importlib, "import_module", lambda name: SimpleNamespace(command=command))
    before = signal.getsignal(signum)
    assert main(["configs"]) == code
    assert signal.getsignal(signum) is before


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    @click.command()
    def command() -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    monkeypatch.setattr(main_module.importlib, "import_module", lambda name: SimpleNamespace(command=command))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["configs"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_output_into_a_closed_pipe_is_no_error():
    shell = f"{sys.executable} -m mltrack_plugin configs --json | head -c 10"
    result = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, check=True)
    assert result.stderr == ""


def test_every_command_has_a_module():
    group = LazyGroup()
    context = click.Context(group)
    for name in COMMANDS:
        command = group.get_command(context, name)
        assert isinstance(command, click.Command)
        assert command.help


def test_configs_lists_the_jobs(capsys):
    assert main(["configs"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in available_jobs())
    assert main(["configs", "--json"]) == 0
    assert [job["name"] for job in json.loads(capsys.readouterr().out)] == available_jobs()


def test_configs_prints_one_job(capsys, tmp_path):
    name = "encreg-trackml-10-50"
    assert main(["configs", name]) == 0
    path = tmp_path / "copy.yaml"
    path.write_text(capsys.readouterr().out)
    assert load_job(path) == load_job(name)
    assert main(["configs", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == name


def test_configs_unknown_name(capsys):
    assert main(["configs", "encreg-redvid-linear"]) == 2
    assert "Did you mean 'encreg-redvid-10-50-linear'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--input", "a.root", "--input", "b.root"],
        ["evaluate", "--tracks", "a", "--input", "x", "--tracks", "b"],
    ],
)
def test_inputs_are_given_once(words, capsys):
    assert main(words) == 2
    assert "is given 2 times" in capsys.readouterr().err


def test_names_that_are_no_text_fail_before_the_work(capsys):
    assert main(["run", "--input", b"a\xff.root".decode(errors="surrogateescape")]) == 2
    assert "not valid UTF-8" in capsys.readouterr().err
