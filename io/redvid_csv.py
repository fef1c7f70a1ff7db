"""REDVID CSV: one row per hit, ``;`` between columns, hits of an event together; file, folder or zip.

Columns: event_id; sub_detector_id; sub_detector_type; track_id; track_type; six track parameters (linear:
r_0; theta_0; z_0; r_d; theta_d; z_d, helical: radial_const; azimuthal_const; pitch_const; radial_coeff;
azimuthal_coeff; pitch_coeff); hit_id; hit_r; hit_theta; hit_z. Lengths are REDVID's own units, kept as they
are.

Hits become Cartesian: x = hit_r cos(hit_theta), y = hit_r sin(hit_theta), z = hit_z. Particles are the
tracks: particle_id = track_id + 1 (REDVID counts from 0, and 0 is noise here; a negative track_id is
noise), p is the velocity per unit of t (slope in r, slope in z), q = 0 (helical: azimuthal_coeff, the sense
of turning). ``layer_id`` is sub_detector_id. If hit_id counts per track, hits are numbered by their row in
the event instead.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventError, InputError
from mltrack_plugin.framework.source import Source
from mltrack_plugin.io import csv_table, storage
from mltrack_plugin.io.columns import Chunk, Table, join
from mltrack_plugin.io.csv_table import INTEGER, NUMBER
from mltrack_plugin.io.event_numbers import ADVICE, event_numbers, require_unique
from mltrack_plugin.io.reading import ColumnInfo, EventReader, ReaderConfig
from mltrack_plugin.io.root_events import row_numbers
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]
Columns = dict[str, Array]

DELIMITER = ";"
_COMMON = ("event_id", "sub_detector_id", "sub_detector_type", "track_id", "track_type")
_HIT = ("hit_id", "hit_r", "hit_theta", "hit_z")
_LINEAR = ("r_0", "theta_0", "z_0", "r_d", "theta_d", "z_d")
_HELICAL = (
    "radial_const",
    "azimuthal_const",
    "pitch_const",
    "radial_coeff",
    "azimuthal_coeff",
    "pitch_coeff",
)
_REQUIRED = ("event_id", "hit_r", "hit_theta", "hit_z")
_TYPES = dict.fromkeys(("event_id", "sub_detector_id", "track_id", "hit_id"), INTEGER) | dict.fromkeys(
    ("hit_r", "hit_theta", "hit_z", *_LINEAR, *_HELICAL), NUMBER
)
_SCAN_BYTES = 16 * 1024**2


class RedvidCsvConfig(ReaderConfig):
    """Settings of the reader of REDVID CSV files."""

    allow_extra_columns: bool = False
    """Ignore columns that the format does not know, instead of refusing the file."""


@dataclasses.dataclass(slots=True)
class _File:
    """One file and where its events lie in it."""

    name: str
    place: str
    columns: list[str]
    #: (n_events,) event ids, first and last byte of their rows.
    numbers: Array
    starts: Array
    stops: Array


class RedvidCsvReader(EventReader):
    """Reads REDVID CSV files in ranges of bytes; events are found once, in a first pass over the file."""

    Config: ClassVar[type[Config]] = RedvidCsvConfig
    format_name = "redvid-csv"
    format_detector = "redvid"

    @classmethod
    def recognises(cls, source: Source) -> float:
        """CSV with the columns of hits in cylindrical coordinates, or of tracks in sub-detectors."""
        telling = ({"event_id", "hit_r"}, {"sub_detector_id", "track_id"})
        return 0.9 if any(columns <= table for table in source.tables for columns in telling) else 0.0

    def initialize(self) -> None:
        """Find the events.

        Raises:
            InputError: if a file is missing, damaged, lacks columns, or there are no events.
        """
        path = self.config.path
        self._folder = storage.open_folder(path)
        if storage.kind_of(path) == "file" and not storage.is_zip(path):
            names = [path.rsplit("/", 1)[-1]]
            self._folder.source = path[: -len(names[0])] or "."
        else:
            names = [n for n in self._folder.names if re.search(r"\.csv(\.gz|\.bz2|\.xz)?$", n)]
        self._files = [self._scan(name) for name in names]
        if not any(len(f.numbers) for f in self._files):
            raise InputError(f"{path} holds no events")
        self._check_numbers()
        edges, self._file_of_edge = [0], []
        for k, file in enumerate(self._files):
            offset, i = edges[-1], 0
            while i < len(file.numbers):
                stop = np.searchsorted(file.stops, file.starts[i] + self.config.chunk_bytes, side="right")
                i = max(i + 1, int(stop))
                edges.append(offset + i)
                self._file_of_edge.append((k, offset))
        self._starts = edges[:-1]
        first = self._files[0].columns
        self._track_columns = next((c for c in (_LINEAR, _HELICAL) if set(c) <= set(first)), None)
        truth = all("track_id" in f.columns for f in self._files)
        self._plan(edges, truth=truth, particles=truth and self._track_columns is not None)

    def _check_numbers(self) -> None:
        """Refuse rows of an event that do not lie together, in one file or in several."""
        for file in self._files:
            event_numbers(file.numbers, f"{file.place}, column 'event_id'")
            unique, counts = np.unique(file.numbers, return_counts=True)
            if len(unique) != len(file.numbers):
                number = unique[np.argmax(counts > 1)]
                key = file.columns.index("event_id") + 1
                raise InputError(
                    f"{file.place}, column 'event_id': the rows of event {number} lie in {counts.max()} separate "
                    f"blocks ({int((counts > 1).sum())} of {len(unique)} events are like this). {ADVICE}. If the "
                    f"rows are out of order, sort them: (head -n 1 FILE; tail -n +2 FILE | sort -s -n "
                    f"-t '{DELIMITER}' -k {key},{key}) > SORTED.csv"
                )
        place = f"{self.source}, column 'event_id'"
        require_unique(np.concatenate([f.numbers for f in self._files]), place, "files")

    def column_info(self) -> list[ColumnInfo]:
        """Columns of the first file."""
        return [
            ColumnInfo(self._files[0].name, n, str(_TYPES.get(n, "text"))) for n in self._files[0].columns
        ]

    def _scan(self, name: str) -> _File:
        place = self._folder.path(name)
        numbers: list[int] = []
        starts: list[int] = []
        end = 0
        with self._folder.open(name) as stream:
            head = stream.readline()
            columns = csv_table.header(head, place, DELIMITER)
            known = (*_COMMON, *_LINEAR, *_HELICAL, *_HIT)
            csv_table.check_columns(columns, place, _REQUIRED, known, self.config.allow_extra_columns)
            end, rest = len(head), b""
            while block := stream.read(_SCAN_BYTES):
                rows, _, rest = (rest + block).rpartition(b"\n")
                if rows:
                    rows += b"\n"
                    _append_events(rows, end, columns, place, numbers, starts)
                    end += len(rows)
            if rest.strip():
                _append_events(rest, end, columns, place, numbers, starts)
                end += len(rest)
        ids = np.array(numbers, dtype=np.int64)
        begin = np.array(starts, dtype=np.int64)
        # A block may begin in the middle of an event.
        new = np.ones(len(ids), dtype=bool)
        new[1:] = ids[1:] != ids[:-1]
        begin = begin[new]
        return _File(name, place, columns, ids[new], begin, np.append(begin[1:], end)[: len(begin)])

    def _read_chunk(self, first: int, last: int) -> Chunk:
        k, offset = self._file_of_edge[self._starts.index(first)]
        file = self._files[k]
        a, b = first - offset, last - offset
        begin = int(file.starts[a])
        with self._folder.open(file.name) as stream:
            stream.seek(begin)
            data = stream.read(int(file.stops[b - 1]) - begin)
        cuts = [int(p) - begin for p in (*file.starts[a:b], file.stops[b - 1])]
        numbers = file.numbers[a:b]
        errors: dict[int, Exception] = {}
        try:
            columns = csv_table.parse(data, file.place, _TYPES, delimiter=DELIMITER, names=file.columns)
            runs = np.flatnonzero(np.diff(columns["event_id"])) + 1
            rows = Table(columns, np.concatenate([[0], runs, [len(columns["event_id"])]]).astype(np.int64))
        except InputError:
            tables = []
            for i, number in enumerate(numbers.tolist()):
                part = data[cuts[i] : cuts[i + 1]]
                try:
                    tables.append(
                        csv_table.parse(part, file.place, _TYPES, delimiter=DELIMITER, names=file.columns)
                    )
                except InputError as error:
                    errors[i] = EventError(f"event {number}: {error}")
                    tables.append({})
            rows = join(tables)
        return Chunk(first, numbers, self._hits(rows), self._particles_of(rows), errors)

    def _hits(self, rows: Table) -> Table:
        c = rows.columns
        if not c:
            empty = np.empty(0)
            return Table(
                {"x": empty, "y": empty, "z": empty, "hit_id": empty.astype(np.uint64)}, rows.offsets
            )
        r, theta = c["hit_r"], c["hit_theta"]
        hits = {"x": r * np.cos(theta), "y": r * np.sin(theta), "z": c["hit_z"], "hit_id": _hit_ids(rows)}
        if "sub_detector_id" in c:
            hits["layer_id"] = c["sub_detector_id"]
        if self._keys["truth_links"]:
            hits["particle_id"] = _particle_id(c["track_id"])
        return Table(hits, rows.offsets)

    def _particles_of(self, rows: Table) -> Table | None:
        if not self._keys["particles"]:
            return None
        c = rows.columns
        assert self._track_columns is not None
        if not c:
            names = ("vx", "vy", "vz", "px", "py", "pz", "q")
            return Table(
                {"particle_id": np.empty(0, np.uint64)} | dict.fromkeys(names, np.empty(0)), rows.offsets
            )
        event = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
        track = c["track_id"]
        real = np.flatnonzero(track >= 0)
        order = real[np.lexsort((track[real], event[real]))]
        new = np.ones(len(order), dtype=bool)
        new[1:] = (np.diff(track[order]) != 0) | (np.diff(event[order]) != 0)
        heads = order[new]
        lengths = np.diff(np.append(np.flatnonzero(new), len(order)))
        vertex, velocity = _line(self._track_columns, {n: c[n][heads] for n in self._track_columns})
        charge = np.zeros(len(heads)) if self._track_columns == _LINEAR else c["azimuthal_coeff"][heads]
        columns = {"particle_id": _particle_id(track[heads]), "q": charge, "nhits": lengths}
        for i, axis in enumerate("xyz"):
            columns[f"v{axis}"], columns[f"p{axis}"] = vertex[i], velocity[i]
        return Table(columns, np.searchsorted(event[heads], np.arange(len(rows) + 1)))


def _append_events(
    rows: bytes, position: int, columns: list[str], place: str, numbers: list[int], starts: list[int]
) -> None:
    """Note id and first byte of every event that begins in ``rows``, which start at byte ``position``."""
    types = {"event_id": INTEGER}
    try:
        ids = csv_table.parse(rows, place, types, delimiter=DELIMITER, names=columns)["event_id"]
    except InputError:
        ids = _ids_of_lines(rows, columns, numbers)
    text = np.frombuffer(rows, dtype=np.uint8)
    begin = np.concatenate([[0], np.flatnonzero(text == ord("\n")) + 1])
    begin = begin[begin < len(rows)]
    begin = begin[(text[begin] != ord("\n")) & (text[begin] != ord("\r"))]
    if len(begin) != len(ids):
        raise InputError(f"{place}: line breaks inside of quoted values are not supported")
    heads = (
        np.concatenate([[0], np.flatnonzero(np.diff(ids)) + 1]) if len(ids) else np.empty(0, dtype=np.int64)
    )
    numbers += ids[heads].tolist()
    starts += (begin[heads] + position).tolist()


def _ids_of_lines(rows: bytes, columns: list[str], before: list[int]) -> Array:
    """Event ids of rows with damaged ones among them, which are taken for rows of the event before them."""
    place, ids = columns.index("event_id"), []
    last = before[-1] if before else 0
    for line in rows.split(b"\n"):
        if line.strip(b"\r"):
            values = line.split(DELIMITER.encode())
            text = values[place].strip() if len(values) == len(columns) else b""
            if re.fullmatch(rb"-?\d{1,18}", text):
                last = int(text)
            ids.append(last)
    return np.array(ids, dtype=np.int64)


def _particle_id(track_id: Array) -> Array:
    return np.where(track_id < 0, 0, track_id + 1).astype(np.uint64)


def _hit_ids(rows: Table) -> Array:
    """hit_id, or row numbers where hit_id is absent or repeats only between tracks."""
    if "hit_id" not in rows.columns:
        return row_numbers(rows.offsets)
    ids: Array = rows.columns["hit_id"]
    event = np.repeat(np.arange(len(rows)), np.diff(rows.offsets))
    if not _repeats(event, ids) or "track_id" not in rows.columns:
        return ids
    return ids if _repeats(event, rows.columns["track_id"], ids) else row_numbers(rows.offsets)


def _repeats(*keys: Array) -> bool:
    order = np.lexsort(keys[::-1])
    same = np.ones(max(len(order) - 1, 0), dtype=bool)
    for key in keys:
        same &= np.diff(key[order]) == 0
    return bool(same.any())


def _line(names: tuple[str, ...], c: Columns) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Cartesian start point, and velocity per unit of t there, as the simulated REDVID events have them."""
    r0, theta0, z0, r1, theta1, z1 = (c[n] for n in names)
    # On straight tracks theta_d is the azimuth itself, on helices azimuthal_coeff is its change.
    azimuth = theta1 if names == _LINEAR else theta0
    return (r0 * np.cos(theta0), r0 * np.sin(theta0), z0), (r1 * np.cos(azimuth), r1 * np.sin(azimuth), z1)
