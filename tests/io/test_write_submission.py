"""TrackML submissions: every hit once, blocks, the file beside it, and what is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from writing_events import NUMBERS, make_event, write_all

from mltrack_plugin.errors import InputError, OutputError
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.event_data.file_tracks import HitIdentity, HitMatching
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.track_rows import with_rows
from mltrack_plugin.io.trackml_submission import TrackMLSubmissionWriter
from mltrack_plugin.io.tracks_files import read_meta_any, read_tracks_any, read_tracks_with_identities

INFO = {"config": "a: 1\nb: 'é'"}


def write(path: Path, events: Any, info: dict[str, str] | None = None, **settings: Any) -> Path:
    write_all(TrackMLSubmissionWriter(path=str(path), **settings), events, info)
    return path


@pytest.mark.parametrize("unassigned", ["zero", "distinct"])
def test_submission_has_every_hit_once(tmp_path: Path, unassigned: str) -> None:
    events = [make_event(n) for n in NUMBERS]
    path = write(tmp_path / "out.csv", events, unassigned=unassigned)
    header, *lines = path.read_text().splitlines()
    assert header == "event_id,hit_id,track_id"
    rows = [tuple(map(int, line.split(","))) for line in lines]
    expected = [(e.event_number, int(h)) for e in events for h in e.get("hits", Hits).hit_id]
    assert [row[:2] for row in rows] == expected
    for event in events:
        tracks = event.get("tracks", Tracks)
        labels = tracks.labels(30)
        ids = np.array([row[2] for row in rows if row[0] == event.event_number])
        np.testing.assert_array_equal(ids[labels >= 0], labels[labels >= 0] + 1)
        free = ids[labels < 0]
        assert len(free) > 1
        if unassigned == "zero":
            assert (free == 0).all()
        else:
            assert len(set(free)) == len(free)
            assert free.min() == len(tracks) + 1


def test_submission_sidecar_is_protected_too(tmp_path: Path) -> None:
    (tmp_path / "out.csv.meta.json").write_text("{}")
    with pytest.raises(OutputError, match=r"meta\.json' exists already"):
        TrackMLSubmissionWriter(path=str(tmp_path / "out.csv")).initialize()
    assert os.listdir(tmp_path) == ["out.csv.meta.json"]


def test_large_submission_is_read_across_blocks(tmp_path: Path) -> None:
    n = 60_000
    event = EventStore(1)
    event.add("hits", Hits(np.arange(n) + 10**15, *np.zeros((3, n))))
    event.add("tracks", Tracks(np.arange(0, n + 1, 10), np.arange(n)))
    path = write(tmp_path / "out.csv", [event, make_event(2)])
    assert path.stat().st_size > 1 << 20  # the size of a block
    assert [(number, len(tracks)) for number, tracks in read_tracks_any(path)] == [(1, n // 10), (2, 4)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["1,1,1", "2,1,1", "1,2,1"], "event 1: its rows are not together"),
        (["1,1,1", "1,1,2"], "event 1: a hit_id is repeated"),
        (["1,1,-4"], r"event 1: track_id -4 is negative and not -1"),
        (["1,1,x"], "CSV|damaged"),
    ],
)
def test_damaged_submission(tmp_path: Path, rows: list[str], message: str) -> None:
    path = tmp_path / "out.csv"
    path.write_text("event_id,hit_id,track_id\n" + "\n".join(rows) + "\n")
    with pytest.raises(InputError, match=message):
        list(read_tracks_any(path))


def test_meta_of_a_submission_without_sidecar(tmp_path: Path) -> None:
    path = write(tmp_path / "out.csv", [make_event(1)], INFO)
    assert json.loads((tmp_path / "out.csv.meta.json").read_text()) == INFO
    (tmp_path / "out.csv.meta.json").unlink()
    assert read_meta_any(path) == {}


HIT_IDS = [7, 3, 9, 4, 12]


def of_rows(path: Path, rows: list[tuple[int, int]], hit_ids: list[int] = HIT_IDS) -> list[list[int]]:
    """The hit ids of each track of event 1, matched to hits with these ids."""
    lines = ["event_id,hit_id,track_id", *(f"1,{hit},{track}" for hit, track in rows)]
    path.write_text("\n".join(lines) + "\n")
    hits = Hits(np.array(hit_ids, dtype=np.uint64), *np.zeros((3, len(hit_ids))))
    ((_, tracks, identity),) = read_tracks_with_identities(path)
    matching = HitMatching()
    indices = matching.rows(hits, tracks.hit_indices, identity, "f")
    matched = with_rows(tracks, indices, matching.unassigned(identity, len(hits), "f"), "f")
    return [hits.hit_id[matched.hits_of(i)].tolist() for i in range(len(matched))]


@pytest.mark.parametrize(
    ("rows", "tracks"),
    [
        # As this package writes it, then in another order.
        ([(7, 1), (3, 2), (9, 0), (4, 1), (12, 2)], [[7, 4], [3, 12]]),
        ([(12, 2), (9, 0), (4, 1), (7, 1), (3, 2)], [[7, 4], [3, 12]]),
        # Hits on tracks alone, numbered from 1, and from 0.
        ([(12, 2), (4, 1), (7, 1), (3, 2)], [[7, 4], [3, 12]]),
        ([(12, 1), (4, 0), (7, 0), (3, 1)], [[7, 4], [3, 12]]),
        # -1 is no track, and 0 is one then.
        ([(12, 1), (9, -1), (4, 0), (7, 0), (3, 1)], [[7, 4], [3, 12]]),
    ],
)
def test_hits_are_found_by_their_ids(tmp_path: Path, rows: Any, tracks: Any) -> None:
    assert of_rows(tmp_path / "s.csv", rows) == tracks


def test_hits_of_another_collection_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"other hit ids than its tracks: 1 of 2 hits .* \(first: hit_id 5\)"
    ):
        of_rows(tmp_path / "s.csv", [(7, 1), (5, 1)])


def test_track_0_that_may_be_both_is_refused() -> None:
    matching = HitMatching()
    assert matching.unassigned(HitIdentity(n_listed=5, zero_track=2), 5, "f") == 2
    with pytest.raises(InputError, match="f: track_id 0 is on all hits"):
        matching.unassigned(HitIdentity(n_listed=4, zero_track=0), 5, "f")


def test_tracks_of_measurements_do_not_fit_other_hits() -> None:
    hits = Hits(np.arange(3), *np.zeros((3, 3)))
    identity = HitIdentity(kind="measurements")
    rows = np.array([0, 2])
    assert HitMatching("measurements").rows(hits, rows, identity, "f") is rows
    assert HitMatching().rows(hits, rows, identity, "f") is rows
    with pytest.raises(
        InputError, match="f: the tracks were made from measurements, the input's hits are hits"
    ):
        HitMatching("hits").rows(hits, rows, identity, "f")


def test_rows_of_tracks_with_ids_may_have_another_order() -> None:
    tracks = Tracks([0, 2, 4], [0, 3, 1, 2], d0=[1.0, 2.0], hit_chi2=[0.0, 3.0, 1.0, 2.0])
    hits = Hits(np.array([13, 12, 11, 10], dtype=np.uint64), *np.zeros((3, 4)))
    identity = HitIdentity(4, np.array([10, 13, 11, 12], dtype=np.uint64))
    indices = HitMatching().rows(hits, tracks.hit_indices, identity, "f")
    matched = with_rows(tracks, indices, None, "f")
    assert matched.hit_indices.tolist() == [0, 3, 1, 2]
    assert hits.hit_id[matched.hits_of(0)].tolist() == [13, 10]
    assert matched.d0.tolist() == [1, 2]
    assert matched.hit_chi2.tolist() == [3, 0, 2, 1]
