"""Tracks from any file of tracks that this package reads, recognised from the content."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from mltrack_plugin.errors import InputError
from mltrack_plugin.event_data import Tracks
from mltrack_plugin.io import (
    acts_tracks_csv,
    colliderml_tracks,
    root_file,
    root_tracks,
    trackml_submission,
    tracksummary,
)


class _Format(NamedTuple):
    tracks: Callable[[Path | str], Iterator[tuple[int, Tracks]]]
    meta: Callable[[Path | str], dict[str, str]]


def _submission_meta(path: Path | str) -> dict[str, str]:
    file = trackml_submission.sidecar_of(path)
    return json.loads(file.read_text()) if file.exists() else {}


_FORMATS = {
    "root-tracks": _Format(root_tracks.read_tracks, root_tracks.read_meta),
    "colliderml-tracks": _Format(
        colliderml_tracks.read_colliderml_tracks, colliderml_tracks.read_colliderml_meta
    ),
    "acts-tracks-csv": _Format(acts_tracks_csv.read_acts_tracks_csv, acts_tracks_csv.read_acts_tracks_meta),
    "trackml-submission": _Format(trackml_submission.read_trackml_submission, _submission_meta),
}


def read_tracks_any(path: Path | str) -> Iterator[tuple[int, Tracks]]:
    """Stream (event number, tracks) from a file or folder of tracks.

    Raises:
        InputError: if it does not exist, is no such file, or is damaged.
    """
    return _FORMATS[tracks_format(path)].tracks(path)


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
