"""Page headers of a Parquet file are read here before pyarrow follows them: their sizes and counts must agree with the
file's description, which must agree with the length of the file.

Layout: Apache Parquet format (PageHeader of parquet.thrift), in Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

from mltrack_plugin.io.guarded import DamagedError, check_memory

#: A page header with statistics of long strings is longer, those of numbers are a tenth of it.
_HEADER_BYTES = 16384
_DEEPEST = 16
#: Thrift's compact types of one byte or none, integers, and structures.
_EMPTY, _BYTE, _INTEGERS, _DOUBLE, _BINARY, _LISTS, _MAP, _STRUCT = (
    (1, 2),
    3,
    (4, 5, 6),
    7,
    8,
    (9, 10),
    11,
    12,
)
#: Fields of PageHeader.
_UNPACKED, _PACKED, _DATA, _DICTIONARY, _DATA_V2 = 2, 3, 5, 7, 8


def check_pages(
    metadata: Any,
    stream: IO[bytes],
    file_bytes: int,
    groups: Iterable[int],
    columns: Iterable[str],
    place: str,
) -> None:
    """Compare the pages of columns with the file's description.

    Args:
        metadata: of the file (pyarrow.parquet.FileMetaData).
        stream: the file.
        file_bytes: its size.
        groups: row groups that will be read at once.
        columns: top-level columns that will be read.
        place: for messages.

    Raises:
        DamagedError: naming row group and column where sizes or counts disagree, or cannot be true.
    """
    wanted, needed = set(columns), 0
    for g in groups:
        group = metadata.row_group(g)
        for c in range(group.num_columns):
            chunk = group.column(c)
            name = chunk.path_in_schema.split(".")[0]
            if name not in wanted:
                continue
            here = f"{place}, row group {g}, column {name!r}"
            needed += 8 * chunk.num_values + chunk.total_uncompressed_size
            check_memory(needed, file_bytes, here)
            _check_chunk(chunk, stream, file_bytes, group.num_rows, here)


def _check_chunk(chunk: Any, stream: IO[bytes], file_bytes: int, rows: int, place: str) -> None:
    if rows == chunk.num_values == 0:
        return
    begin = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        begin = min(begin, chunk.dictionary_page_offset)
    end = begin + chunk.total_compressed_size
    if not (4 <= begin <= end <= file_bytes and 0 <= rows <= chunk.num_values):
        raise DamagedError(
            f"{place} is described as the bytes {begin} to {end} of {file_bytes}, with {chunk.num_values} values in "
            f"{rows} rows; it is damaged"
        )
    position, values = begin, 0
    while position < end and values < chunk.num_values:
        stream.seek(position)
        data = stream.read(min(_HEADER_BYTES, end - position))
        header, length = page_header(data, place)
        packed, unpacked = header.get(_PACKED, -1), header.get(_UNPACKED, -1)
        position += length + max(packed, 0)
        n = next((header[k].get(1, -1) for k in (_DATA, _DATA_V2) if k in header), 0)
        check_memory(unpacked, file_bytes, f"{place}: a page")
        if packed < 0 or n < 0 or position > end:
            raise DamagedError(f"{place}: a page states {n} values in {packed} bytes; it is damaged")
        values += n
    if values != chunk.num_values:
        raise DamagedError(
            f"{place}: its pages hold {values} values, {chunk.num_values} are described; it is damaged"
        )


def page_header(data: bytes, place: str) -> tuple[dict[int, Any], int]:
    """Integers and structures of a Thrift structure by field number, and its length in bytes.

    Raises:
        DamagedError: if the bytes are none.
    """
    try:
        reader = _Thrift(data)
        return reader.struct(0), reader.position
    except (IndexError, ValueError) as error:
        raise DamagedError(f"{place}: the head of a page is damaged") from error


class _Thrift:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def _byte(self) -> int:
        self.position += 1
        return self._data[self.position - 1]

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            if (shift := shift + 7) > 63:
                raise ValueError("an integer of more than 64 bits")

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            fields[number] = self._value(head & 0xF, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _EMPTY:
            return None
        if kind == _BYTE:
            return self._byte()
        if kind in _INTEGERS:
            return self._integer()
        if kind == _DOUBLE:
            self.position += 8
        elif kind == _BINARY:
            length = self._varint()
            self.position += length
        elif kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 != 0xF else self._varint()
            for _ in range(min(count, len(self._data) + 1)):
                self._element(head & 0xF, depth)
        elif kind == _MAP:
            if count := self._varint():
                kinds = self._byte()
                for _ in range(min(count, len(self._data) + 1)):
                    self._element(kinds >> 4, depth)
                    self._element(kinds & 0xF, depth)
        elif kind == _STRUCT:
            return self.struct(depth + 1)
        else:
            raise ValueError(f"a value of the unknown type {kind}")
        if self.position > len(self._data):
            raise IndexError("beyond the end")
        return None

    def _element(self, kind: int, depth: int) -> None:
        # Inside of lists and maps a truth value has a byte of its own.
        self._value(_BYTE if kind in _EMPTY else kind, depth + 1)
