"""The one rule for event numbers: integers from 0 to 2**64 - 1, each for one event of the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import InputError

Array = npt.NDArray[Any]

ADVICE = (
    "If files with equal event numbers were merged, read them one by one, or give their events different "
    "numbers before merging"
)


def event_numbers(values: Array, place: str) -> Array:
    """Event numbers from a column as a file has it.

    Args:
        values: (n,) numbers of any type.
        place: file, tree and column, for messages.

    Returns:
        (n,) integers without negative ones; numbers stored as floating point become uint64.

    Raises:
        InputError: if a number is negative, or its floating point type cannot tell it from its neighbours.
    """
    if values.dtype.kind == "f":
        # Beyond this, neighbouring integers are the same floating point number.
        limit = 2 ** (np.finfo(values.dtype).nmant + 1)
        bad = ~((values >= 0) & (values < limit)) | (values != np.floor(values))
        if bad.any():
            raise InputError(
                f"{place}: {float(values[bad][0])!r} cannot be an event number; a {values.dtype} holds whole "
                f"numbers exactly from 0 to {limit - 1} only. Store event numbers as integers"
            )
        return values.astype(np.uint64)
    if values.dtype.kind not in "iu":
        raise InputError(f"{place} must hold integers, it holds {values.dtype}")
    if values.dtype.kind == "i" and len(values) and values.min() < 0:
        raise InputError(
            f"{place}: event number {values.min()} is negative; number the events from 0 or above"
        )
    return values


def require_unique(numbers: Array, place: str, unit: str = "entries") -> None:
    """Refuse event numbers that occur more than once.

    Args:
        numbers: (n_events,) event numbers.
        place: file, tree and column, for messages.
        unit: what has one number each, for messages.

    Raises:
        InputError: naming the first repeated number and how to go on.
    """
    if len(numbers) < 2 or bool((numbers[1:] > numbers[:-1]).all()):
        return
    unique, counts = np.unique(numbers, return_counts=True)
    repeated = counts > 1
    if repeated.any():
        first = int(np.argmax(repeated))
        raise InputError(
            f"{place}: event number {unique[first]} is that of {counts[first]} {unit} ({int(repeated.sum())} "
            f"of {len(unique)} event numbers are repeated). {ADVICE}"
        )
