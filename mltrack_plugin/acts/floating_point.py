"""Floating point traps, switched off while other people's numerical code runs.

The ACTS Sequencer (``trackFpes=True``, its default) lets the processor interrupt the program at every invalid
operation, division by zero and overflow, and ends a run in which one occurred. Correct numerical code
relies on their silent results: torch computes ``exp`` of large numbers in a softmax, NumPy compares NaN.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Callable, Iterator

#: Room for the C library's ``fenv_t``; 32 bytes with glibc on x86-64, less elsewhere.
_ENVIRONMENT_BYTES = 256


@contextlib.contextmanager
def no_floating_point_traps() -> Iterator[None]:
    """Run the body with all floating point traps of this thread off, then restore traps and flags as they were.

    What the body does is invisible to the ``FpeMonitor`` of ACTS; other algorithms are watched as before.
    Threads that the body starts inherit its environment. A C library without ``<fenv.h>`` has no traps.
    """
    library = _fenv()
    if library is None:
        yield
        return
    hold, restore = library
    environment = ctypes.create_string_buffer(_ENVIRONMENT_BYTES)
    hold(environment)
    try:
        yield
    finally:
        restore(environment)


@functools.cache
def _fenv() -> tuple[Callable[..., int], Callable[..., int]] | None:
    """``feholdexcept`` and ``fesetenv`` of the running process."""
    process = ctypes.CDLL(None)
    try:
        hold, restore = process.feholdexcept, process.fesetenv
    except AttributeError:
        return None
    for function in (hold, restore):
        function.argtypes = [ctypes.c_void_p]
        function.restype = ctypes.c_int
    return hold, restore
