"""Submissions to the TrackML challenge: ``event_id,hit_id,track_id``, one row for every hit."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mltrack_plugin.atomic import AtomicFile, output_errors
from mltrack_plugin.errors import InputError, OutputError, did_you_mean
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.file_tracks import HitIdentity
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.guarded import guarded
from mltrack_plugin.io.root_tracks import check_indices
from mltrack_plugin.settings import Config as BaseConfig

COLUMNS = ("event_id", "hit_id", "track_id")
HEADER = ",".join(COLUMNS)
_PLAIN_ROWS = pa.csv.WriteOptions(include_header=False, quoting_style="none")


def sidecar_of(path: Path | str) -> Path:
    """Where the facts about the job are: the challenge's format has no place for them."""
    return Path(f"{path}.meta.json")


class TrackMLSubmissionWriter(Writer):
    """Writes a submission, and the facts about the job in ``PATH.meta.json``.

    Tracks are numbered from 1 in each event. The challenge wants every hit of an event to be present.
    """

    format_name: ClassVar[str] = "trackml-submission"

    class Config(BaseConfig):
        """Settings."""

        path: str
        """Output file."""
        overwrite: bool = False
        """Replace an existing file."""
        unassigned: Literal["zero", "distinct"] = "zero"
        """Hits on no track: "zero", all in track 0, as in the challenge's sample submission (and exact when
        read back); or "distinct", one track each, so that they can never count as a found particle.
        """
        tracks: str = "tracks"
        """Event store key of the tracks (input)."""
        hits: str = "hits"
        """Event store key of the hits (input)."""

    def __init__(self, config: BaseConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._tracks = self.read_handle(Tracks, self.config.tracks)
        self._hits = self.read_handle(Hits, self.config.hits)
        self._output: AtomicFile | None = None
        self._sidecar: AtomicFile | None = None

    def initialize(self) -> None:
        """Open the temporary files.

        Raises:
            OutputError: if the output exists already or cannot be written.
        """
        path, overwrite = self.config.path, self.config.overwrite
        self._output = AtomicFile(path, overwrite=overwrite)
        try:
            self._sidecar = AtomicFile(sidecar_of(path), overwrite=overwrite)
            with output_errors(path):
                self._output.file.write(f"{HEADER}\n".encode())
        except BaseException:
            self.abort()
            raise

    def write(self, event_store: EventStore) -> None:
        """Append the hits of one event.

        Raises:
            OutputError: if a hit index of a track is no hit of the event, or the disk is full.
        """
        number, tracks, hits = event_store.event_number, self._tracks(event_store), self._hits(event_store)
        if self._output is None:
            raise OutputError(f"{self.name}: initialize() must be called before writing {self.config.path!r}")
        check_indices(number, tracks, len(hits))
        track_id = tracks.labels(len(hits)) + 1
        if self.config.unassigned == "distinct":
            free = track_id == 0
            track_id[free] = len(tracks) + 1 + np.arange(np.count_nonzero(free))
        columns = [np.full(len(hits), number, np.uint64), hits.hit_id, track_id]
        rows = pa.BufferOutputStream()
        pa.csv.write_csv(pa.table([pa.array(c) for c in columns], names=COLUMNS), rows, _PLAIN_ROWS)
        with output_errors(self.config.path):
            self._output.file.write(rows.getvalue())

    def finalize(self) -> None:
        """Complete the files and give them their names; on failure nothing is left.

        Raises:
            OutputError: if the disk is full and the like.
        """
        if self._output is None or self._sidecar is None:
            raise OutputError(f"{self.name}: initialize() must be called before writing {self.config.path!r}")
        try:
            with output_errors(self._sidecar.path):
                self._sidecar.file.write(json.dumps(dict(self._info), indent=1, sort_keys=True).encode())
                self._sidecar.file.flush()
            # The submission last: where it is, the facts about the job are too.
            self._sidecar.commit()
            try:
                self._output.commit()
            except BaseException:
                self._sidecar.path.unlink(missing_ok=True)
                raise
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove everything written so far."""
        for output in (self._output, self._sidecar):
            if output is not None:
                output.abort()


def read_trackml_submission(path: Path | str) -> Iterator[tuple[int, Tracks]]:
    """Stream a submission whose rows are in the order of the event's hits (as this package writes it).

    Hit indices are positions among the event's rows; hits of track 0, and of track -1, are unassigned. Track
    parameters are NaN. ``mltrack evaluate`` and ``compare`` find the hits by their ids, in any order.

    Yields:
        event number and tracks.

    Raises:
        InputError: if the file is missing, a column is missing or holds other things than integers, a hit is
            repeated, or the rows of an event are not together.
    """
    for number, _, track_id in _checked_events(path):
        proto = ProtoTracks.from_labels(np.where(track_id == 0, -1, track_id))
        yield number, Tracks(proto.offsets, proto.hit_indices)


def read_listed_tracks(path: Path | str) -> Iterator[tuple[int, Tracks, HitIdentity]]:
    """As :func:`read_trackml_submission`, with track 0 among the tracks and the ids of all hits on tracks.

    Where the file gives hits track -1, no track is said to be numbered 0.

    Raises:
        InputError: as for :func:`read_trackml_submission`.
    """
    # -1 anywhere in the file says that 0 is a track everywhere.
    counts_from_zero = any((track_id == -1).any() for _, _, track_id in _checked_events(path))
    for number, hit_id, track_id in _checked_events(path):
        proto = ProtoTracks.from_labels(track_id)
        zero = np.flatnonzero(track_id[proto.hit_indices[proto.offsets[:-1]]] == 0)
        zero_track = int(zero[0]) if len(zero) and not counts_from_zero else None
        identity = HitIdentity(None, hit_id[proto.hit_indices], len(hit_id), zero_track)
        yield number, Tracks(proto.offsets, proto.hit_indices), identity


def _checked_events(path: Path | str) -> Iterator[tuple[int, Array, Array]]:
    seen: set[int] = set()
    for number, hit_id, track_id in _events(path):
        place = f"{str(path)!r}, event {number}"
        if number in seen:
            raise InputError(f"{place}: its rows are not together; sort the rows by event_id")
        seen.add(number)
        if len(np.unique(hit_id)) != len(hit_id):
            raise InputError(f"{place}: a hit_id is repeated; the challenge wants every hit once")
        if len(track_id) and track_id.min() < -1:
            raise InputError(f"{place}: track_id {track_id.min()} is negative and not -1, which is no track")
        yield number, hit_id, track_id


def _events(path: Path | str) -> Iterator[tuple[int, Array, Array]]:
    """Rows of one event after the other; an event may reach over several blocks of the file."""
    types = dict.fromkeys(COLUMNS, pa.int64()) | {"hit_id": pa.uint64()}
    with contextlib.ExitStack() as stack:
        with guarded(repr(str(path))):
            options = pa.csv.ConvertOptions(column_types=types)
            reader = stack.enter_context(pa.csv.open_csv(path, convert_options=options))
        names = reader.schema.names
        for name in COLUMNS:
            if name not in names:
                raise InputError(f"{str(path)!r} has no column {name!r}. {did_you_mean(name, names)}")
        parts: list[list[Array]] = []
        while True:
            with guarded(repr(str(path))):
                batch = next(reader, None)
                if batch is None:
                    break
                table = [_integers(batch.column(names.index(n)), n, path) for n in COLUMNS]
            cuts = [0, *(np.flatnonzero(np.diff(table[0])) + 1).tolist(), len(table[0])]
            for a, b in itertools.pairwise(cuts):
                part = [column[a:b] for column in table]
                if parts and len(part[0]) and parts[0][0][0] != part[0][0]:
                    yield _one_event(parts)
                    parts = []
                if len(part[0]):
                    parts.append(part)
        if parts:
            yield _one_event(parts)


def _integers(column: Any, name: str, path: Path | str) -> Array:
    if column.null_count:
        raise InputError(f"{str(path)!r}, column {name!r} has {column.null_count} empty values")
    return np.asarray(column)


def _one_event(parts: list[list[Array]]) -> tuple[int, Array, Array]:
    number, hit_id, track_id = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return int(number[0]), hit_id, track_id
