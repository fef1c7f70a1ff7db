"""Tracks in this package's own ROOT layout (see docs/formats.md): writer and exact reader."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from mltrack_plugin.errors import EventDataError, InputError, OutputError
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.event_data.tracks import COVARIANCE_COLUMNS, PERIGEE_PARAMETERS, UPPER_TRIANGLE
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io import root_file
from mltrack_plugin.io.root_output import Column
from mltrack_plugin.io.root_writer import Chunk, RootWriter, RootWriterConfig, joined

TREE = "tracks"
#: Columns that a collection of tracks may lack; a flag per event says whether it had them.
_OPTIONAL = ("covariance", "quality", "membership", "hit_chi2")
_PER_TRACK = {
    **dict.fromkeys((*PERIGEE_PARAMETERS, "chi2"), "f8"),
    "ndf": "i4",
    "quality": "f4",
    "n_hits": "i4",
}
_PER_HIT = {"hit_index": "i8", "hit_id": "u8", "membership": "f4", "hit_chi2": "f4"}
_COLUMNS = {
    "event_number": Column("u8"),
    "n_event_hits": Column("u4"),
    **{f"has_{name}": Column("u1") for name in _OPTIONAL},
    **{name: Column(dtype, "n_tracks") for name, dtype in _PER_TRACK.items()},
    **{name: Column("f8", "n_tracks") for name in COVARIANCE_COLUMNS},
    **{name: Column(dtype, "n_hit_indices") for name, dtype in _PER_HIT.items()},
}
#: Bytes decoded at once by the reader.
_READ_BYTES = 16_000_000


class _Event(NamedTuple):
    event_number: int
    n_hits: int
    tracks: Tracks
    hit_id: npt.NDArray[Any]


class RootTracksWriter(RootWriter):
    """Writes tracks: one entry per event, hit indices and hit ids of every track, the job in ``meta``."""

    format_name: ClassVar[str] = "root-tracks"
    content_name = "mltrack-tracks"

    class Config(RootWriterConfig):
        """Settings."""

        tracks: str = "tracks"
        """Event store key of the tracks (input)."""
        hits: str = "hits"
        """Event store key of the hits (input)."""

    def __init__(self, config: RootWriterConfig | Mapping[str, Any] | None = None, **settings: Any) -> None:
        super().__init__(config, **settings)
        self._tracks = self.read_handle(Tracks, self.config.tracks)
        self._hits = self.read_handle(Hits, self.config.hits)

    def _collect(self, event_store: EventStore) -> tuple[_Event, int]:
        tracks, hits = self._tracks(event_store), self._hits(event_store)
        check_indices(event_store.event_number, tracks, len(hits))
        event = _Event(event_store.event_number, len(hits), tracks, hits.hit_id[tracks.hit_indices])
        return event, 200 * len(tracks) + 24 * len(tracks.hit_indices)

    def _schema(self, events: Sequence[_Event]) -> dict[str, dict[str, Column]]:
        return {TREE: _COLUMNS}

    def _chunk(self, events: Sequence[_Event]) -> dict[str, Chunk]:
        tracks = [e.tracks for e in events]
        n_tracks = np.array([len(t) for t in tracks])
        n_entries = np.array([len(t.hit_indices) for t in tracks])
        values: dict[str, npt.NDArray[Any]] = {
            "event_number": np.array([e.event_number for e in events], dtype=np.uint64),
            "n_event_hits": np.array([e.n_hits for e in events], dtype=np.uint32),
            "n_hits": joined([t.n_hits for t in tracks], np.int32),
            "hit_index": joined([t.hit_indices for t in tracks], np.int64),
            "hit_id": joined([e.hit_id for e in events], np.uint64),
            "membership": _joined_or_nan(tracks, "membership", n_entries),
            "hit_chi2": _joined_or_nan(tracks, "hit_chi2", n_entries),
            "quality": _joined_or_nan(tracks, "quality", n_tracks),
        }
        for name in _OPTIONAL:
            values[f"has_{name}"] = np.array([getattr(t, name) is not None for t in tracks], dtype=np.uint8)
        for name in (*PERIGEE_PARAMETERS, "chi2", "ndf"):
            values[name] = joined([getattr(t, name) for t in tracks], _PER_TRACK[name])
        covariance = _joined_or_nan(tracks, "covariance", n_tracks, (5, 5))
        upper = covariance[:, *UPPER_TRIANGLE]
        values |= {name: upper[:, i] for i, name in enumerate(COVARIANCE_COLUMNS)}
        return {TREE: Chunk(values, {"n_tracks": n_tracks, "n_hit_indices": n_entries})}


def check_indices(event_number: int, tracks: Tracks, n_hits: int) -> None:
    """Raise ``OutputError`` if a hit index of the tracks is not a row of the hits."""
    if len(tracks.hit_indices) and int(tracks.hit_indices.max()) >= n_hits:
        raise OutputError(
            f"event {event_number}: hit index {tracks.hit_indices.max()} on a track, "
            f"but the event has {n_hits} hits"
        )


def _joined_or_nan(
    tracks: Sequence[Tracks], name: str, lengths: npt.NDArray[Any], shape: tuple[int, ...] = ()
) -> npt.NDArray[Any]:
    columns = [getattr(t, name) for t in tracks]
    dtype = next((c.dtype for c in columns if c is not None), np.dtype(np.float32))
    return np.concatenate(
        [
            np.full((n, *shape), np.nan, dtype) if c is None else c
            for c, n in zip(columns, lengths, strict=True)
        ]
    )


def read_tracks(path: Path | str) -> Iterator[tuple[int, Tracks]]:
    """Stream the tracks of a file written by :class:`RootTracksWriter`, event by event.

    Yields:
        event number and tracks, exactly as they were written.

    Raises:
        InputError: if the file is missing, damaged or has another layout; file, tree and event are named.
    """
    with root_file.open_root(str(path)) as file:
        _, tree = root_file.find_tree(file, str(path), [TREE])
        place = f"{path}, tree {TREE!r}"
        branches = root_file.choose_branches(tree, place, {}, _COLUMNS, ())
        for start, stop in itertools.pairwise(root_file.chunk_edges(tree, place, branches, _READ_BYTES)):
            yield from _events(root_file.read_arrays(tree, place, branches, start, stop), place)


def read_numbers(path: Path | str) -> list[tuple[int, int]]:
    """(event number, hits of the event) of all events, without decoding the tracks.

    Raises:
        InputError: as for :func:`read_tracks`.
    """
    names = ("event_number", "n_event_hits")
    with root_file.open_root(str(path)) as file:
        _, tree = root_file.find_tree(file, str(path), [TREE])
        place = f"{path}, tree {TREE!r}"
        root_file.choose_branches(tree, place, {}, names, ())
        arrays = root_file.read_arrays(tree, place, names, 0, tree.num_entries)
    columns = [root_file.scalars(arrays[name], f"{place}, branch {name!r}").tolist() for name in names]
    return list(zip(*columns, strict=True))


def read_hit_ids(path: Path | str) -> Iterator[npt.NDArray[Any]]:
    """Stream the hit ids beside the hit indices of each event's tracks, (n_assigned,) uint64 per event.

    Raises:
        InputError: as for :func:`read_tracks`.
    """
    with root_file.open_root(str(path)) as file:
        _, tree = root_file.find_tree(file, str(path), [TREE])
        place = f"{path}, tree {TREE!r}"
        root_file.choose_branches(tree, place, {}, ("hit_id",), ())
        for start, stop in itertools.pairwise(root_file.chunk_edges(tree, place, ("hit_id",), _READ_BYTES)):
            arrays = root_file.read_arrays(tree, place, ("hit_id",), start, stop)
            yield from (np.asarray(ids) for ids in arrays["hit_id"])


def read_meta(path: Path | str) -> dict[str, str]:
    """The facts about the job that wrote a ROOT file; empty if it has no ``meta`` tree.

    Raises:
        InputError: if the file cannot be read.
    """
    with root_file.open_root(str(path)) as file:
        return root_file.read_meta(file)


def _events(arrays: Any, place: str) -> Iterator[tuple[int, Tracks]]:
    """Cut one chunk of entries into events (flat NumPy arrays are cut much faster than awkward ones)."""
    event = {
        n: root_file.scalars(arrays[n], f"{place}, branch {n!r}")
        for n, c in _COLUMNS.items()
        if c.counter is None
    }
    flat: dict[str, npt.NDArray[Any]] = {}
    edges: dict[str, npt.NDArray[Any]] = {}
    for group in ((*PERIGEE_PARAMETERS, "chi2", "ndf", "quality", "n_hits", *COVARIANCE_COLUMNS), _PER_HIT):
        columns, edges[next(iter(group))] = root_file.equal_lists(arrays, group, place, event["event_number"])
        flat |= {n: np.asarray(values, dtype=_COLUMNS[n].dtype) for n, values in columns.items()}
    covariance = np.empty((edges["d0"][-1], 5, 5))
    for name, i, j in zip(COVARIANCE_COLUMNS, *UPPER_TRIANGLE, strict=True):
        covariance[:, i, j] = covariance[:, j, i] = flat[name]
    for k, number in enumerate(event["event_number"]):
        track = slice(edges["d0"][k], edges["d0"][k + 1])
        entry = slice(edges["hit_index"][k], edges["hit_index"][k + 1])
        try:
            tracks = Tracks(
                offsets=_edges(flat["n_hits"][track]),
                hit_indices=flat["hit_index"][entry],
                membership=flat["membership"][entry] if event["has_membership"][k] else None,
                covariance=covariance[track] if event["has_covariance"][k] else None,
                quality=flat["quality"][track] if event["has_quality"][k] else None,
                hit_chi2=flat["hit_chi2"][entry] if event["has_hit_chi2"][k] else None,
                **{n: flat[n][track] for n in (*PERIGEE_PARAMETERS, "chi2", "ndf")},
            )
        except EventDataError as error:
            raise InputError(f"{place}, event {number}: {error}") from error
        yield int(number), tracks


def _edges(counts: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
