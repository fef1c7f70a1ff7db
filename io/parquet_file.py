"""Opening Parquet files and taking list columns apart, with errors a user can act on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.core import url_to_fs

from mltrack_plugin.errors import InputError, did_you_mean

Array = npt.NDArray[Any]


def open_parquet(path: str) -> Any:
    """The open file.

    Raises:
        InputError: if it does not exist, is empty, damaged, or not a Parquet file.
    """
    filesystem, inner = url_to_fs(path)
    try:
        return pq.ParquetFile(inner, filesystem=filesystem)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path} cannot be opened as a Parquet file ({error}); it may be damaged or truncated"
        ) from error


def column_names(file: Any) -> list[str]:
    """Top-level columns."""
    return list(file.schema_arrow.names)


def require_columns(file: Any, place: str, names: Sequence[str]) -> None:
    """Raise InputError naming the first missing column and its nearest ones."""
    there = column_names(file)
    for name in names:
        if name not in there:
            raise InputError(f"{place} has no column {name!r}. {did_you_mean(name, there)}")


def list_column(column: Any, place: str) -> tuple[Array, Array]:
    """Values and offsets of a list column of one record batch; a null list is empty.

    Raises:
        InputError: if it does not hold lists of numbers, or a value is null.
    """
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        raise InputError(f"{place} holds {kind}, a list of numbers per event is needed")
    offsets = column.offsets.to_numpy().astype(np.int64)
    values = column.values.slice(offsets[0], offsets[-1] - offsets[0])
    if values.null_count:
        raise InputError(f"{place} has {values.null_count} null values")
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type)):
        raise InputError(f"{place} holds {kind}, a list of numbers per event is needed")
    return values.to_numpy(zero_copy_only=False), offsets - offsets[0]


def read_batches(file: Any, place: str, row_group: int, columns: Sequence[str], rows: int) -> Any:
    """Record batches of at most ``rows`` rows of one row group."""
    try:
        yield from file.iter_batches(
            batch_size=rows, row_groups=[row_group], columns=list(columns), use_threads=False
        )
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"{place}, row group {row_group} cannot be read ({error}); it may be damaged"
        ) from error
