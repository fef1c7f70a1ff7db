"""Outputs that appear complete or not at all: a temporary name beside the target, fsync, rename.

Every failure of the operating system becomes an ``OutputError`` that names the output and says what to do.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from mltrack_plugin.errors import OutputError

_ADVICE = {
    errno.ENOSPC: "the disk is full; free some space or write elsewhere",
    errno.EDQUOT: "your disk quota is used up; free some space or write elsewhere",
    errno.EACCES: "no permission; choose a folder that you may write to",
    errno.EPERM: "no permission; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EFBIG: "the file would exceed the largest size allowed here",
    errno.ENAMETOOLONG: "the file name is too long; choose a shorter one",
}
#: A URL, also with the one slash that pathlib leaves of two.
_REMOTE = re.compile(r"[A-Za-z][\w+.-]+:/")


@contextlib.contextmanager
def output_errors(path: Path | str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into an ``OutputError`` about ``path``."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {str(path)!r}: {advice(error)}") from error


def advice(error: OSError) -> str:
    """What went wrong in writing, and what to do about it."""
    return _ADVICE.get(error.errno or 0) or f"{error.strerror or error}; write elsewhere"


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse an output that could not be completed, before any work is done.

    Raises:
        OutputError: if the folder is missing or not writable, or the output exists and must not be replaced
            (devices and the like never are).
    """
    text = str(path)
    if _REMOTE.match(text):
        raise OutputError(f"cannot write {text!r}: outputs are local files; write one and copy it afterwards")
    folder = path.parent
    with output_errors(path):
        if not folder.is_dir():
            if folder.exists() or folder.is_symlink():
                raise OutputError(f"cannot write {text!r}: {str(folder)!r} is not a folder; choose one")
            raise OutputError(
                f"cannot write {text!r}: {str(folder)!r} does not exist; create it first with: mkdir -p {folder}"
            )
        if path.exists() and not (path.is_file() or path.is_dir()):
            # A rename over a device would replace the device itself.
            raise OutputError(f"cannot write {text!r}: it is neither a file nor a folder; give another name")
        if path.exists() and not overwrite:
            raise OutputError(f"{text!r} exists already; give --overwrite to replace it, or another --output")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(
                f"cannot write {text!r}: the folder {str(folder)!r} is not writable; "
                "choose a folder that you may write to"
            )


def check_file(path: Path, *, overwrite: bool) -> None:
    """As :func:`check_target`, and refuse a folder."""
    if path.is_dir():
        raise OutputError(f"cannot write {str(path)!r}: it is a folder; name a file")
    check_target(path, overwrite=overwrite)


def check_apart(outputs: Iterable[Path | str], inputs: Iterable[Path | str]) -> None:
    """Refuse outputs that would replace an input, or each other.

    Args:
        outputs: what a job writes.
        inputs: what it reads; names that are no local files (URLs, shipped models) are never in the way.

    Raises:
        OutputError: naming the two that are the same.
    """
    sources = {os.path.realpath(path): str(path) for path in inputs if os.path.exists(path)}
    targets: dict[str, str] = {}
    for path in outputs:
        real = os.path.realpath(path)
        if real in sources:
            raise OutputError(
                f"cannot write {str(path)!r}: it is the input {sources[real]!r}; give another name"
            )
        if real in targets:
            raise OutputError(f"{str(path)!r} stands for two outputs; give each a name of its own")
        targets[real] = str(path)


def _temporary_name(path: Path) -> Path:
    # Hidden, so that a glob over outputs never picks up an unfinished one; beside the target, so that the
    # rename stays inside one file system and is atomic.
    return path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.part")


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable; some network file systems refuse it, and then there is nothing to do."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class AtomicFile:
    """A binary file under a temporary name until :meth:`commit`.

    Args:
        path: the final name.
        overwrite: replace an existing file (only at the moment of completion).

    Raises:
        OutputError: see :func:`check_target`; a full disk and similar are reported by every method.
    """

    def __init__(self, path: Path | str, *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        check_file(self.path, overwrite=overwrite)
        self._temporary = _temporary_name(self.path)
        with output_errors(self.path):
            # "x": never someone else's file; the umask decides the permissions, as for any other file.
            self.file: IO[bytes] = open(self._temporary, "x+b")  # noqa: SIM115 - closed by commit or abort

    def commit(self) -> None:
        """Flush to the disk and give the file its final name; on failure nothing is left.

        Raises:
            OutputError: if the disk is full, or another job created the output meanwhile.
        """
        try:
            with output_errors(self.path):
                self.file.flush()
                os.fsync(self.file.fileno())
                self.file.close()
                check_target(self.path, overwrite=self._overwrite)
                os.replace(self._temporary, self.path)
        except BaseException:
            self.abort()
            raise
        sync_folder(self.path.parent)

    def abort(self) -> None:
        """Remove what was written; harmless after :meth:`commit` or a first ``abort``."""
        # Closing flushes, and that fails again on a full disk; the descriptor is closed all the same.
        with contextlib.suppress(OSError):
            self.file.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink()


def write_json(path: Path | str | os.PathLike[str], content: Any, *, overwrite: bool = False) -> None:
    """Write JSON, complete or not at all (raises ``OutputError``)."""
    file = AtomicFile(os.fspath(path), overwrite=overwrite)
    try:
        with output_errors(file.path):
            file.file.write(json.dumps(content, indent=2).encode() + b"\n")
        file.commit()
    except BaseException:
        file.abort()
        raise


class AtomicFolder:
    """A folder under a temporary name until :meth:`commit`; the counterpart of :class:`AtomicFile`.

    With ``overwrite`` an existing folder of the same kind is replaced as a whole.

    Args:
        path: the final name.
        overwrite: replace an existing folder.
        marker: name of a file that the existing folder must hold to be replaced, so that a mistyped
            ``--output`` never deletes a folder that this package did not write. Empty folders may be
            replaced.
    """

    def __init__(self, path: Path | str, *, overwrite: bool = False, marker: str) -> None:
        self.path = Path(path)
        self._overwrite = overwrite
        self._marker = marker
        self._check()
        self.folder = _temporary_name(self.path)
        with output_errors(self.path):
            self.folder.mkdir()

    def _check(self) -> None:
        check_target(self.path, overwrite=self._overwrite)
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise OutputError(
                f"cannot write {str(self.path)!r}: it is a file, and this format needs a folder"
            )
        if any(self.path.iterdir()) and not (self.path / self._marker).exists():
            raise OutputError(
                f"cannot write {str(self.path)!r}: the folder holds files that this program did not write; "
                "give a new folder"
            )

    def write(self, name: str, content: bytes) -> None:
        """Write one new file of the folder completely.

        Not synchronised file by file: an fsync per event would take longer than the reconstruction.

        Raises:
            OutputError: if the disk is full and the like, or the file is there already.
        """
        with output_errors(self.path / name), open(self.folder / name, "xb") as file:
            file.write(content)

    def commit(self) -> None:
        """Give the folder its final name; on failure nothing is left and an existing one is kept."""
        retired = _temporary_name(self.path)
        try:
            with output_errors(self.path):
                sync_folder(self.folder)
                self._check()
                if self.path.exists():
                    os.replace(self.path, retired)
                try:
                    os.replace(self.folder, self.path)
                except BaseException:
                    if retired.exists():
                        os.replace(retired, self.path)
                    raise
        except BaseException:
            self.abort()
            raise
        shutil.rmtree(retired, ignore_errors=True)
        sync_folder(self.path.parent)

    def abort(self) -> None:
        """Remove what was written; harmless after :meth:`commit` or a first ``abort``."""
        shutil.rmtree(self.folder, ignore_errors=True)
