"""The experiment's own output: one line per track, ``EVENT TRACK HIT_ID HIT_ID ...``."""

from __future__ import annotations

from typing import Any, ClassVar

from mltrack_plugin import Config, EventStore, Hits, Tracks, Writer
from mltrack_plugin.atomic import AtomicFile


class ChamberWriter(Writer):
    """Writes the hit ids of each track as text."""

    format_name: ClassVar[str] = "chamber-tracks"

    class Config(Config):
        """Settings of chamber-tracks."""

        path: str
        """File to write."""
        overwrite: bool = False
        """Replace an existing file."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        tracks: str = "tracks"
        """Event store key of the tracks (input)."""

    def __init__(self, config: Any = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._tracks = self.read_handle(Tracks, self.config.tracks)
        self._file: AtomicFile | None = None

    def initialize(self) -> None:
        """Open a temporary file (raises ``OutputError``)."""
        self._file = AtomicFile(self.config.path, overwrite=self.config.overwrite)

    def write(self, event_store: EventStore) -> None:
        hits, tracks = self._hits(event_store), self._tracks(event_store)
        assert self._file is not None
        for i in range(len(tracks)):
            ids = " ".join(map(str, hits.hit_id[tracks.hits_of(i)]))
            self._file.file.write(f"{event_store.event_number} {i} {ids}\n".encode())

    def finalize(self) -> None:
        """Give the file its name."""
        if self._file is not None:
            self._file.commit()

    def abort(self) -> None:
        if self._file is not None:
            self._file.abort()
