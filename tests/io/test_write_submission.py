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
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.trackml_submission import TrackMLSubmissionWriter
from mltrack_plugin.io.tracks_files import read_meta_any, read_tracks_any

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
        (["1,1,-4"], "event 1: track_id -4 is negative"),
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
