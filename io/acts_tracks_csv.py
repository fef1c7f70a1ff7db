"""Tracks as CSV files of ACTS: a folder with ``event%09d-tracks.csv`` and ``event%09d-params.csv`` per event.

The columns are those of ``CsvTrackWriter`` and ``CsvTrackParameterWriter``. The former has no impact
parameters, hence the latter. Numbers are written with all their digits, so that they come back exactly.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mltrack_plugin.atomic import AtomicFolder
from mltrack_plugin.errors import InputError, OutputError, did_you_mean
from mltrack_plugin.event_data import Hits, Tracks, TruthLinks
from mltrack_plugin.event_data.barcodes import barcode_parts
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.event_data.tracks import PERIGEE_PARAMETERS
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.guarded import guarded, read_facts, read_text
from mltrack_plugin.io.root_tracks import check_indices
from mltrack_plugin.io.track_rows import TrackRows
from mltrack_plugin.io.track_truth import (
    DUPLICATE,
    FAKE,
    MATCHED,
    UNKNOWN,
    TrackTruth,
    track_truth,
)
from mltrack_plugin.settings import Config as BaseConfig

#: Facts about the job, and the sign that the folder was written by this package.
META_FILE = "meta.json"
TRACK_COLUMNS = (
    *(
        "track_id",
        "seed_id",
        "particleId",
        "nStates",
        "nMajorityHits",
        "nMeasurements",
        "nOutliers",
        "nHoles",
    ),
    *("nSharedHits", "chi2", "ndf", "chi2/ndf", "pT", "eta", "phi", "truthMatchProbability"),
    *("good/duplicate/fake", "Measurements_ID"),
)
PARAMETER_COLUMNS = (
    "trackId",
    *PERIGEE_PARAMETERS,
    *(f"var_{p}" for p in PERIGEE_PARAMETERS),
    *(f"cov_{a}{b}" for a in PERIGEE_PARAMETERS for b in PERIGEE_PARAMETERS if a != b),
)
_OFF_DIAGONAL = [(i, j) for i in range(5) for j in range(5) if i != j]
_WORDS = {UNKNOWN: "unknown", MATCHED: "good", DUPLICATE: "duplicate", FAKE: "fake"}
_TRACK_FILE = re.compile(r"event(\d{9,})-(tracks\w*)\.csv")


class ActsTracksCsvWriter(Writer):
    """Writes a folder with two files per event, and the facts about the job in ``meta.json``.

    ``Measurements_ID`` are hit indices, which are the measurement ids of ACTS input. Without truth, the class
    of a track is "unknown" and its particle all zero.
    """

    format_name: ClassVar[str] = "acts-tracks-csv"

    class Config(BaseConfig):
        """Settings."""

        path: str
        """Output folder."""
        overwrite: bool = False
        """Replace a folder that this writer made."""
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
        self._folder: AtomicFolder | None = None

    def initialize(self) -> None:
        """Make the temporary folder.

        Raises:
            OutputError: if the output exists already or cannot be written.
        """
        self._folder = AtomicFolder(self.config.path, overwrite=self.config.overwrite, marker=META_FILE)

    def write(self, event_store: EventStore) -> None:
        """Write the files of one event.

        Raises:
            OutputError: if the event number was written already, or the disk is full.
        """
        number, tracks = event_store.event_number, self._tracks(event_store)
        check_indices(number, tracks, len(self._hits(event_store)))
        truth = track_truth(tracks, self._truth_links.get(event_store))
        folder = self._opened()
        folder.write(f"event{number:09d}-tracks.csv", _track_csv(tracks, truth))
        folder.write(f"event{number:09d}-params.csv", _parameter_csv(tracks))

    def finalize(self) -> None:
        """Write the metadata and give the folder its name; on failure nothing is left.

        Raises:
            OutputError: if the disk is full and the like.
        """
        try:
            folder = self._opened()
            folder.write(META_FILE, json.dumps(dict(self._info), indent=1, sort_keys=True).encode())
            folder.commit()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Remove everything written so far."""
        if self._folder is not None:
            self._folder.abort()

    def _opened(self) -> AtomicFolder:
        if self._folder is None:
            raise OutputError(f"{self.name}: initialize() must be called before writing {self.config.path!r}")
        return self._folder


def _track_csv(tracks: Tracks, truth: TrackTruth) -> bytes:
    return "\n".join([",".join(TRACK_COLUMNS), *_track_rows(tracks, truth), ""]).encode()


def _track_rows(tracks: Tracks, truth: TrackTruth) -> Iterator[str]:
    parts = np.column_stack(barcode_parts(truth.particle_id)).tolist()
    chi2, ndf, phi = (_array(c) for c in (tracks.chi2, tracks.ndf, tracks.phi))
    with np.errstate(divide="ignore", invalid="ignore"):
        floats = np.column_stack([chi2, chi2 / ndf, tracks.pt, tracks.eta, phi]).tolist()
    integers = np.column_stack([tracks.n_hits, truth.n_majority, ndf, truth.classification]).tolist()
    for i, (n, majority, dof, kind) in enumerate(integers):
        pv, sv, particle, generation, sub = parts[i]
        total, reduced, pt, eta, angle = floats[i]
        measurements = "".join(f"{index}," for index in tracks.hits_of(i).tolist())
        yield (
            f"{i},{i},vp={pv}|vs={sv}|p={particle}|g={generation}|sp={sub},{n},{majority},{n},0,0,0,"
            f"{total!r},{dof},{reduced!r},{pt!r},{eta!r},{angle!r},{majority / n!r},"
            f'{_WORDS[kind]},"[{measurements}]"'
        )


def _parameter_csv(tracks: Tracks) -> bytes:
    n = len(tracks)
    covariance = np.full((n, 5, 5), np.nan) if tracks.covariance is None else tracks.covariance
    columns = [np.arange(n), *(_array(getattr(tracks, p)) for p in PERIGEE_PARAMETERS)]
    columns += [covariance[:, i, i] for i in range(5)] + [covariance[:, i, j] for i, j in _OFF_DIAGONAL]
    # Faster than formatting in Python, and with all digits too.
    rows = pa.BufferOutputStream()
    table = pa.table([pa.array(np.ascontiguousarray(c)) for c in columns], names=PARAMETER_COLUMNS)
    pa.csv.write_csv(table, rows, pa.csv.WriteOptions(include_header=False, quoting_style="none"))
    return b"".join([",".join(PARAMETER_COLUMNS).encode(), b"\n", rows.getvalue()])


def _array(column: Array | None) -> Array:
    """A column that Tracks fills in if it is not given."""
    return np.asarray(column)


def read_acts_tracks_csv(path: Path | str) -> Iterator[tuple[int, Tracks]]:
    """Stream the tracks of a folder with ACTS ``tracks`` CSV files, in the order of the event numbers.

    Reads what :class:`ActsTracksCsvWriter` wrote and what ACTS writes (``tracks_ckf.csv``). Without a params
    file phi and theta come from the tracks file, d0, z0 and q/p are NaN.

    Yields:
        event number and tracks.

    Raises:
        InputError: naming file, event and column, if something is missing or damaged, or a hit is on two
            tracks.
    """
    for rows in read_acts_tracks_rows(path):
        yield rows.event_number, rows.tracks()


def read_acts_tracks_rows(path: Path | str) -> Iterator[TrackRows]:
    """As :func:`read_acts_tracks_csv`, for tracks that may share hits.

    Raises:
        InputError: naming file, event and column, if something is missing or damaged.
    """
    for number, file in track_files(path):
        place = f"{str(file)!r}, event {number}"
        rows = _read_rows(file, ("track_id", "chi2", "ndf", "eta", "phi", "Measurements_ID"))
        try:
            hits = [
                [int(index) for index in row["Measurements_ID"].strip("[]").split(",") if index]
                for row in rows
            ]
            columns = {
                "chi2": np.array([float(row["chi2"]) for row in rows]),
                "ndf": np.array([int(row["ndf"]) for row in rows], dtype=np.int32),
            }
            parameters = file.with_name(f"event{file.name[5:].split('-')[0]}-params.csv")
            if parameters.exists():
                columns |= _read_parameters(parameters, [row["track_id"] for row in rows])
            else:
                columns["phi"] = np.array([float(row["phi"]) for row in rows])
                columns["theta"] = 2 * np.arctan(np.exp(-np.array([float(row["eta"]) for row in rows])))
            counts = np.array([len(h) for h in hits], dtype=np.int64)
            indices = np.array([index for h in hits for index in h], dtype=np.int64)
        except (ValueError, OverflowError) as error:
            raise InputError(f"{place}: {error}") from error
        yield TrackRows(number, place, counts, indices, columns)


def track_files(path: Path | str) -> list[tuple[int, Path]]:
    """(event number, file) of the track files in a folder, by event number.

    Raises:
        InputError: if there is no such folder, or it has tracks of several names (``-tracks_ckf``,
            ``-tracks_ambi``).
    """
    folder = Path(path)
    if not folder.is_dir():
        raise InputError(f"no such folder: {str(path)!r}")
    found = [(match, file) for file in folder.iterdir() if (match := _TRACK_FILE.fullmatch(file.name))]
    stems = sorted({match[2] for match, _ in found})
    if len(stems) > 1:
        raise InputError(
            f"{str(path)!r} holds several kinds of tracks ({', '.join(stems)}); keep one in the folder"
        )
    return sorted((int(match[1]), file) for match, file in found)


def read_acts_tracks_meta(path: Path | str) -> dict[str, str]:
    """The facts about the job; empty if the folder has no ``meta.json``."""
    return read_facts(Path(path) / META_FILE)


def _read_rows(file: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    text = read_text(file)
    with guarded(repr(str(file))):
        reader = csv.DictReader(io.StringIO(text))
        names = reader.fieldnames or []
        for name in needed:
            if name not in names:
                raise InputError(f"{str(file)!r} has no column {name!r}. {did_you_mean(name, names)}")
        rows = list(reader)
    for i, row in enumerate(rows):
        if None in row or None in row.values():
            raise InputError(f"{str(file)!r}, line {i + 2}: another number of values than columns")
    return rows


def _read_parameters(file: Path, track_ids: list[str]) -> dict[str, Array]:
    """Perigee parameters and covariance of the tracks with the given ids, in that order."""
    rows = {row["trackId"]: row for row in _read_rows(file, PARAMETER_COLUMNS)}
    if missing := [i for i in track_ids if i not in rows]:
        raise ValueError(f"track {missing[0]} has no parameters in {file.name!r}")
    names = PARAMETER_COLUMNS[1:]
    table = np.array([[float(rows[i][n]) for n in names] for i in track_ids]).reshape(-1, len(names))
    columns: dict[str, Array] = {p: table[:, i] for i, p in enumerate(PERIGEE_PARAMETERS)}
    covariance = np.empty((len(table), 5, 5))
    for i in range(5):
        covariance[:, i, i] = table[:, 5 + i]
    for k, (i, j) in enumerate(_OFF_DIAGONAL):
        covariance[:, i, j] = table[:, 10 + k]
    if np.isfinite(covariance).any():
        columns["covariance"] = covariance
    return columns
