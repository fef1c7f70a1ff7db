"""Exceptions of the package: every one carries a message that a user can act on.

``MltrackError`` is the common base; the command line prints its message without a traceback
and exits with ``exit_code``.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Iterable
from types import ModuleType


class MltrackError(Exception):
    """Base of all errors that this package raises on purpose."""

    exit_code = 1


class InputError(MltrackError):
    """An input file, tree, branch or column is missing, damaged or not what was expected."""


class OutputError(MltrackError):
    """An output cannot be written (exists already, folder not writable, disk full)."""


class ConfigurationError(MltrackError):
    """A job configuration, option or algorithm chain is wrong."""

    exit_code = 2


class NetworkSettingsError(ConfigurationError, ValueError):
    """Settings of a network do not fit together."""


class ModelError(MltrackError):
    """A model archive is missing, damaged, or does not fit the job."""


class EventDataError(MltrackError, ValueError):
    """A collection violates its contract (shapes, types, units, ranges)."""


class EventError(MltrackError):
    """One event cannot be processed; the others can (see ``Sequencer(on_error="skip")``)."""


class TrainingError(MltrackError):
    """A training cannot go on: its loss is not finite, or memory is exhausted; the last checkpoint is good."""


class MissingExtraError(MltrackError, ImportError):
    """An optional dependency is not installed; the message holds the install line."""


def nearest(word: str, candidates: Iterable[str], n: int = 3) -> list[str]:
    """The candidates closest to ``word``, best first (possibly none)."""
    return difflib.get_close_matches(word, list(candidates), n=n, cutoff=0.4)


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A sentence naming the nearest candidates, or all of them if none is near."""
    options = sorted(set(candidates))
    if close := nearest(word, options):
        return f"Did you mean {' or '.join(repr(c) for c in close)}?"
    if options:
        return f"There is: {', '.join(repr(c) for c in options)}."
    return "There is none."


def first_line(error: BaseException) -> str:
    """What an error of another package says, without its pages of details; its name if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def require_extra(module: str, extra: str, purpose: str, options: str = "") -> ModuleType:
    """Import an optional dependency.

    Args:
        module: dotted module to import, e.g. ``"lightning"``.
        extra: extra of this distribution that installs it, e.g. ``"train"``.
        purpose: what needs it, for the message.
        options: of pip, for a package that does not install without.

    Raises:
        MissingExtraError: with the exact install line.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{purpose} needs the package {module.split('.')[0]!r}, which is not installed ({error}). "
            f"Install it with:  {install_line(extra, options)}"
        ) from error


def install_line(extra: str, options: str = "") -> str:
    """The command that installs what an extra of this distribution needs, wherever the package itself came from.

    Args:
        extra: name of the extra.
        options: of pip, for a package that does not install without.
    """
    # Not at the start: it takes as long to import as the rest of this module.
    from importlib import metadata

    declared = metadata.requires("mltrack-plugin") or []
    wanted = re.compile(rf"""(.+?)\s*;\s*extra\s*==\s*["']{re.escape(extra)}["']""")
    needed = [match[1] for entry in declared if (match := wanted.fullmatch(entry))]
    return " ".join(["pip install", *filter(None, [options]), *(f"'{entry}'" for entry in needed)])
