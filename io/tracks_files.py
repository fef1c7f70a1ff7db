"""Tracks from any file of tracks that this package reads, recognised from the content."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mltrack_plugin.errors import InputError
from mltrack_plugin.event_data import EventTracks, Tracks
from mltrack_plugin.event_data.file_tracks import UNKNOWN_HITS, HitIdentity
from mltrack_plugin.event_data.tracks import PERIGEE_PARAMETERS
from mltrack_plugin.io import (
    acts_tracks_csv,
    colliderml_tracks,
    root_file,
    root_tracks,
    trackml_submission,
    tracksummary,
)
from mltrack_plugin.io.guarded import read_facts
from mltrack_plugin.io.track_rows import TrackRows


class _Format(NamedTuple):
    tracks: Callable[[Path | str], Iterator[tuple[int, Tracks]]]
    meta: Callable[[Path | str], dict[str, str]]


def _submission_meta(path: Path | str) -> dict[str, str]:
    return read_facts(trackml_submission.sidecar_of(path))


_FORMATS = {
    "root-tracks": _Format(root_tracks.read_tracks, root_tracks.read_meta),
    "colliderml-tracks": _Format(
        colliderml_tracks.read_colliderml_tracks, colliderml_tracks.read_colliderml_meta
    ),
    "acts-tracks-csv": _Format(acts_tracks_csv.read_acts_tracks_csv, acts_tracks_csv.read_acts_tracks_meta),
    "trackml-submission": _Format(trackml_submission.read_trackml_submission, _submission_meta),
}


def read_tracks(path: Path | str | os.PathLike[str]) -> EventTracks:
    """The tracks of a file or folder in any format of this package that keeps the hits of each track.

    Nothing is read before it is asked for; each pass over the events streams the file.

    Raises:
        InputError: when it is read, if it does not exist, is no such file, or is damaged.
    """
    return EventTracks(lambda: read_tracks_any(os.fspath(path)), os.fspath(path))


def read_tracks_any(path: Path | str) -> Iterator[tuple[int, Tracks]]:
    """Stream (event number, tracks) from a file or folder of tracks.

    Raises:
        InputError: if it does not exist, is no such file, or is damaged.
    """
    return _FORMATS[tracks_format(path)].tracks(path)


def read_rows_any(path: Path | str) -> Iterator[TrackRows]:
    """As :func:`read_tracks_any`, for tracks that may share hits; the order of the tracks is that of the file.

    Raises:
        InputError: if it does not exist, is no such file, or is damaged.
    """
    kind = tracks_format(path)
    if kind == "colliderml-tracks":
        yield from colliderml_tracks.read_colliderml_rows(path)
    elif kind == "acts-tracks-csv":
        yield from acts_tracks_csv.read_acts_tracks_rows(path)
    else:
        for number, tracks in _FORMATS[kind].tracks(path):
            names = (*PERIGEE_PARAMETERS, "covariance")
            columns = {n: c for n in names if (c := getattr(tracks, n)) is not None}
            yield TrackRows(number, f"{path}, event {number}", tracks.n_hits, tracks.hit_indices, columns)


def read_event_numbers(path: Path | str) -> list[int]:
    """Numbers of all events in a file or folder of tracks, in its order.

    Raises:
        InputError: as for :func:`read_tracks_any`, or if a number occurs twice.
    """
    kind = tracks_format(path)
    if kind == "root-tracks":
        numbers = [number for number, _ in root_tracks.read_numbers(path)]
    elif kind == "acts-tracks-csv":
        numbers = [number for number, _ in acts_tracks_csv.track_files(path)]
    else:
        numbers = [rows.event_number for rows in read_rows_any(path)]
    if len(set(numbers)) != len(numbers):
        raise InputError(f"{path} holds some event numbers twice; it cannot be matched to its input")
    return numbers


def read_tracks_with_identities(path: Path | str) -> Iterator[tuple[int, Tracks, HitIdentity]]:
    """As :func:`read_tracks_any`, with what the file says about the hits that its tracks were made from.

    Tracks of a submission are all its groups of hits, that of track 0 among them.

    Raises:
        InputError: as for :func:`read_tracks_any`.
    """
    if tracks_format(path) == "trackml-submission":
        return trackml_submission.read_listed_tracks(path)
    pairs = zip(read_tracks_any(path), _identities(path), strict=False)
    return ((number, tracks, identity) for (number, tracks), identity in pairs)


def read_rows_with_identities(path: Path | str) -> Iterator[tuple[TrackRows, HitIdentity]]:
    """As :func:`read_tracks_with_identities`, for tracks that may share hits.

    Raises:
        InputError: as for :func:`read_tracks_any`.
    """
    if tracks_format(path) == "trackml-submission":
        return (
            (TrackRows(number, f"{path}, event {number}", tracks.n_hits, tracks.hit_indices, {}), identity)
            for number, tracks, identity in trackml_submission.read_listed_tracks(path)
        )
    return zip(read_rows_any(path), _identities(path), strict=False)


def _identities(path: Path | str) -> Iterator[HitIdentity]:
    """What a file says about its hits, event by event; for formats that keep nothing the stream has no end."""
    kind = tracks_format(path)
    if kind == "root-tracks":
        counts = (n for _, n in root_tracks.read_numbers(path))
        return (HitIdentity(n, ids) for n, ids in zip(counts, root_tracks.read_hit_ids(path), strict=True))
    if kind == "acts-tracks-csv" and not acts_tracks_csv.read_acts_tracks_meta(path):
        # What ACTS itself writes counts measurements.
        return itertools.repeat(HitIdentity(kind="measurements"))
    return itertools.repeat(UNKNOWN_HITS)


def read_meta_any(path: Path | str) -> dict[str, str]:
    """The facts about the job that wrote the tracks, as far as the file has them.

    Raises:
        InputError: as for :func:`read_tracks_any`.
    """
    return _FORMATS[tracks_format(path)].meta(path)


def tracks_format(path: Path | str) -> str:
    """Name of the writer whose format the file has.

    Raises:
        InputError: if it does not exist or holds no tracks with hit indices.
    """
    place = Path(path)
    if place.is_dir():
        if acts_tracks_csv.track_files(place) or (place / acts_tracks_csv.META_FILE).exists():
            return "acts-tracks-csv"
        raise InputError(f"the folder {str(path)!r} holds no files like event000000000-tracks.csv")
    try:
        with open(place, "rb") as file:
            head = file.read(200)
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if head.startswith(b"root"):
        return _root_format(path)
    if head.startswith(b"PAR1"):
        return "colliderml-tracks"
    first_line = head.split(b"\n")[0].strip().replace(b'"', b"")
    if first_line == trackml_submission.HEADER.encode():
        return "trackml-submission"
    raise InputError(
        f"{str(path)!r} is no file of tracks (known: ROOT tracks, ColliderML Parquet, ACTS tracks CSV "
        "folder, TrackML submission)"
    )


def _root_format(path: Path | str) -> str:
    with root_file.open_root(str(path)) as file:
        trees = root_file.trees(file)
    if root_tracks.TREE in trees:
        return "root-tracks"
    if tracksummary.TREE in trees:
        raise InputError(
            f"{str(path)!r} is a tracksummary file, which does not say which hits are on a track; "
            "write the tracks with another writer"
        )
    raise InputError(
        f"{str(path)!r} has no tree {root_tracks.TREE!r}, only: {', '.join(sorted(trees)) or 'none'}"
    )
