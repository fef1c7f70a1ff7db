"""Compilation of array kernels to machine code."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from numba import njit, types
from numba.core.cgutils import get_null_value
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger(__name__)

#: Rooms whose kernels are called by kernels of other rooms.
_KERNEL_FOLDERS = [Path(__file__).parent / room for room in ("kalman", "following", "repair")]


def kernel(function: F, **options: Any) -> F:
    """Compile to machine code at the first call; kept on disk for later processes where that is possible.

    One thread and no reordering of sums: the same input gives the same bits.
    """
    compiled: Any
    try:
        compiled = njit(cache=True, error_model="numpy", **options)(function)
    except RuntimeError:
        # Neither the package's folder nor the user's cache can be written.
        compiled = njit(error_model="numpy", **options)(function)
    if hasattr(compiled, "get_call_template"):
        _once_for_all_constants(compiled)
    # numba looks at the file of the function alone, but its code contains the kernels that it calls.
    if not hasattr(compiled, "_cache"):
        return cast("F", compiled)
    compiled._cache = _ForgivingCache(compiled._cache)
    index: Any = getattr(compiled._cache, "_cache_file", None)
    if hasattr(index, "_version"):
        # The version is compared before anything is unpickled that may hold types of an older source.
        folder = Path(function.__code__.co_filename).parent
        index._version = (index._version, _state(folder), *map(_state, _KERNEL_FOLDERS))
    return cast("F", compiled)


def _once_for_all_constants(compiled: Any) -> None:
    """Let kernels that call a kernel with constants use its code for any numbers, instead of compiling it once more."""
    resolve = compiled.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        return resolve(tuple(map(types.unliteral, args)), {k: types.unliteral(v) for k, v in kws.items()})

    compiled.get_call_template = get_call_template


def inlined(function: F) -> F:
    """As `kernel`, for small functions: compiled into those that call them.

    A call costs more than its arithmetic where arrays are passed, whose references are counted.
    """
    return kernel(function, forceinline=True)


class _ForgivingCache:
    """numba's cache of a kernel, whose damaged files (a full disk, a copy cut short) are compiled anew, with a notice.

    Args:
        kept: the cache as numba made it.
    """

    def __init__(self, kept: Any) -> None:
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kept, name)

    def load_overload(self, signature: Any, target_context: Any) -> Any:
        """A compiled version, ``None`` if there is none that can be read."""
        try:
            return self._kept.load_overload(signature, target_context)
        except Exception as error:
            # Whatever a damaged pickle or object file makes numba raise.
            _log.warning(
                "damaged file of compiled kernels in %s (%s): compiled again",
                self._kept.cache_path,
                type(error).__name__,
            )
            self._flush()
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled version; where that fails, later processes compile it again."""
        try:
            self._kept.save_overload(signature, result)
        except Exception as error:
            _log.warning(
                "compiled kernels cannot be kept in %s: %s",
                self._kept.cache_path,
                error or type(error).__name__,
            )
            self._flush()

    def _flush(self) -> None:
        with contextlib.suppress(OSError):
            self._kept.flush()


@cache
def _state(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Names, times and sizes of the source files of a package."""
    found = ((path.name, path.stat()) for path in sorted(folder.glob("*.py")))
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in found)


@intrinsic  # type: ignore[untyped-decorator]
def uncounted(typingctx: Any, arrays: Any) -> Any:
    """The same array or (named) tuple of arrays without counts of references, inside kernels, while a caller holds it.

    Counting takes a locked instruction at every view of an array, which costs more than the arithmetic of a small
    kernel.
    """

    def borrow(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _without_counts(context, builder, arrays, arguments[0])

    return arrays(arrays), borrow


def _without_counts(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """A value of a type without the counts of the arrays in it."""
    if isinstance(kind, types.Array):
        copy = make_array(kind)(context, builder, value=value)
        copy.meminfo = get_null_value(copy.meminfo.type)
        return copy._getvalue()
    if isinstance(kind, types.BaseTuple):
        for i, inner in enumerate(kind):
            part = _without_counts(context, builder, inner, builder.extract_value(value, i))
            value = builder.insert_value(value, part, i)
    return value
