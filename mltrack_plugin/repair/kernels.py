"""Compilation of the kernels of this package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., Any])

#: State of all source files here. Code kept on disk contains the kernels it calls, also those of other files.
_SOURCES = tuple(
    (path.name, path.stat().st_mtime_ns, path.stat().st_size)
    for path in sorted(Path(__file__).parent.glob("*.py"))
)


def kernel(function: F) -> F:
    """Compile to machine code at the first call; kept on disk for later processes where that is possible.

    One thread and no reordering of sums: the same input gives the same bits.
    """
    try:
        compiled = njit(cache=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written.
        return cast("F", njit(error_model="numpy")(function))
    # numba looks at the file of the function alone.
    index: Any = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if hasattr(index, "_source_stamp"):
        index._source_stamp = (index._source_stamp, _SOURCES)
    return cast("F", compiled)
