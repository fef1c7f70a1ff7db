"""Files, folders and zip archives, local or remote, seen through one interface.

A path is anything that fsspec knows: ``events``, ``file:///data/events``, ``memory://events``,
``https://host/events.zip``, ``s3://bucket/events`` (the protocol's own package must be installed).
"""

from __future__ import annotations

import contextlib
import dataclasses
import posixpath
from collections.abc import Iterator
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from fsspec.implementations.zip import ZipFileSystem
from fsspec.utils import infer_compression

from mltrack_plugin.errors import InputError, did_you_mean
from mltrack_plugin.io.guarded import BoundedStream, guarded


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
    #: Names of the folders in a folder, sorted.
    folders: tuple[str, ...] = ()

    def path(self, name: str) -> str:
        """Path of a file of the folder, for messages."""
        return f"{self.source.rstrip('/')}/{name}"

    @property
    def is_archive(self) -> bool:
        """Whether it is a zip archive."""
        return isinstance(self._filesystem, ZipFileSystem)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BoundedStream]:
        """The file's bytes, decompressed if its name ends in ``.gz``.

        Raises:
            InputError: for whatever goes wrong inside the block, or if it unpacks to more than it can be true to.
        """
        inner = posixpath.join(self._root, name) if self._root else name
        place = self.path(name)
        with guarded(place), self._filesystem.open(inner, "rb", compression="infer") as stream:
            facts = self._filesystem.info(inner)
            size = int(facts.get("size") or 0)
            stored = facts.get("compress_size", size) if self.is_archive else size
            end = size if infer_compression(name) is None else None
            yield BoundedStream(stream, stored, place, end)

    def first_line(self, name: str) -> bytes:
        """The first line of a file (raises ``InputError`` as :meth:`read`)."""
        with self.open(name) as stream:
            return stream.readline()

    def read(self, name: str) -> bytes:
        """All bytes of a file.

        Raises:
            InputError: if it cannot be read or decompressed.
        """
        with self.open(name) as stream:
            return stream.read()


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
    if filesystem.exists(inner):
        raise InputError(
            f"{path} is neither a file nor a folder (a pipe or a device?); events are read more than once and not "
            "in one stream: write them to a file and give that"
        )
    if "::" in path:
        raise InputError(
            f"{path} does not exist: '::' in a path joins the parts of a chained URL (zip://a.csv::b.zip). Give a "
            "file whose name has '::' another name, or link to it (ln -s)"
        )
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
    with guarded(path), fsspec.open(path, "rb") as stream:
        return bytes(stream.read(n))


def file_size(path: str) -> int:
    """Size of a file in bytes."""
    with guarded(path):
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
        with guarded(path, "be opened as a zip archive"):
            archive = ZipFileSystem(fo=path)
            listed = archive.zip.namelist()
            if len(set(listed)) != len(listed):
                twice = next(n for n in listed if listed.count(n) > 1)
                raise InputError(f"{path} lists {twice!r} twice; it is damaged, or was written wrongly")
            # A name that ends like a folder's, and content: the name is damaged.
            odd = [i.filename for i in archive.zip.infolist() if i.is_dir() and i.file_size]
            names = [n for n in archive.find("") if not posixpath.basename(n).startswith(".")] + odd
        return Folder(path, sorted(n for n in names if "__MACOSX/" not in n), archive, "")
    with guarded(path):
        filesystem, root = url_to_fs(path)
        entries = filesystem.ls(root, detail=True)
        # Links to files are of another type.
        files = [
            e["name"]
            for e in entries
            if e["type"] == "file" or (e.get("islink") and filesystem.isfile(e["name"]))
        ]
        folders = sorted(
            posixpath.basename(e["name"].rstrip("/")) for e in entries if e["type"] == "directory"
        )
    names = [posixpath.basename(name) for name in files]
    return Folder(path, sorted(names), filesystem, root, tuple(folders))


def sibling(path: str, name: str) -> str:
    """Path of another file in the same folder."""
    return posixpath.join(posixpath.dirname(path), name)


def sibling_names(path: str) -> list[str]:
    """Names of the files beside ``path``, sorted; empty where the protocol cannot list."""
    try:
        return open_folder(posixpath.dirname(path) or ".").names
    except (InputError, OSError, NotImplementedError):
        return []
