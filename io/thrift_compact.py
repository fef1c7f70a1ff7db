"""Thrift's compact protocol, as far as Parquet's descriptions need it: structures as dictionaries by field number."""

from __future__ import annotations

from typing import Any

_DEEPEST = 16
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _MAP, _STRUCT = 1, 2, 3, 7, 8, 11, 12
_INTEGERS, _LISTS = (4, 5, 6), (9, 10)


def read_struct(data: bytes) -> tuple[dict[int, Any], int]:
    """The structure at the beginning of ``data``, and its length in bytes.

    Integers are ``int``, strings and doubles ``bytes``, lists ``list``, structures ``dict``.

    Raises:
        ValueError: if the bytes are none.
    """
    reader = _Reader(data)
    try:
        return reader.struct(0), reader.position
    except IndexError as error:
        raise ValueError("it ends too early") from error


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def _byte(self) -> int:
        value = self._data[self.position]
        self.position += 1
        return value

    def _unsigned(self) -> int:
        value = shift = 0
        while True:
            byte = self._data[self.position]
            self.position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("an integer of more than 64 bits")

    def _integer(self) -> int:
        value = self._unsigned()
        return (value >> 1) ^ -(value & 1)

    def _bytes(self, length: int) -> bytes:
        begin = self.position
        self.position += length
        if self.position > len(self._data):
            raise IndexError
        return self._data[begin : self.position]

    def struct(self, depth: int) -> dict[int, Any]:
        if depth > _DEEPEST:
            raise ValueError("it is nested too deeply")
        fields: dict[int, Any] = {}
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 0xF
            # Truth values of fields are in the type itself.
            fields[number] = kind == _TRUE if kind in (_TRUE, _FALSE) else self._value(kind, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        if kind in _INTEGERS:
            return self._integer()
        if kind == _BINARY:
            return self._bytes(self._unsigned())
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in _LISTS:
            head = self._byte()
            count = head >> 4 if head >> 4 != 0xF else self._unsigned()
            # An element takes a byte at least, so that a wrong count ends with the data.
            return [self._value(head & 0xF, depth + 1) for _ in range(count)]
        if kind in (_BYTE, _TRUE, _FALSE):
            return self._byte()
        if kind == _DOUBLE:
            return self._bytes(8)
        if kind == _MAP:
            count = self._unsigned()
            kinds = self._byte() if count else 0
            return [
                (self._value(kinds >> 4, depth + 1), self._value(kinds & 0xF, depth + 1))
                for _ in range(count)
            ]
        raise ValueError(f"a value has the unknown type {kind}")
