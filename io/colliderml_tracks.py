"""Tracks as Parquet in the ColliderML layout: one row per event, list columns (see docs/formats.md)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mltrack_plugin.atomic import AtomicFile, output_errors
from mltrack_plugin.errors import OutputError
from mltrack_plugin.event_data import Hits, Tracks, TruthLinks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.tracks import PERIGEE_PARAMETERS
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.guarded import guarded
from mltrack_plugin.io.parquet_file import ParquetInput
from mltrack_plugin.io.root_tracks import check_indices
from mltrack_plugin.io.root_writer import FLUSH_BYTES, FLUSH_EVENTS, joined
from mltrack_plugin.io.track_rows import TrackRows
from mltrack_plugin.io.track_truth import track_truth
from mltrack_plugin.settings import Config as BaseConfig

#: ``majority_particle_id`` of a track without one.
NO_PARTICLE = 2**64 - 1
_HIT_LISTS = ("measurement_ids", "hit_ids")
#: ``acts.arrow.trackSchema()``, except that track_id has 32 bits: 16 overflow above 65535 tracks.
SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.uint32(), nullable=False),
        *(pa.field(n, pa.list_(pa.float32()), nullable=False) for n in PERIGEE_PARAMETERS),
        pa.field("majority_particle_id", pa.list_(pa.uint64()), nullable=False),
        pa.field("measurement_ids", pa.list_(pa.list_(pa.uint32())), nullable=False),
        pa.field("hit_ids", pa.list_(pa.list_(pa.uint32()))),
        pa.field("track_id", pa.list_(pa.uint32()), nullable=False),
        pa.field("t", pa.list_(pa.float32())),
    ]
)


class _Event(NamedTuple):
    event_number: int
    tracks: Tracks
    particle_id: Array


class ColliderMLTracksWriter(Writer):
    """Writes perigee parameters (float32), hit rows and majority particle of each track."""

    format_name: ClassVar[str] = "colliderml-tracks"

    class Config(BaseConfig):
        """Settings."""

        path: str
        """Output file."""
        overwrite: bool = False
        """Replace an existing file."""
        tracks: str = "tracks"
        """Event store key of the tracks (input)."""
        hits: str = "hits"
        """Event store key of the hits (input)."""
        truth_links: str = "truth_links"
        """Event store key of the truth links (input)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._tracks = self.read_handle(Tracks, self.config.tracks)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._truth_links = self.read_handle(TruthLinks, self.config.truth_links, optional=True)
        self._atomic: AtomicFile | None = None
        self._parquet: Any = None
        self._buffer: list[_Event] = []
        self._buffered_bytes = 0

    def initialize(self) -> None:
        """Open the temporary file.

        Raises:
            OutputError: if the output exists already or cannot be written.
        """
        self._atomic = AtomicFile(self.config.path, overwrite=self.config.overwrite)
        try:
            with output_errors(self.config.path):
                self._parquet = pq.ParquetWriter(self._atomic.file, SCHEMA, compression="zstd")
        except BaseException:
            self.abort()
            raise

    def write(self, event_store: EventStore) -> None:
        """Append one event.

        Raises:
            OutputError: if the layout cannot hold it, or the disk is full.
        """
        number, tracks = event_store.event_number, self._tracks(event_store)
        if number >= 1 << 32:
            raise OutputError(
                f"event number {number} does not fit into the 32 bits that this layout has for it"
            )
        check_indices(number, tracks, len(self._hits(event_store)))
        truth = track_truth(tracks, self._truth_links.get(event_store))
        particle_id = np.where(truth.particle_id == 0, np.uint64(NO_PARTICLE), truth.particle_id)
        self._buffer.append(_Event(number, tracks, particle_id))
        self._buffered_bytes += 40 * len(tracks) + 8 * len(tracks.hit_indices)
        if len(self._buffer) >= FLUSH_EVENTS or self._buffered_bytes >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._parquet is None:
            raise OutputError(f"{self.name}: initialize() must be called before writing {self.config.path!r}")
        if self._buffer:
            with output_errors(self.config.path):
                self._parquet.write_table(_table(self._buffer))
        self._buffer.clear()
        self._buffered_bytes = 0

    def finalize(self) -> None:
        """Write what is buffered and the metadata, and give the file its name; on failure nothing is left.

        Raises:
            OutputError: if the disk is full and the like.
        """
        try:
            self._flush()
            with output_errors(self.config.path):
                self._parquet.add_key_value_metadata(dict(sorted(self._info.items())))
                self._parquet.close()
            assert self._atomic is not None
            self._atomic.commit()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove everything written so far."""
        if self._parquet is not None:
            # It would try again to write its footer when it is deleted.
            with contextlib.suppress(OSError, pa.ArrowException):
                self._parquet.close()
            self._parquet.is_open = False
            self._parquet = None
        if self._atomic is not None:
            self._atomic.abort()
        self._buffer.clear()


def _table(events: list[_Event]) -> pa.Table:
    tracks = [e.tracks for e in events]
    n_tracks = [len(t) for t in tracks]
    edges = pa.array(np.concatenate([[0], np.cumsum(n_tracks)]), pa.int32())

    def lists(flat: Any) -> pa.Array:
        return pa.ListArray.from_arrays(edges, flat)

    n_hits = joined([t.n_hits for t in tracks], np.int64)
    hit_edges = pa.array(np.concatenate([[0], np.cumsum(n_hits)]), pa.int32())
    rows = pa.array(joined([t.hit_indices for t in tracks], np.int64).astype(np.uint32))
    hit_lists = lists(pa.ListArray.from_arrays(hit_edges, rows))
    columns = {
        n: lists(pa.array(joined([getattr(t, n) for t in tracks], np.float32))) for n in PERIGEE_PARAMETERS
    }
    columns |= {
        "event_id": pa.array([e.event_number for e in events], pa.uint32()),
        "majority_particle_id": lists(pa.array(joined([e.particle_id for e in events], np.uint64))),
        **dict.fromkeys(_HIT_LISTS, hit_lists),
        "track_id": lists(pa.array(joined([np.arange(n) for n in n_tracks], np.uint32))),
        "t": lists(pa.array(np.full(sum(n_tracks), np.nan, np.float32))),
    }
    return pa.table([columns[name] for name in SCHEMA.names], schema=SCHEMA)


def read_colliderml_tracks(path: Path | str) -> Iterator[tuple[int, Tracks]]:
    """Stream the tracks of a ColliderML tracks file (of this package, of ACTS, or of the public data set).

    Hit indices are the rows of the event's ``tracker_hits``. Tracks come in canonical order.

    Yields:
        event number and tracks.

    Raises:
        InputError: if the file is missing or damaged, lacks a column, or a hit is on two tracks.
    """
    for rows in read_colliderml_rows(path):
        yield rows.event_number, rows.tracks()


def read_colliderml_rows(path: Path | str) -> Iterator[TrackRows]:
    """As :func:`read_colliderml_tracks`, for tracks that may share hits.

    Raises:
        InputError: if the file is missing or damaged, or lacks a column.
    """
    with contextlib.closing(ParquetInput(str(path))) as file:
        file.require(("event_id", "hit_ids", *PERIGEE_PARAMETERS))
        for group in range(len(file.ends)):
            for batch in file.batches(["event_id", "hit_ids", *PERIGEE_PARAMETERS], FLUSH_EVENTS, group):
                with guarded(f"{str(path)!r}, row group {group}"):
                    rows = list(_rows(batch, path))
                yield from rows


def _rows(batch: Any, path: Path | str) -> Iterator[TrackRows]:
    columns = {n: batch.column(n) for n in batch.schema.names}
    for i, number in enumerate(columns["event_id"].to_pylist()):
        hits = columns["hit_ids"][i].values
        yield TrackRows(
            number,
            f"{str(path)!r}, event {number}",
            np.asarray(hits.value_lengths()),
            np.asarray(hits.flatten()),
            {n: np.asarray(columns[n][i].values) for n in PERIGEE_PARAMETERS},
        )


def read_colliderml_meta(path: Path | str) -> dict[str, str]:
    """The facts about the job, from the key/value metadata."""
    with contextlib.closing(ParquetInput(str(path))) as file, guarded(repr(str(path))):
        pairs = (file.metadata.metadata or {}).items()
        return {k.decode(): v.decode() for k, v in pairs if k not in (b"ARROW:schema", b"pandas")}
