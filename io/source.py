"""Source: an input as readers look at it to tell whether it is of their format."""

from __future__ import annotations

import gzip
import io
import re
from functools import cached_property
from typing import Any, Literal

from mltrack_plugin.errors import InputError
from mltrack_plugin.io import storage
from mltrack_plugin.io.guarded import guarded

#: CSV files of a folder that are looked into, and those that are preferred: hits, not particles or truth.
_CSV_FILES = 20
_HIT_FILE = re.compile(r"(^|/)event\d+-(hits|measurements|spacepoint)\.csv(\.\w+)?$")
_CSV_FILE = re.compile(r"\.csv(\.gz)?$")


class Source:
    """A file, folder or archive, local or remote; what is asked for is read once.

    Every property may raise ``InputError``: where there is nothing, or what there is is damaged.

    Args:
        path: as given.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._branches: dict[str, frozenset[str]] = {}

    @cached_property
    def kind(self) -> Literal["folder", "root", "parquet", "other"]:
        """A folder (or zip archive), by its first bytes a ROOT or Parquet file, or any other file."""
        if self._is_remote_root:
            return "root"
        if storage.kind_of(self.path) == "folder" or storage.is_zip(self.path):
            return "folder"
        if not self._bytes:
            raise InputError(f"{self.path} is empty (0 bytes). Copy or produce it again")
        return "root" if self._bytes[:4] == b"root" else "parquet" if self._bytes[:4] == b"PAR1" else "other"

    @cached_property
    def head(self) -> bytes:
        """The first 64 kB of a file, or what the first of them unpack to if it is compressed with gzip."""
        if self._bytes[:2] != b"\x1f\x8b":
            return self._bytes
        with guarded(self.path, "be unpacked"):
            return gzip.GzipFile(fileobj=io.BytesIO(self._bytes)).read1(4096)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Files of a folder, sorted; empty for a file."""
        return tuple(self.folder.names) if self.kind == "folder" else ()

    @cached_property
    def folder(self) -> storage.Folder:
        """The folder or archive."""
        return storage.open_folder(self.path)

    @cached_property
    def first_lines(self) -> dict[str, str]:
        """File name -> first line, of a text file or of the CSV files of a folder (at most 20, those of hits if there
        are such); files that cannot be read are left out unless none can.
        """
        if self.kind == "other":
            return {self.path: _text(self.head.split(b"\n", 1)[0])}
        chosen = [n for n in self.names if _HIT_FILE.search(n)]
        chosen = chosen or [n for n in self.names if _CSV_FILE.search(n)]
        lines: dict[str, str] = {}
        damage: InputError | None = None
        for name in chosen[:_CSV_FILES]:
            try:
                lines[self.folder.path(name)] = _text(self.folder.first_line(name))
            except InputError as error:
                damage = damage or error
        if damage is not None and not lines:
            raise damage
        return lines

    @cached_property
    def tables(self) -> tuple[frozenset[str], ...]:
        """Names of the columns in each of :attr:`first_lines` (``;`` between them, or else ``,``)."""
        lines = (line.replace('"', "") for line in self.first_lines.values())
        return tuple(frozenset(line.split(";" if ";" in line else ",")) for line in lines)

    @cached_property
    def trees(self) -> frozenset[str]:
        """Names of the trees (TTree or RNTuple) of a ROOT file; empty for anything else."""
        from mltrack_plugin.io import root_file

        return frozenset(root_file.trees(self._root)) if self.kind == "root" else frozenset()

    def branches(self, tree: str) -> frozenset[str]:
        """Names of the branches of a tree; empty if there is no such tree."""
        from mltrack_plugin.io import root_file

        if tree not in self._branches:
            found = (
                root_file.find_tree(self._root, self.path, [tree], content=False)[1]
                if tree in self.trees
                else None
            )
            self._branches[tree] = frozenset() if found is None else frozenset(root_file.branch_types(found))
        return self._branches[tree]

    @cached_property
    def parquet_columns(self) -> frozenset[str]:
        """Names of the columns of a Parquet file; empty for anything else."""
        from mltrack_plugin.io import parquet_file

        if self.kind != "parquet":
            return frozenset()
        return frozenset(parquet_file.ParquetInput(self.path).names)

    @cached_property
    def _bytes(self) -> bytes:
        return storage.first_bytes(self.path, 65536)

    @property
    def _is_remote_root(self) -> bool:
        # uproot reads such a file by itself, also over protocols that fsspec does not know.
        return "://" in self.path and self.path.split("?")[0].endswith(".root")

    @cached_property
    def _root(self) -> Any:
        from mltrack_plugin.io import root_file

        return root_file.open_root(self.path)


def _text(line: bytes) -> str:
    return line.decode("utf-8", errors="replace").strip().lstrip("\ufeff")
