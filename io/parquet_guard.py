"""The description of a Parquet file and its page headers are read here before pyarrow follows them.

Sizes and counts must agree with each other and with the length of the file.

Layout: Apache Parquet format (FileMetaData and PageHeader of parquet.thrift).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any, NamedTuple

from mltrack_plugin.io.guarded import DamagedError, check_memory
from mltrack_plugin.io.thrift_compact import read_struct

#: A page header with statistics of long strings is longer, those of numbers are a tenth of it.
_HEADER_BYTES = 16384
#: Footer length and magic bytes.
_TAIL_BYTES = 8
#: Fields of FileMetaData, RowGroup, ColumnChunk, ColumnMetaData and PageHeader.
_ROW_GROUPS, _COLUMNS, _ROWS, _META = 4, 1, 3, 3
_PATH, _VALUES, _UNPACKED, _PACKED, _DATA_OFFSET, _DICTIONARY_OFFSET = 3, 5, 6, 7, 9, 11
_PAGE_UNPACKED, _PAGE_PACKED, _DATA_HEADERS = 2, 3, (5, 8)


class ColumnChunk(NamedTuple):
    """A column of a row group, as the file describes it."""

    name: str
    begin: int
    end: int
    unpacked: int
    n_values: int
    n_rows: int


def column_chunks(stream: IO[bytes], file_bytes: int, place: str) -> list[list[ColumnChunk]]:
    """The columns of each row group.

    pyarrow's own access to them ends the process for some damaged files.

    Raises:
        DamagedError: if the description is none, or puts a column outside of the file.
    """
    stream.seek(max(file_bytes - _TAIL_BYTES, 0))
    tail = stream.read(_TAIL_BYTES)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != b"PAR1" or length > file_bytes - _TAIL_BYTES:
        raise DamagedError(
            f"{place} cannot be opened as a Parquet file: it does not end like one; it may be damaged or truncated"
        )
    stream.seek(file_bytes - _TAIL_BYTES - length)
    try:
        description, _ = read_struct(stream.read(length))
        groups = [
            [_column_chunk(column[_META], group[_ROWS]) for column in group[_COLUMNS]]
            for group in description[_ROW_GROUPS]
        ]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise DamagedError(f"{place}: its description is damaged") from error
    for g, group in enumerate(groups):
        for c in group:
            if not (0 <= c.begin <= c.end <= file_bytes and 0 <= c.n_rows <= c.n_values and c.unpacked >= 0):
                raise DamagedError(
                    f"{place}, row group {g}, column {c.name!r} is described as the bytes {c.begin} to {c.end} of "
                    f"{file_bytes}, with {c.n_values} values in {c.n_rows} rows; it is damaged"
                )
    return groups


def _column_chunk(meta: dict[int, Any], n_rows: int) -> ColumnChunk:
    begin = meta[_DATA_OFFSET]
    if meta.get(_DICTIONARY_OFFSET, 0) > 0:
        begin = min(begin, meta[_DICTIONARY_OFFSET])
    name = meta[_PATH][0].decode("utf-8", errors="replace")
    return ColumnChunk(name, begin, begin + meta[_PACKED], meta[_UNPACKED], meta[_VALUES], n_rows)


def check_pages(
    groups: Iterable[tuple[int, list[ColumnChunk]]],
    columns: Iterable[str],
    stream: IO[bytes],
    file_bytes: int,
    place: str,
) -> None:
    """Compare the pages of columns with their description.

    Args:
        groups: number and columns of the row groups that will be read at once.
        columns: top-level columns that will be read.
        stream: the file.
        file_bytes: its size.
        place: for messages.

    Raises:
        DamagedError: naming row group and column where sizes or counts disagree, or cannot be true.
    """
    wanted, needed = set(columns), 0
    for g, group in groups:
        for chunk in group:
            if chunk.name in wanted and chunk.n_values:
                here = f"{place}, row group {g}, column {chunk.name!r}"
                needed += 8 * chunk.n_values + chunk.unpacked
                check_memory(needed, file_bytes, here)
                _check_chunk(chunk, stream, file_bytes, here)


def _check_chunk(chunk: ColumnChunk, stream: IO[bytes], file_bytes: int, place: str) -> None:
    position, values = chunk.begin, 0
    while position < chunk.end and values < chunk.n_values:
        stream.seek(position)
        header, length = page_header(stream.read(min(_HEADER_BYTES, chunk.end - position)), place)
        packed, unpacked = header.get(_PAGE_PACKED, -1), header.get(_PAGE_UNPACKED, -1)
        position += length + max(packed, 0)
        n = next((header[k].get(1, -1) for k in _DATA_HEADERS if k in header), 0)
        check_memory(unpacked, file_bytes, f"{place}: a page")
        if packed < 0 or n < 0 or position > chunk.end:
            raise DamagedError(f"{place}: a page states {n} values in {packed} bytes; it is damaged")
        values += n
    if values != chunk.n_values:
        raise DamagedError(
            f"{place}: its pages hold {values} values, {chunk.n_values} are described; it is damaged"
        )


def page_header(data: bytes, place: str) -> tuple[dict[int, Any], int]:
    """Fields of a page header by number, and its length in bytes.

    Raises:
        DamagedError: if the bytes are none.
    """
    try:
        header, length = read_struct(data)
        fields = (_PAGE_UNPACKED, _PAGE_PACKED)
        if all(isinstance(header.get(k), int) for k in fields) and all(
            isinstance(header[k], dict) and isinstance(header[k].get(1), int)
            for k in _DATA_HEADERS
            if k in header
        ):
            return header, length
    except ValueError as error:
        raise DamagedError(f"{place}: the head of a page is damaged") from error
    raise DamagedError(f"{place}: the head of a page is damaged")
