"""``mltrack``: the group of commands, and how errors and signals end the program."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

import click

from mltrack_plugin.errors import MltrackError, did_you_mean
from mltrack_plugin.version import __version__

#: Command -> (module whose ``command`` it is, or module:command, what it does). Modules are imported when needed.
COMMANDS = {
    "run": ("mltrack_plugin.cli.run", "Find the tracks of the events in a file."),
    "evaluate": ("mltrack_plugin.cli.evaluate", "Score tracks against the truth."),
    "compare": ("mltrack_plugin.cli.compare", "Compare two collections of tracks."),
    "reference": ("mltrack_plugin.cli.reference", "Find tracks with the CKF of ACTS, to compare with."),
    "benchmark": ("mltrack_plugin.cli.benchmark", "Print published figures beside ours."),
    "simulate": ("mltrack_plugin.cli.simulate", "Make events with truth."),
    "inspect": ("mltrack_plugin.cli.inspect", "Tell what a file holds and which jobs fit it."),
    "display": ("mltrack_plugin.cli.display", "Draw the hits and tracks of an event."),
    "models": ("mltrack_plugin.cli.models", "List the shipped models, or show one."),
    "configs": ("mltrack_plugin.cli.configs", "List the shipped job configurations, or print one."),
    "algorithms": ("mltrack_plugin.cli.registered:algorithms", "List the algorithms, or show one."),
    "readers": ("mltrack_plugin.cli.registered:readers", "List the readers, or show one."),
    "writers": ("mltrack_plugin.cli.registered:writers", "List the writers, or show one."),
    "detectors": ("mltrack_plugin.cli.registered:detectors", "List the detectors, or show one."),
    "train": ("mltrack_plugin.cli.train", "Train a model."),
    "export": ("mltrack_plugin.cli.export", "Make a model archive from a checkpoint."),
}

#: Exit codes of a shell for a process that a signal ended.
_EXIT_INTERRUPTED = 128 + signal.SIGINT
#: sysexits.h: EX_SOFTWARE.
_EXIT_BUG = 70


class Terminated(KeyboardInterrupt):
    """A signal that ends the program arrived (SIGTERM, SIGHUP of a closed terminal); handled like Ctrl-C.

    Args:
        signum: the signal.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"signal {signum}")
        self.signum = signum


class LazyGroup(click.Group):
    """A group that imports a command's module only when the command runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute or "command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            ctx.fail(f"no command {args[0]!r}. {did_you_mean(args[0], COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mltrack")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (also after a command).")
def cli(debug: bool) -> None:
    """Find particle tracks with Transformers.

    Start with:  mltrack run --input events.root
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0: done; 1: bad input or output; 2: wrong options or configuration; 70: a bug; 130, 143 and 129: stopped
    by Ctrl-C, SIGTERM and SIGHUP.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    with _terminate_like_ctrl_c():
        try:
            result = cli.main(args=arguments, prog_name="mltrack", standalone_mode=False)
        except click.ClickException as error:
            error.show()
            return error.exit_code
        except BrokenPipeError:
            # The reader of our output (head, less) has gone: not an error, but nothing more can be written.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (KeyboardInterrupt, click.Abort) as error:
            # click takes the end of any file for the end of its own prompts.
            if isinstance(cause := error.__cause__ or error.__context__, EOFError):
                return _bug(cause, debug)
            return _fail("stopped", error, debug, _exit_code(error))
        except (MltrackError, OSError) as error:
            return _fail(f"error: {error}", error, debug, _exit_code(error))
        except Exception as error:
            return _bug(error, debug)
    return result if isinstance(result, int) else 0


def _exit_code(error: BaseException) -> int:
    if isinstance(error, MltrackError):
        return error.exit_code
    if isinstance(error, OSError):
        return 1
    # click turns a KeyboardInterrupt, and so a SIGTERM, into an Abort.
    for one in (error, error.__cause__, error.__context__):
        if isinstance(one, Terminated):
            return 128 + one.signum
    return _EXIT_INTERRUPTED


def _bug(error: Exception, debug: bool) -> int:
    hint = "" if debug else "\nThis is a bug; please report it with the output of --debug."
    return _fail(f"internal error: {type(error).__name__}: {error}{hint}", error, debug, _EXIT_BUG)


def _fail(message: str, error: BaseException, debug: bool, code: int) -> int:
    if debug:
        traceback.print_exception(error)
    click.echo(f"mltrack: {message}", err=True)
    return code


@contextlib.contextmanager
def _terminate_like_ctrl_c() -> Iterator[None]:
    def stop(signum: int, frame: FrameType | None) -> None:
        raise Terminated(signum)

    before: dict[int, Any] = {}
    try:
        for signum in (signal.SIGTERM, signal.SIGHUP):
            # nohup: whoever started the program wants it to outlive the terminal.
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, stop)
    except ValueError:  # not in the main thread, where signals never arrive
        yield
        return
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
