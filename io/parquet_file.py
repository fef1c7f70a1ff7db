"""Opening Parquet files and taking list columns apart, with errors a user can act on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from mltrack_plugin.errors import InputError, did_you_mean
from mltrack_plugin.io.guarded import DamagedError, guarded
from mltrack_plugin.io.parquet_guard import check_pages, column_chunks

Array = npt.NDArray[Any]


class ParquetInput:
    """An open Parquet file; everything that is read from it was compared with its description before.

    Args:
        path: file, local or remote. Of a remote file, whose bytes are far away, the pages are not looked at twice.

    Raises:
        InputError: if it does not exist, is empty, damaged, or not a Parquet file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with guarded(path, "be opened as a Parquet file"):
            filesystem, inner = url_to_fs(path)
            self._size = int(filesystem.size(inner))
            self._stream = filesystem.open(inner, "rb") if isinstance(filesystem, LocalFileSystem) else None
            self._chunks = [] if self._stream is None else column_chunks(self._stream, self._size, path)
            self._file = pq.ParquetFile(inner, filesystem=filesystem, page_checksum_verification=True)
            self.metadata = self._file.metadata
            self.schema_arrow = self._file.schema_arrow
            groups = [self.metadata.row_group(g).num_rows for g in range(self.metadata.num_row_groups)]
        if min(groups, default=0) < 0 or sum(groups) != self.metadata.num_rows:
            raise InputError(
                f"{path} states {self.metadata.num_rows} rows, its row groups have {sum(groups)}; it is damaged"
            )
        #: (n_row_groups,) first row after each row group.
        self.ends = np.cumsum(groups, dtype=np.int64)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        if self._stream is not None:
            self._stream.close()

    @property
    def names(self) -> list[str]:
        """Top-level columns."""
        return list(self.schema_arrow.names)

    def require(self, names: Sequence[str]) -> None:
        """Raise InputError naming the first missing column and its nearest ones."""
        for name in names:
            if name not in self.names:
                raise InputError(f"{self.path} has no column {name!r}. {did_you_mean(name, self.names)}")

    def read(self, columns: Sequence[str], row_groups: Sequence[int] | None = None) -> Any:
        """Columns of some row groups (all, if none are given) as one table.

        Raises:
            InputError: naming row group and column, if they are damaged.
        """
        groups = range(len(self.ends)) if row_groups is None else row_groups
        with guarded(self._place(groups)):
            self._check(groups, columns)
            return self._file.read_row_groups(list(groups), columns=list(columns), use_threads=False)

    def batches(self, columns: Sequence[str], rows: int, row_group: int) -> Iterator[Any]:
        """Record batches of at most ``rows`` rows of one row group (raises as :meth:`read`)."""
        place = self._place([row_group])
        with guarded(place):
            self._check([row_group], columns)
            stream = self._file.iter_batches(
                batch_size=rows, row_groups=[row_group], columns=list(columns), use_threads=False
            )
        while True:
            with guarded(place):
                batch = next(stream, None)
            if batch is None:
                return
            yield batch

    def _check(self, groups: Sequence[int], columns: Sequence[str]) -> None:
        if self._stream is not None:
            chosen = [(g, self._chunks[g]) for g in groups]
            check_pages(chosen, columns, self._stream, self._size, self.path)

    def _place(self, groups: Sequence[int]) -> str:
        return f"{self.path}, row group {groups[0]}" if len(groups) == 1 else self.path


def list_column(column: Any, place: str) -> tuple[Array, Array]:
    """Values and offsets of a list column of one record batch; a null list is empty.

    Raises:
        InputError: if it does not hold lists of numbers, or a value is null.
    """
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise InputError(f"{place} holds {kind}, a list of numbers per event is needed")
    offsets = column.offsets.to_numpy().astype(np.int64)
    if len(offsets) != len(column) + 1 or (np.diff(offsets) < 0).any() or offsets[-1] > len(column.values):
        raise DamagedError(f"{place} has lists of a negative length; it is damaged")
    values = column.values.slice(offsets[0], offsets[-1] - offsets[0])
    if values.null_count:
        raise InputError(f"{place} has {values.null_count} null values")
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise InputError(f"{place} holds {kind}, a list of numbers per event is needed")
    return values.to_numpy(zero_copy_only=False), offsets - offsets[0]


def flat_column(table: Any, name: str, place: str) -> Array:
    """A column with one number per row.

    Raises:
        InputError: if a value is null.
    """
    column = table.column(name)
    if column.null_count:
        raise InputError(f"{place}, column {name!r} has {column.null_count} null values")
    with guarded(f"{place}, column {name!r}"):
        values: Array = column.combine_chunks().to_numpy(zero_copy_only=False)
    return values
