"""Files, folders and zip archives, local or remote, seen through one interface.

A path is anything that fsspec knows: ``events``, ``file:///data/events``, ``memory://events``,
``https://host/events.zip``, ``s3://bucket/events`` (the protocol's own package must be installed).
"""

from __future__ import annotations

import dataclasses
import posixpath
from typing import IO, Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.zip import ZipFileSystem

from mltrack_plugin.errors import InputError, did_you_mean


@dataclasses.dataclass(slots=True)
class Folder:
    """A folder (or zip archive) and the files below it.

    Attributes:
        source: the path as given, for messages.
        names: file names below the folder, sorted; with ``/`` where they lie deeper (zip archives).
    """

    source: str
    names: list[str]
    _filesystem: Any
    _root: str

    def path(self, name: str) -> str:
        """Path of a file of the folder, for messages."""
        return f"{self.source.rstrip('/')}/{name}"

    def open(self, name: str) -> IO[bytes]:
        """The file's bytes, decompressed if its name ends in ``.gz``."""
        inner = posixpath.join(self._root, name) if self._root else name
        stream: IO[bytes] = self._filesystem.open(inner, "rb", compression="infer")
        return stream

    def first_line(self, name: str) -> bytes:
        """The first line of a file (raises ``InputError`` as :meth:`read`)."""
        try:
            with self.open(name) as stream:
                return stream.readline()
        except Exception as error:  # every file system has its own exceptions
            raise self._unreadable(name, error) from error

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            InputError: if it cannot be read or decompressed.
        """
        try:
            with self.open(name) as stream:
                return stream.read()
        except Exception as error:  # every file system has its own exceptions
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: Exception) -> InputError:
        return InputError(
            f"{self.path(name)} cannot be read: {error}. It may be damaged or truncated; copy or produce it again"
        )


def kind_of(path: str) -> str:
    """``"file"`` or ``"folder"``.

    Raises:
        InputError: if there is nothing (the nearest names beside it are given), or the protocol is unknown.
    """
    try:
        filesystem, inner = url_to_fs(path)
        if filesystem.isfile(inner):
            return "file"
        if filesystem.isdir(inner):
            return "folder"
    except (ImportError, ValueError) as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be reached: {error}") from error
    parent, name = posixpath.split(inner.rstrip("/"))
    try:
        beside = [posixpath.basename(p.rstrip("/")) for p in filesystem.ls(parent or ".", detail=False)]
    except OSError:
        raise InputError(f"{path} does not exist, nor does the folder it would be in") from None
    raise InputError(
        f"{path} does not exist. {did_you_mean(name, beside) if beside else 'Its folder is empty.'}"
    )


def first_bytes(path: str, n: int) -> bytes:
    """The first ``n`` bytes of a file (fewer if it is shorter)."""
    try:
        with fsspec.open(path, "rb") as stream:
            return bytes(stream.read(n))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def file_size(path: str) -> int:
    """Size of a file in bytes."""
    filesystem, inner = url_to_fs(path)
    return int(filesystem.size(inner))


def is_zip(path: str) -> bool:
    """Whether a file is a zip archive, by its first bytes."""
    return first_bytes(path, 4) in (b"PK\x03\x04", b"PK\x05\x06")


def open_folder(path: str) -> Folder:
    """A folder, a zip archive, or the folder of a single file (with all its files).

    Raises:
        InputError: if the path does not exist or the archive is damaged.
    """
    if kind_of(path) == "file":
        if not is_zip(path):
            parent = posixpath.dirname(path) or "."
            return open_folder(parent)
        try:
            archive = ZipFileSystem(fo=path)
            names = [n for n in archive.find("") if not posixpath.basename(n).startswith(".")]
        except Exception as error:  # zipfile and the file system below have their own exceptions
            raise InputError(f"{path} is a damaged zip archive: {error}") from error
        return Folder(path, sorted(n for n in names if "__MACOSX/" not in n), archive, "")
    filesystem, root = url_to_fs(path)
    entries = filesystem.ls(root, detail=True)
    # Links to files are of another type.
    files = [
        e["name"]
        for e in entries
        if e["type"] == "file" or (e.get("islink") and filesystem.isfile(e["name"]))
    ]
    names = [posixpath.basename(name) for name in files]
    return Folder(path, sorted(names), filesystem, root)


def sibling(path: str, name: str) -> str:
    """Path of another file in the same folder."""
    return posixpath.join(posixpath.dirname(path), name)


def sibling_names(path: str) -> list[str]:
    """Names of the files beside ``path``, sorted; empty where the protocol cannot list."""
    try:
        return open_folder(posixpath.dirname(path) or ".").names
    except (InputError, OSError, NotImplementedError):
        return []
