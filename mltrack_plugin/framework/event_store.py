"""EventStore: the append-only whiteboard of one event.

Peer: the ``WhiteBoard`` of the ACTS examples framework.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

from mltrack_plugin.errors import ConfigurationError, did_you_mean

T = TypeVar("T")


class EventStore:
    """Collections of one event under string keys; nothing stored is ever replaced.

    Args:
        event_number: the number the event has in its input file; outputs keep it.
        source: where the event comes from, for error messages.
    """

    __slots__ = ("_content", "event_number", "source")

    def __init__(self, event_number: int = 0, source: str = "memory") -> None:
        self.event_number = int(event_number)
        self.source = source
        self._content: dict[str, Any] = {}

    def add(self, key: str, value: object) -> None:
        """Store ``value`` under ``key``.

        Raises:
            ConfigurationError: if the key is empty or already taken.
        """
        if not key:
            raise ConfigurationError("an event store key must not be empty")
        if key in self._content:
            raise ConfigurationError(
                f"event {self.event_number}: {key!r} is already in the event store; "
                "collections are never replaced, write to a new key"
            )
        self._content[key] = value

    def get(self, key: str, kind: type[T]) -> T:
        """The collection under ``key``, checked to be a ``kind``.

        Raises:
            ConfigurationError: if the key is missing (the nearest keys are named) or holds another type.
        """
        try:
            value = self._content[key]
        except KeyError:
            raise ConfigurationError(
                f"event {self.event_number}: no {key!r} in the event store. {did_you_mean(key, self._content)}"
            ) from None
        if not isinstance(value, kind):
            raise ConfigurationError(
                f"event {self.event_number}: {key!r} is a {type(value).__name__}, not a {kind.__name__}"
            )
        return value

    def __contains__(self, key: object) -> bool:
        return key in self._content

    def __iter__(self) -> Iterator[str]:
        return iter(self._content)

    def __len__(self) -> int:
        return len(self._content)

    def __repr__(self) -> str:
        return f"EventStore(event {self.event_number}: {', '.join(self._content) or 'empty'})"
