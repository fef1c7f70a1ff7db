"""TracksCollector: the end of a sequence whose tracks stay in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mltrack_plugin.event_data import EventTracks, ProtoTracks
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.settings import Config as BaseConfig


class TracksCollector(Writer):
    """Keeps the tracks of every event instead of writing a file; ``tracks`` has them when the sequence has run.

    It runs in the main process, after the events are back in input order.
    """

    format_name: ClassVar[str] = "memory"

    class Config(BaseConfig):
        """Settings."""

        tracks: str = "tracks"
        """Event store key of the tracks or track candidates."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._tracks = self.read_handle(ProtoTracks, self.config.tracks)
        self._events: list[tuple[int, ProtoTracks]] = []

    @property
    def tracks(self) -> EventTracks:
        """The tracks so far, event by event."""
        events = self._events
        return EventTracks(lambda: iter(events))

    def initialize(self) -> None:
        """Begin anew; what :attr:`tracks` gave for an earlier run stays."""
        self._events = []

    def write(self, event_store: EventStore) -> None:
        """Keep the tracks of one event."""
        self._events.append((event_store.event_number, self._tracks(event_store)))

    def abort(self) -> None:
        """Nothing was written; the events before the error stay."""
