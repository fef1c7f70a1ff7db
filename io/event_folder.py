"""Base of the readers of folders or zip archives with CSV files per event: ``event000000123-hits.csv``."""

from __future__ import annotations

import logging
import multiprocessing
import re
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError, EventError, InputError, did_you_mean
from mltrack_plugin.io import csv_table, storage
from mltrack_plugin.io.columns import Chunk, join, noise_advice
from mltrack_plugin.io.reading import ColumnInfo, EventReader, ReaderConfig, even_edges
from mltrack_plugin.settings import Config

Array = npt.NDArray[Any]
Columns = dict[str, Array]

_log = logging.getLogger(__name__)
_NAME = re.compile(r"^(?P<folder>(?:.*/)?)event(?P<number>\d+)-(?P<stem>[^/]+?)\.csv(?:\.gz|\.bz2|\.xz)?$")


class EventFolderConfig(ReaderConfig):
    """Settings of the readers of CSV folders."""

    allow_extra_columns: bool = False
    """Ignore columns that the format does not know, instead of refusing the file."""


class EventFolderReader(EventReader):
    """Reads one event's files at a time; a file that is wrong spoils its event only.

    The path is a folder, a zip archive, or one file of an event (then only this event is read).
    """

    Config: ClassVar[type[Config]] = EventFolderConfig

    @abstractmethod
    def _open_event_files(self) -> tuple[bool, bool]:
        """Choose the files to read from ``self._files`` and check the first event's columns.

        Returns:
            Whether there is truth, and whether there are particles.
        """

    @abstractmethod
    def _read_event(self, number: int) -> tuple[Columns, Columns | None]:
        """Hit (with truth) and particle columns of one event; raises InputError or EventDataError."""

    def initialize(self) -> None:
        """List the files and look into the first event's.

        Raises:
            InputError: if there are no events, or the first event's files lack columns.
        """
        path = self.config.path
        self._folder = storage.open_folder(path)
        self._info: list[ColumnInfo] = []
        self._files: dict[int, dict[str, str]] = {}
        single = None
        if storage.kind_of(path) == "file" and not storage.is_zip(path):
            single = _NAME.match(path)
            if single is None:
                raise InputError(
                    f"{path}: files of this format are named like event000000123-hits.csv; give the "
                    "folder or such a file"
                )
        strangers = []
        for name in self._folder.names:
            if (match := _NAME.match(name)) is None:
                strangers.append(name)
                continue
            number = int(match["number"])
            if number >= 2**64:
                raise InputError(f"{path}: the event number of {name!r} does not fit into 64 bits; rename it")
            if single is not None and number != int(single["number"]):
                continue
            files = self._files.setdefault(number, {})
            if match["stem"] in files:
                raise InputError(
                    f"{path} has two files for {match['stem']!r} of event {number}: "
                    f"{files[match['stem']]} and {name}"
                )
            files[match["stem"]] = name
        if not self._files:
            names = self._folder.names
            raise InputError(
                f"{path} holds no events: there is no file named like event000000123-hits.csv. "
                f"{'It holds: ' + ', '.join(names[:5]) if names else 'It is empty.'}"
            )
        self._say(strangers)
        truth, particles = self._open_event_files()
        if not self._numbers:
            raise InputError(f"{path} holds no events")
        self._plan(even_edges(len(self._numbers), 1), truth=truth, particles=particles)

    def _say(self, strangers: list[str]) -> None:
        """Name the files that are not read because their names fit no event."""
        if not self._folder.is_archive:
            # Folders hold much else by right; an archive's directory may be damaged.
            strangers = [n for n in strangers if n.startswith("event") and ".csv" in n]
        # Worker processes open the input again.
        if strangers and multiprocessing.parent_process() is None:
            shown = ", ".join(map(repr, strangers[:5])) + (" and more" if len(strangers) > 5 else "")
            _log.warning(
                "%s: %d of its files fit no event and are not read: %s", self.source, len(strangers), shown
            )

    def column_info(self) -> list[ColumnInfo]:
        """Columns of the first event's files."""
        return self._info

    def _events_with(self, stem: str) -> list[int]:
        """Numbers of the events that have a file, ascending; raises InputError if none has."""
        numbers = sorted(n for n, files in self._files.items() if stem in files)
        if not numbers:
            stems = {s for files in self._files.values() for s in files}
            raise InputError(f"{self.source} has no event...-{stem}.csv. {did_you_mean(stem, stems)}")
        self._numbers = numbers
        return numbers

    def _stem_of_all(self, *stems: str) -> str | None:
        """The first stem that the first event has a file for."""
        there = self._files[self._numbers[0]]
        return next((s for s in stems if s in there), None)

    def _header(self, stem: str, required: tuple[str, ...], known: tuple[str, ...]) -> list[str]:
        """Column names of the first event's file that has a good header, noted for ``column_info``.

        Raises:
            InputError: about the first event's file, if no event has a good one.
        """
        first: InputError | None = None
        for name in (self._files[n][stem] for n in self._numbers if stem in self._files[n]):
            place = self._folder.path(name)
            try:
                names = csv_table.header(self._folder.first_line(name), place)
                csv_table.check_columns(names, place, required, known, self.config.allow_extra_columns)
            except InputError as error:
                first = first or error
                continue
            self._info += [ColumnInfo(stem, n, "text") for n in names]
            return names
        raise first or InputError(f"{self.source} has no event...-{stem}.csv")

    def _parse(
        self, number: int, stem: str, types: dict[str, Any], required: tuple[str, ...], known: tuple[str, ...]
    ) -> Columns:
        """Columns of one file of one event."""
        name = self._files[number].get(stem)
        if name is None:
            raise InputError(f"{self.source} has no file event{number:09d}-{stem}.csv, other events have it")
        data, place = self._folder.read(name), self._folder.path(name)
        there = csv_table.header(data, place)
        csv_table.check_columns(there, place, required, known, self.config.allow_extra_columns)
        noise = self.config.noise_particle
        if noise is not None and noise < 0 and "particle_id" in types:
            types = types | {"particle_id": csv_table.INTEGER}
        try:
            return csv_table.parse(data, place, types)
        except InputError as error:
            # pyarrow quotes the value.
            if match := re.search(r"column 'particle_id': .*'(-\d+)'", str(error)):
                raise InputError(f"{error}. {noise_advice(match[1])}") from error
            raise

    def _read_chunk(self, first: int, last: int) -> Chunk:
        hits: list[Columns] = []
        particles: list[Columns] = []
        errors: dict[int, Exception] = {}
        with_particles = self._keys["particles"] is not None
        for i, number in enumerate(self._numbers[first:last]):
            try:
                event_hits, event_particles = self._read_event(number)
            except (InputError, EventDataError) as error:
                errors[i] = EventError(f"event {number}: {error}")
                event_hits, event_particles = {}, None
            hits.append(event_hits)
            particles.append(event_particles or {})
        numbers = np.array(self._numbers[first:last], dtype=np.uint64)
        return Chunk(first, numbers, join(hits), join(particles) if with_particles else None, errors)
