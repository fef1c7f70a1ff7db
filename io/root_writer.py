"""What the ROOT writers share: buffering, baskets of a fixed number of events, metadata, life cycle."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import OutputError
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_output import Column, Container, RootFile, RootTable
from mltrack_plugin.settings import Config as BaseConfig

#: The buffer is written at this many events or bytes, whichever comes first. Both depend on the content
#: alone, so the baskets (and the bytes of the file) never depend on workers or chunk sizes.
FLUSH_EVENTS = 200
FLUSH_BYTES = 16_000_000


class Chunk(NamedTuple):
    """Entries of one table, ready to be written."""

    #: Columns by name; jagged ones flattened over the entries.
    values: dict[str, npt.NDArray[Any]]
    #: (n_entries,) list lengths by counter name.
    counts: dict[str, npt.NDArray[Any]]


class RootWriterConfig(BaseConfig):
    """Settings of every ROOT writer."""

    path: str
    """Output file."""
    overwrite: bool = False
    """Replace an existing file."""
    container: Container = "ttree"
    """TTrees (read by every ROOT) or RNTuples (ROOT 6.34 and later)."""


class RootWriter(Writer):
    """Base of the ROOT writers: subclasses say what to keep of an event and how a chunk of events looks."""

    Config = RootWriterConfig
    #: Value of ``format`` in the meta table, by which a file is recognised.
    content_name = ""
    #: Value of ``format_version`` in the meta table.
    content_version = "1"

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._file: RootFile | None = None
        self._tables: dict[str, RootTable] = {}
        self._buffer: list[Any] = []
        self._buffered_bytes = 0

    @abstractmethod
    def _collect(self, event_store: EventStore) -> tuple[Any, int]:
        """What is kept of one event until it is written, and its size in bytes.

        Raises:
            OutputError: if the format cannot hold the event.
        """

    @abstractmethod
    def _schema(self, events: Sequence[Any]) -> dict[str, dict[str, Column]]:
        """Columns by table; ``events`` is the first chunk, empty if there is no event at all."""

    @abstractmethod
    def _chunk(self, events: Sequence[Any]) -> dict[str, Chunk]:
        """The entries of every table for these (one or more) events."""

    def _meta(self) -> dict[str, str]:
        """Facts about the file beyond those of the job."""
        return {}

    def initialize(self) -> None:
        """Open the temporary file.

        Raises:
            OutputError: if the output exists already or cannot be written.
        """
        self._file = RootFile(
            self.config.path, container=self.config.container, overwrite=self.config.overwrite
        )

    def write(self, event_store: EventStore) -> None:
        """Append one event.

        Raises:
            OutputError: if the format cannot hold it, or the disk is full.
        """
        item, n_bytes = self._collect(event_store)
        self._buffer.append(item)
        self._buffered_bytes += n_bytes
        if len(self._buffer) >= FLUSH_EVENTS or self._buffered_bytes >= FLUSH_BYTES:
            self._flush()

    def finalize(self) -> None:
        """Write what is buffered and the metadata, and give the file its name; on failure nothing is left.

        Raises:
            OutputError: if the disk is full and the like.
        """
        try:
            self._flush()
            info = {**self._info, **self._meta()}
            self._opened().write_meta(
                {**info, "format": self.content_name, "format_version": self.content_version}
            )
            self._opened().commit()
        except BaseException:
            self.abort()
            raise
        self._file = None

    def abort(self) -> None:
        """Remove everything written so far."""
        if self._file is not None:
            self._file.abort()
            self._file = None
        self._buffer.clear()

    def _opened(self) -> RootFile:
        if self._file is None:
            raise OutputError(f"{self.name}: initialize() must be called before writing {self.config.path!r}")
        return self._file

    def _flush(self) -> None:
        if not self._tables:
            schema = self._schema(self._buffer)
            self._tables = {name: self._opened().table(name, columns) for name, columns in schema.items()}
        if self._buffer:
            for name, chunk in self._chunk(self._buffer).items():
                self._tables[name].extend(chunk.values, chunk.counts)
        self._buffer.clear()
        self._buffered_bytes = 0


def joined(arrays: Sequence[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """One flat array of the wanted type, also for no arrays at all."""
    return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype, copy=False)
