"""A limit on the time of what an untrusted network does first: being loaded, and its first call."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from mltrack_plugin.errors import ModelError

if TYPE_CHECKING:
    from mltrack_plugin.event_data.base import Array

Result = TypeVar("Result")
#: CPU time for loading a network (the largest shipped one takes 1 s), and for a call whatever its inputs, in seconds.
LOAD_SECONDS = 60.0
CALL_SECONDS = 10.0
#: Further time for each pair of hits or other rows: dense attention takes a tenth of it on one core.
SECONDS_PER_PAIR = 1e-6
#: Largest limit of a call, in seconds.
_MAX_SECONDS = 3600.0
#: A thread that waits takes no CPU time, and this many times the limit passes on the clock at most.
_CLOCK_FACTOR = 10


def call_seconds(inputs: tuple[Array, ...]) -> float:
    """CPU time that a network may take for its first call; grows with the square of the number of rows."""
    rows = max((array.shape[0] * array.shape[1] for array in inputs if array.ndim > 1), default=1)
    return min(CALL_SECONDS + SECONDS_PER_PAIR * rows**2, _MAX_SECONDS)


def within(seconds: float, work: Callable[[], Result], source: str, what: str) -> Result:
    """The result of ``work``, which gets so much CPU time and no more.

    It runs in a thread of its own. A thread cannot be stopped, so one that exceeds its time runs on until the process
    ends; the caller gets the error and can end it.

    Args:
        seconds: CPU time of the thread; a busy machine does not count.
        work: a function without arguments.
        source: the file, for the message.
        what: what the work is, for the message.

    Raises:
        ModelError: if the time is exceeded.
    """
    results: list[Result] = []
    errors: list[BaseException] = []
    clocks: list[Callable[[], float]] = []

    def run() -> None:
        try:
            clocks.append(_cpu_clock())
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="first-call", daemon=True)
    started = time.monotonic()
    thread.start()
    wait = 0.5
    while True:
        thread.join(wait)
        if not thread.is_alive():
            break
        if any(clock() > seconds for clock in clocks) or time.monotonic() - started > _CLOCK_FACTOR * seconds:
            raise ModelError(
                f"{source}: {what} took more than {seconds:.0f} s of CPU time, far more than any network of its size "
                "needs; the file is not used"
            )
    if errors:
        raise errors[0]
    return results[0]


def _cpu_clock() -> Callable[[], float]:
    """Tells other threads the CPU time of the calling one; time on the clock where the system does not tell."""
    started = time.monotonic()
    if not hasattr(time, "pthread_getcpuclockid"):
        return lambda: time.monotonic() - started
    # Asked for while the thread surely lives: for one that has ended, the system library reads freed memory.
    clock = time.pthread_getcpuclockid(threading.get_ident())

    def read() -> float:
        # A thread that has just ended has no clock any more.
        try:
            return time.clock_gettime(clock)
        except OSError:
            return 0.0

    return read
