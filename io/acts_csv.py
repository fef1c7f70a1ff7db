"""ACTS CSV: a folder or zip with ``event000000000-hits.csv``, ``-measurements.csv``, ``-spacepoint.csv``, ...

Simulated hits (``hits``), measurements with global positions, or space points are read, with particles of
``particles_simulated``, ``particles_initial`` or ``particles``. Truth of measurements and space points goes
through ``measurement-simhit-map``; of a measurement merged from several simulated hits the first in the map
counts, the others are dropped. ``hit_id`` is the row (simulated hits, space points) or the measurement_id.

Particle ids are barcodes packed into 64 bits (see :mod:`mltrack_plugin.event_data.barcodes`), from the five columns
particle_id_pv ... particle_id_subpart, or as the single column particle_id that older ACTS wrote. Times are
mm (c = 1); those of files of the time when ACTS wrote ns are known by hits that would come before light, and
``time_unit`` states the unit.
"""

from __future__ import annotations

import functools
import logging
from typing import Any, ClassVar, Literal

import numpy as np

from mltrack_plugin.detectors.geometry_ids import geometry_columns
from mltrack_plugin.errors import InputError
from mltrack_plugin.event_data.barcodes import pack_barcode
from mltrack_plugin.framework.source import Source
from mltrack_plugin.io import csv_table
from mltrack_plugin.io.csv_table import ID, INTEGER, NUMBER
from mltrack_plugin.io.event_folder import Columns, EventFolderConfig, EventFolderReader
from mltrack_plugin.io.reading import LENGTH_UNITS, MM_PER_NS
from mltrack_plugin.settings import Config

_BARCODE = tuple(f"particle_id_{part}" for part in ("pv", "sv", "part", "gen", "subpart"))
_HIT_NUMBERS = ("tx", "ty", "tz", "tt", "tpx", "tpy", "tpz", "te", "deltapx", "deltapy", "deltapz", "deltae")
_HITS = ("particle_id", *_BARCODE, "geometry_id", *_HIT_NUMBERS, "index")
_POSITION = ("global_x", "global_y", "global_z")
_MEASUREMENTS = (
    "measurement_id", "geometry_id", "local_key", "local0", "local1", "phi", "theta", "time",
    "var_local0", "var_local1", "var_phi", "var_theta", "var_time", *_POSITION,
)  # fmt: skip
_SPACEPOINTS = (
    "measurement_id_1", "measurement_id_2", "geometry_id_1", "geometry_id_2",
    "x", "y", "z", "t", "var_r", "var_z", "measurement_id", "geometry_id",
)  # fmt: skip
_MAP = ("measurement_id", "hit_id")
_PARTICLES = (
    "particle_id", *_BARCODE, "particle_type", "process", "vx", "vy", "vz", "vt", "px", "py", "pz", "m", "q",
)  # fmt: skip
_KINEMATICS = ("vx", "vy", "vz", "px", "py", "pz", "q")
_PARTICLE_STEMS = ("particles_simulated", "particles_initial", "particles")

#: Columns that a file must have, and those it may have.
_COLUMNS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "hits": (("geometry_id", "tx", "ty", "tz"), _HITS),
    "measurements": (("measurement_id", "geometry_id", *_POSITION), _MEASUREMENTS),
    "spacepoint": (("x", "y", "z"), _SPACEPOINTS),
    "measurement-simhit-map": (_MAP, _MAP),
    "particles": (_KINEMATICS, _PARTICLES),
}
#: Columns that only ACTS has together.
_TELLING = (
    {"geometry_id", "tx", "ty", "tz"},
    {"measurement_id", "geometry_id"},
    {"measurement_id_1", "x"},
)
_ID_TYPES = dict.fromkeys(("particle_id", *_BARCODE, "geometry_id"), ID)

#: Columns of time and position of the hits by collection.
_TIME_AND_POSITION = {
    "hits": ("tt", "tx", "ty", "tz"),
    "measurements": ("time", *_POSITION),
    "spacepoint": ("t", "x", "y", "z"),
}
#: Median time over median distance from the origin, both mm, below which times are no mm: 1/300 if they are ns.
_TOO_EARLY = 0.02

_log = logging.getLogger(__name__)


class ActsCsvConfig(EventFolderConfig):
    """Settings of the reader of ACTS CSV folders."""

    collection: Literal["auto", "spacepoints", "measurements", "hits"] = "auto"
    """Which hits to read; "auto" takes space points, else measurements with global positions, else
    simulated hits.
    """
    particles_stem: str | None = None
    """Name of the particle files between ``event...-`` and ``.csv``; found by itself by default."""

    time_unit: Literal["auto", "mm", "ns"] = "auto"
    """Unit of the times in the files: mm (c = 1), or ns, as old versions of ACTS wrote; "auto" = mm, unless the hits of
    the first event would then be where light from the origin comes far later (with a notice).
    """


class ActsCsvReader(EventFolderReader):
    """Reads ACTS CSV files, event by event."""

    Config: ClassVar[type[Config]] = ActsCsvConfig
    format_name = "acts-csv"

    @classmethod
    def recognises(cls, source: Source) -> float:
        """CSV with the columns of simulated hits, measurements or space points."""
        return 0.9 if any(hits <= table for table in source.tables for hits in _TELLING) else 0.0

    def _open_event_files(self) -> tuple[bool, bool]:
        config: ActsCsvConfig = self.config
        self._numbers = sorted(self._files)
        self._collection = self._choose(config.collection)
        stem = self._stem
        self._events_with(stem)
        place = self._folder.path(self._files[self._numbers[0]][stem])
        names = self._header(stem, *_COLUMNS[stem])
        if stem == "hits":
            _check_ids(names, place)
        self._particles_stem = config.particles_stem or self._stem_of_all(*_PARTICLE_STEMS)
        if self._particles_stem is not None:
            if self._stem_of_all(self._particles_stem) is None:
                raise InputError(
                    f"{self.source} has no event...-{self._particles_stem}.csv for its first event"
                )
            place = self._folder.path(self._files[self._numbers[0]][self._particles_stem])
            _check_ids(self._header(self._particles_stem, *_COLUMNS["particles"]), place)
        linked = self._stem_of_all("measurement-simhit-map") and self._stem_of_all("hits")
        return self._collection == "hits" or linked is not None, self._particles_stem is not None

    @property
    def _stem(self) -> str:
        """Name of the files of the collection that is read, between ``event...-`` and ``.csv``."""
        return {"spacepoints": "spacepoint"}.get(self._collection, self._collection)

    @functools.cached_property
    def _mm_per_time(self) -> float:
        if self.config.time_unit != "auto":
            return MM_PER_NS if self.config.time_unit == "ns" else 1.0
        stem = self._stem
        time, *position = _TIME_AND_POSITION[stem]
        for number in self._numbers:
            try:
                read = self._parse(number, stem, dict.fromkeys((time, *position), NUMBER), *_COLUMNS[stem])
            except InputError:
                continue
            with np.errstate(over="ignore", invalid="ignore"):  # whatever a damaged file holds
                far = LENGTH_UNITS[self.config.length_unit] * np.sqrt(sum(read[n] ** 2 for n in position))
            if len(far) and time in read:
                early = bool(np.median(np.abs(read[time])) < _TOO_EARLY * np.median(far))
                if early:
                    _log.warning(
                        "%s: times are taken as ns, since as mm the hits would be there long before light; "
                        "state the unit with reader: {time_unit: ns} or {time_unit: mm}",
                        self.source,
                    )
                return MM_PER_NS if early else 1.0
        return 1.0

    @property
    def hit_kind(self) -> str:
        """Which of the collections is read."""
        return self._collection

    def _choose(self, wanted: str) -> str:
        if wanted != "auto":
            return wanted
        there = self._files[self._numbers[0]]
        if "spacepoint" in there:
            return "spacepoints"
        if "measurements" in there:
            names = self._names("measurements")
            if set(_POSITION) <= set(names) or "hits" not in there:
                return "measurements"
        return "hits"

    def _names(self, stem: str) -> list[str]:
        """Column names of the first event's file that has a line of them."""
        first: InputError | None = None
        for name in (self._files[n][stem] for n in self._numbers if stem in self._files[n]):
            try:
                return csv_table.header(self._folder.first_line(name), self._folder.path(name))
            except InputError as error:
                first = first or error
        raise first or InputError(f"{self.source} has no event...-{stem}.csv")

    def _read_event(self, number: int) -> tuple[Columns, Columns | None]:
        truth = self._keys["truth_links"] is not None
        if self._collection == "hits":
            hits = self._simulated_hits(number, positions=True)
            if not truth:
                del hits["particle_id"]
        else:
            hits, measurement_id = self._measured(number)
            if truth:
                hits["particle_id"] = self._linked_particles(number, measurement_id)
        return hits, self._read_particles(number) if self._keys["particles"] else None

    def _simulated_hits(self, number: int, *, positions: bool) -> Columns:
        types = {**_ID_TYPES, **(dict.fromkeys(("tx", "ty", "tz", "tt"), NUMBER) if positions else {})}
        read = self._parse(number, "hits", types, *_COLUMNS["hits"])
        ids = _particle_ids(read, self._folder.path(self._files[number]["hits"]))
        if not positions:
            return {"particle_id": ids}
        hits = {"x": read["tx"], "y": read["ty"], "z": read["tz"], "particle_id": ids}
        hits["hit_id"] = np.arange(len(ids), dtype=np.uint64)
        if "tt" in read:
            hits["time"] = read["tt"] * self._mm_per_time
        return hits | geometry_columns(read["geometry_id"])

    def _measured(self, number: int) -> tuple[Columns, Any]:
        """Measurements or space points, and the measurement that gives the truth of each."""
        if self._collection == "measurements":
            types = {"measurement_id": ID, "geometry_id": ID, **dict.fromkeys((*_POSITION, "time"), NUMBER)}
            read = self._parse(number, "measurements", types, *_COLUMNS["measurements"])
            hits = {c: read[n] for c, n in zip("xyz", _POSITION, strict=True)}
            hits["hit_id"] = read["measurement_id"]
            if "time" in read:
                hits["time"] = read["time"] * self._mm_per_time
            return hits | geometry_columns(read["geometry_id"]), read["measurement_id"]
        ids = ("measurement_id_1", "measurement_id", "geometry_id_1", "geometry_id")
        types = {**dict.fromkeys(ids, ID), **dict.fromkeys(("x", "y", "z", "t"), NUMBER)}
        read = self._parse(number, "spacepoint", types, *_COLUMNS["spacepoint"])
        hits = {c: read[c] for c in "xyz"} | {"hit_id": np.arange(len(read["x"]), dtype=np.uint64)}
        if "t" in read:
            hits["time"] = read["t"] * self._mm_per_time
        measurement = read.get("measurement_id_1", read.get("measurement_id"))
        geometry = read.get("geometry_id_1", read.get("geometry_id"))
        if measurement is None or geometry is None:
            place = self._folder.path(self._files[number]["spacepoint"])
            raise InputError(f"{place} has no column 'measurement_id_1' or 'geometry_id_1'")
        return hits | geometry_columns(geometry), measurement

    def _linked_particles(self, number: int, measurement_id: Any) -> Any:
        """Particle of the first simulated hit of each measurement; 0 where there is none."""
        stem = "measurement-simhit-map"
        links = self._parse(number, stem, {"measurement_id": ID, "hit_id": INTEGER}, *_COLUMNS[stem])
        particle = self._simulated_hits(number, positions=False)["particle_id"]
        if len(links["hit_id"]) and not 0 <= links["hit_id"].min() <= links["hit_id"].max() < len(particle):
            place = self._folder.path(self._files[number][stem])
            raise InputError(
                f"{place}: hit_id {links['hit_id'].max()} points nowhere, there are {len(particle)} hits"
            )
        known, first = np.unique(links["measurement_id"], return_index=True)
        result = np.zeros(len(measurement_id), dtype=np.uint64)
        if len(known):
            position = np.minimum(np.searchsorted(known, measurement_id), len(known) - 1)
            found = known[position] == measurement_id
            result[found] = particle[links["hit_id"][first[position[found]]]]
        return result

    def _read_particles(self, number: int) -> Columns:
        assert self._particles_stem is not None
        types = {**_ID_TYPES, "particle_type": INTEGER, **dict.fromkeys(_KINEMATICS, NUMBER)}
        read = self._parse(number, self._particles_stem, types, *_COLUMNS["particles"])
        ids = _particle_ids(read, self._folder.path(self._files[number][self._particles_stem]))
        particles = {"particle_id": ids} | {n: read[n] for n in _KINEMATICS}
        if "particle_type" in read:
            particles["pdg_id"] = read["particle_type"]
        return particles


def _particle_ids(columns: Columns, place: str) -> Any:
    """Packed barcodes."""
    _check_ids(list(columns), place)
    if "particle_id" in columns:
        return columns["particle_id"]
    return pack_barcode(*(columns[n] for n in _BARCODE))


def _check_ids(names: list[str], place: str) -> None:
    """Raise InputError unless there is the single column, or all five parts of the barcode."""
    missing = [n for n in _BARCODE if n not in names]
    if "particle_id" not in names and missing:
        raise InputError(f"{place} has no column {missing[0]!r} (nor 'particle_id')")
