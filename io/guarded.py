"""The one place where what other packages raise about a file becomes this package's error.

A damaged file makes uproot, awkward, pyarrow, zlib, gzip, zipfile and the file systems raise exceptions of any type,
and makes them ask for any amount of memory. Every access to them is inside of :func:`guarded`; sizes and counts that
a file states are compared with :func:`memory_limit` before memory is taken for them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mltrack_plugin.errors import InputError, MltrackError, first_line

#: Bytes that any file may unpack to at once ...
_ALWAYS = 256 * 1024**2
#: ... and how many times its own size a file may unpack to beyond that.
_EXPANSION = 50
_READ_BYTES = 1024**2
#: A line with column names is never as long.
_LINE_BYTES = 1024**2


class DamagedError(InputError):
    """Bytes of a file cannot be what was written; what else the file holds may be good."""


@contextlib.contextmanager
def guarded(place: str, doing: str = "be read") -> Iterator[None]:
    """Turn whatever is raised inside the block into a ``DamagedError`` about ``place``.

    Args:
        place: file, and tree or column and entries where they are known, for the message.
        doing: what cannot be done, after "cannot".

    Raises:
        DamagedError: for every exception except this package's own, which pass.
        InputError: if the file is missing, may not be read, or needs a package that is not installed.
    """
    try:
        yield
    except MltrackError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"no such file: {place}") from error
    except (PermissionError, ImportError) as error:
        raise InputError(f"{place} cannot {doing}: {first_line(error)}") from error
    except Exception as error:
        raise DamagedError(
            f"{place} cannot {doing} ({type(error).__name__}: {_brief(error)}); it may be damaged or truncated. "
            "Copy or produce it again"
        ) from error


def _brief(error: Exception) -> str:
    text = first_line(error)[:200]
    # Names inside of damaged files may hold half a character or a terminal's control sequence.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text).removesuffix(".")


def memory_limit(file_bytes: int) -> int:
    """Bytes that a file of this size may unpack to at once; far more than any file of events needs."""
    return _ALWAYS + _EXPANSION * file_bytes


def check_memory(needed: int, file_bytes: int, place: str | Callable[[], str]) -> None:
    """Refuse sizes that cannot be true.

    Args:
        needed: bytes that the content would take, as the file states it.
        file_bytes: size of the file.
        place: file and what states it, for the message (or what makes it, where it is asked often).

    Raises:
        DamagedError: if the size is negative or beyond :func:`memory_limit`.
    """
    if not 0 <= needed <= memory_limit(file_bytes):
        where = place if isinstance(place, str) else place()
        raise DamagedError(
            f"{where} states {needed} bytes of content in a file of {file_bytes} bytes; it is damaged. Copy or "
            "produce it again"
        )


class BoundedStream:
    """A stream of bytes that ends with an error where it has become longer than its file can be true to.

    Args:
        stream: possibly decompressing.
        file_bytes: size of what is stored.
        place: for the message.
        end: size of the whole content, where that is certain.

    Raises:
        DamagedError: if the content is longer than it can be.
    """

    def __init__(self, stream: IO[bytes], file_bytes: int, place: str, end: int | None = None) -> None:
        if end is not None:
            check_memory(end, file_bytes, place)
        self._stream, self._end = stream, end
        self._limit = memory_limit(file_bytes)
        self._place = place
        self._position = 0

    def _advanced(self, data: bytes) -> bytes:
        self._position += len(data)
        if self._position > self._limit:
            raise DamagedError(
                f"{self._place} unpacks to more than {self._limit} bytes, which no file of events of its size does; "
                "it is damaged"
            )
        return data

    def read(self, n: int | None = None) -> bytes:
        """``n`` bytes, or all that are left."""
        if n is not None or self._end is not None:
            return self._advanced(self._stream.read(-1 if n is None else n))
        blocks = []
        while block := self._advanced(self._stream.read(_READ_BYTES)):
            blocks.append(block)
        return b"".join(blocks)

    def readline(self) -> bytes:
        """The next line, at most 1 MiB of it."""
        return self._advanced(self._stream.readline(_LINE_BYTES))

    def seek(self, position: int) -> None:
        """Go to a byte of the unpacked content."""
        self._position = self._stream.seek(position)


def read_text(path: Path) -> str:
    """A local text file, UTF-8.

    Raises:
        InputError: if it cannot be read or is no text.
    """
    with guarded(repr(str(path))):
        return path.read_text(encoding="utf-8")


def read_facts(path: Path) -> dict[str, str]:
    """Texts by name from a JSON file; empty if there is no such file.

    Raises:
        InputError: if it cannot be read or holds something else.
    """
    if not path.exists():
        return {}
    text = read_text(path)
    with guarded(repr(str(path))):
        facts = json.loads(text)
    if not isinstance(facts, dict) or not all(isinstance(value, str) for value in facts.values()):
        raise DamagedError(f"{str(path)!r} must hold texts by name, and holds something else")
    return facts
