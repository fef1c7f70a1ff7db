"""One event on a whiteboard of ACTS: algorithms of ACTS run on it one by one, without its Sequencer.

So an algorithm of this package can use those of ACTS for the event at hand, the CPU time of each is measured
by itself, and there is no floating point trap (only the Sequencer of ACTS sets one).
"""

from __future__ import annotations

import functools
import time
from typing import Any

from mltrack_plugin.detectors.acts_geometry import require_acts
from mltrack_plugin.errors import EventError


class ActsEvent:
    """A whiteboard and the context of one event.

    What is written belongs to the whiteboard from then on, and what is read is a view of it: both end with
    this object, so copy what must last.

    Args:
        number: of the event, for messages of ACTS.
    """

    def __init__(self, number: int = 0) -> None:
        acts, examples = require_acts()
        self._board = examples.WhiteBoard(acts.logging.ERROR)
        self._context = examples.AlgorithmContext(0, number, self._board, 0)

    @property
    def keys(self) -> list[str]:
        """Names of what the whiteboard holds."""
        return sorted(self._board.keys)

    def write(self, kind: Any, key: str, value: Any) -> None:
        """Store an object of ACTS; Python must not use it afterwards (:meth:`read` it)."""
        _handle("WriteDataHandle", kind, key)(self._context, value)

    def read(self, kind: Any, key: str) -> Any:
        """A view of what is stored under ``key``."""
        return _handle("ReadDataHandle", kind, key)(self._board)

    def run(self, algorithm: Any) -> float:
        """Execute an algorithm of ACTS (its writers run in its Sequencer only).

        Returns:
            Its CPU time, s.

        Raises:
            EventError: if it fails, with what ACTS says.
        """
        _, examples = require_acts()
        began = time.process_time()
        try:
            code = algorithm.execute(self._context)
        except (RuntimeError, ValueError, IndexError) as error:
            raise EventError(f"{algorithm.name()} of ACTS failed: {error}") from error
        spent = time.process_time() - began
        if code != examples.ProcessCode.SUCCESS:
            raise EventError(f"{algorithm.name()} of ACTS ended with {code}")
        return spent


@functools.cache
def _handle(direction: str, kind: Any, key: str) -> Any:
    _, examples = require_acts()
    owner = _handle_owner()
    # The name only has to be unique.
    handle = getattr(examples, direction)(owner, kind, f"{direction} {kind.__name__} {key}")
    handle.initialize(key)
    return handle


@functools.cache
def _handle_owner() -> Any:
    """ACTS binds every data handle to an algorithm; this one does nothing."""
    acts, examples = require_acts()
    base: Any = examples.IAlgorithm

    class HandleOwner(base):  # type: ignore[misc]
        def __init__(self) -> None:
            examples.IAlgorithm.__init__(self, "HandleOwner", acts.logging.ERROR)

        def execute(self, context: Any) -> Any:
            return examples.ProcessCode.SUCCESS

    return HandleOwner()
