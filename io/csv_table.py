"""CSV files as columns of exact types: integers never pass through floating point numbers."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from mltrack_plugin.errors import InputError, did_you_mean
from mltrack_plugin.io.guarded import guarded

Array = npt.NDArray[Any]

INTEGER = pa.int64()
#: Ids, up to 2**64 - 1.
ID = pa.uint64()
#: Coordinates are rounded to float32 only once, from the text.
NUMBER = pa.float64()


def header(data: bytes, place: str, delimiter: str = ",") -> list[str]:
    """Column names of the first line.

    Raises:
        InputError: if the file is empty, or its first line is not a header.
    """
    line = data.split(b"\n", 1)[0].strip().removeprefix(b"\xef\xbb\xbf")
    if not line:
        raise InputError(f"{place} is empty; a line with the column names is needed")
    try:
        names = [n.strip().strip('"') for n in line.decode("utf-8").split(delimiter)]
    except UnicodeDecodeError as error:
        raise InputError(f"{place} is not a text file ({error})") from error
    if all(re.fullmatch(r"[-+.\deE]+", n) for n in names):
        raise InputError(f"{place} begins with numbers; a line with the column names is needed")
    return names


def check_columns(
    names: list[str], place: str, required: Collection[str], known: Collection[str], allow_extra: bool
) -> None:
    """Compare a file's columns with those of its format.

    Raises:
        InputError: naming the columns that are missing, repeated, or unknown to the format.
    """
    if missing := [n for n in required if n not in names]:
        raise InputError(
            f"{place} has no column {', '.join(map(repr, missing))}. {did_you_mean(missing[0], names)} "
            f"Needed are {', '.join(required)}"
        )
    if repeated := sorted({n for n in names if names.count(n) > 1}):
        raise InputError(f"{place} has the column {', '.join(map(repr, repeated))} more than once")
    extra = [n for n in names if n not in known]
    if extra and not allow_extra:
        raise InputError(
            f"{place} has columns that this format does not know: {', '.join(map(repr, extra))}. "
            "Remove them, or set allow_extra_columns: true to ignore them"
        )


def parse(
    data: bytes,
    place: str,
    types: Mapping[str, pa.DataType],
    *,
    delimiter: str = ",",
    names: list[str] | None = None,
) -> dict[str, Array]:
    """The columns of ``types`` that the file has.

    Args:
        data: the whole file, or rows of it without the header line if ``names`` is given.
        types: column -> type.
        names: column names, if ``data`` has no header line.

    Raises:
        InputError: with row and value if a value does not have its column's type, or a row has too few or
            too many values.
    """
    there = names or header(data, place, delimiter)
    wanted = [n for n in types if n in there]
    if names is not None and not data.strip():
        return {n: np.empty(0, dtype=types[n].to_pandas_dtype()) for n in wanted}
    with guarded(place):
        try:
            table = csv.read_csv(
                io.BytesIO(data),
                read_options=csv.ReadOptions(
                    use_threads=False, column_names=there, skip_rows=0 if names else 1
                ),
                parse_options=csv.ParseOptions(delimiter=delimiter),
                convert_options=csv.ConvertOptions(
                    column_types={n: types[n] for n in wanted},
                    include_columns=wanted,
                    strings_can_be_null=False,
                    null_values=[],
                ),
            )
        except pa.ArrowInvalid as error:
            if "Empty CSV" in str(error):
                return {n: np.empty(0, dtype=types[n].to_pandas_dtype()) for n in wanted}
            raise InputError(f"{place}: {_translate(str(error), there)}") from error
        return {n: table.column(n).combine_chunks().to_numpy(zero_copy_only=False) for n in wanted}


def _translate(message: str, names: list[str]) -> str:
    """pyarrow's message with the column's name instead of its number."""
    text = re.sub(r"In CSV column #(\d+)(: Row #\d+)?:", lambda m: _column(m, names), message)
    return text.replace("CSV conversion error to", "cannot be read as").replace("CSV parse error: ", "")


def _column(match: re.Match[str], names: list[str]) -> str:
    number = int(match.group(1))
    return f"column {names[number]!r}:" if number < len(names) else match.group(0)
