"""What a reader is shown of an input to say whether it is of its format."""

from __future__ import annotations

from typing import Literal, Protocol


class Source(Protocol):
    """A file, folder or archive (:class:`mltrack_plugin.io.source.Source`); every property may raise ``InputError``."""

    #: As given.
    path: str

    @property
    def kind(self) -> Literal["folder", "root", "parquet", "other"]:
        """A folder (or zip archive), by its first bytes a ROOT or Parquet file, or any other file."""

    @property
    def head(self) -> bytes:
        """The first 64 kB of a file, or what the first of them unpack to if it is compressed with gzip."""

    @property
    def names(self) -> tuple[str, ...]:
        """Files of a folder, sorted; empty for a file."""

    @property
    def first_lines(self) -> dict[str, str]:
        """File name -> first line, of a text file or of the CSV files of a folder."""

    @property
    def tables(self) -> tuple[frozenset[str], ...]:
        """Names of the columns in each of :attr:`first_lines`."""

    @property
    def trees(self) -> frozenset[str]:
        """Names of the trees (TTree or RNTuple) of a ROOT file; empty for anything else."""

    @property
    def parquet_columns(self) -> frozenset[str]:
        """Names of the columns of a Parquet file; empty for anything else."""

    def branches(self, tree: str) -> frozenset[str]:
        """Names of the branches of a tree; empty if there is no such tree."""
