"""Tracks in ROOT files: exact round trips, same bytes for same content, nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from writing_events import NUMBERS, make_event, without, write_all

from mltrack_plugin.errors import InputError, OutputError
from mltrack_plugin.event_data import Tracks
from mltrack_plugin.io import root_writer
from mltrack_plugin.io.root_tracks import RootTracksWriter, read_meta, read_tracks

CONTAINERS = pytest.mark.parametrize("container", ["ttree", "rntuple"])


def write(path: Path, events: Any, info: dict[str, str] | None = None, **settings: Any) -> Path:
    write_all(RootTracksWriter(path=str(path), **settings), events, info)
    return path


@CONTAINERS
@pytest.mark.parametrize("optional", [True, False])
def test_round_trip_is_exact(tmp_path: Path, container: str, optional: bool) -> None:
    events = [make_event(n, optional=optional) for n in NUMBERS]
    path = write(tmp_path / "tracks.root", events, container=container)
    read = list(read_tracks(path))
    assert [number for number, _ in read] == list(NUMBERS)
    for event, (_, tracks) in zip(events, read, strict=True):
        assert tracks.equals(event.get("tracks", Tracks))
        for name, column in event.get("tracks", Tracks).arrays().items():
            assert getattr(tracks, name).dtype == column.dtype


@CONTAINERS
def test_events_without_tracks_or_columns_between_others(tmp_path: Path, container: str) -> None:
    events = [
        make_event(1, n_hits=0),
        make_event(2),
        make_event(3, n_tracks=0),
        make_event(4, optional=False),
    ]
    path = write(tmp_path / "tracks.root", events, container=container)
    for event, (number, tracks) in zip(events, read_tracks(path), strict=True):
        assert number == event.event_number
        assert tracks.equals(event.get("tracks", Tracks))


@CONTAINERS
def test_file_without_events(tmp_path: Path, container: str) -> None:
    path = write(tmp_path / "tracks.root", [], {"skipped_events": "[]"}, container=container)
    assert list(read_tracks(path)) == []
    assert read_meta(path)["skipped_events"] == "[]"


@CONTAINERS
def test_meta_keeps_every_character(tmp_path: Path, container: str) -> None:
    info = {
        "config": "name: ∇²\n  'quotes' \"and\" \t tabs\n",
        "empty": "",
        "skipped_events": '[{"index": 3}]',
    }
    path = write(tmp_path / "tracks.root", [], info, container=container)
    assert read_meta(path) == {**info, "format": "mltrack-tracks", "format_version": "1"}


def test_plain_uproot_sees_the_documented_branches(tmp_path: Path) -> None:
    event = make_event(5)
    tracks = event.get("tracks", Tracks)
    with uproot.open(write(tmp_path / "tracks.root", [event])) as file:
        tree = file["tracks"]
        assert tree["event_number"].array().tolist() == [5]
        assert tree["n_tracks"].array().tolist() == [len(tracks)]
        assert tree["n_hit_indices"].array().tolist() == [len(tracks.hit_indices)]
        assert tree["n_event_hits"].array().tolist() == [30]
        assert tree["hit_index"].array()[0].tolist() == tracks.hit_indices.tolist()
        # 64-bit ids survive: as doubles, ids above 2**53 would collapse.
        assert (
            tree["hit_id"].array()[0].tolist()
            == event.get("hits", object).hit_id[tracks.hit_indices].tolist()
        )  # type: ignore[attr-defined]
        assert tree["cov_z0_theta"].array()[0].tolist() == tracks.covariance[:, 1, 3].tolist()  # type: ignore[index]
        types = {
            name: tree[name].typename
            for name in ("event_number", "d0", "ndf", "quality", "hit_index", "hit_id")
        }
    assert types == {
        "event_number": "uint64_t",
        "d0": "double[]",
        "ndf": "int32_t[]",
        "quality": "float[]",
        "hit_index": "int64_t[]",
        "hit_id": "uint64_t[]",
    }


@CONTAINERS
def test_same_content_gives_the_same_bytes(tmp_path: Path, container: str) -> None:
    events = [make_event(n) for n in NUMBERS]
    first = write(tmp_path / "a.root", events, {"k": "v"}, container=container)
    time.sleep(1.1)  # the clock of a TDatime ticks in seconds
    second = write(tmp_path / "another name.root", events, {"k": "v"}, container=container)
    script = (
        "import sys; from writing_events import *; "
        "from mltrack_plugin.io.root_tracks import RootTracksWriter as W; "
        "write_all(W(path=sys.argv[1], container=sys.argv[2]), [make_event(n) for n in NUMBERS], {'k': 'v'})"
    )
    third = tmp_path / "c.root"
    support = str(Path(__file__).parent.parent / "support")
    environment = {**os.environ, "PYTHONPATH": support, "PYTHONHASHSEED": "3", "TZ": "Asia/Tokyo"}
    subprocess.run(
        [sys.executable, "-c", script, str(third), container], check=True, env=environment, cwd=tmp_path
    )
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()


def test_other_content_gives_another_uuid(tmp_path: Path) -> None:
    # Readers use the UUID as a cache key: with a constant one they would mix files up.
    uuids = set()
    for i in range(2):
        with uproot.open(write(tmp_path / f"{i}.root", [make_event(i)])) as file:
            uuids.add(file.file.uuid)
    assert len(uuids) == 2


def test_baskets_do_not_change_the_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_writer, "FLUSH_EVENTS", 3)
    events = [make_event(n) for n in range(40)]
    path = write(tmp_path / "tracks.root", events)
    with uproot.open(path) as file:
        assert file["tracks"]["d0"].num_baskets == 14
    for event, (_, tracks) in zip(events, read_tracks(path), strict=True):
        assert tracks.equals(event.get("tracks", Tracks))


def test_large_events_are_written_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_writer, "FLUSH_BYTES", 1)
    with uproot.open(write(tmp_path / "tracks.root", [make_event(n) for n in range(5)])) as file:
        assert file["tracks"]["d0"].num_baskets == 5


def test_abort_leaves_nothing(tmp_path: Path) -> None:
    writer = RootTracksWriter(path=str(tmp_path / "tracks.root"))
    writer.abort()
    writer.initialize()
    writer.write(make_event(1))
    writer.abort()
    writer.abort()
    assert os.listdir(tmp_path) == []


def test_existing_output(tmp_path: Path) -> None:
    path = write(tmp_path / "tracks.root", [make_event(1)])
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"tracks\.root.*exists already.*--overwrite"):
        RootTracksWriter(path=str(path)).initialize()
    assert path.read_bytes() == before
    write(path, [make_event(2)], overwrite=True)
    assert [n for n, _ in read_tracks(path)] == [2]


@pytest.mark.parametrize("allowed", [0, 3, 40])
def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    calls = 0

    def write_until_full(sink: Any, location: int, data: bytes) -> int:
        nonlocal calls
        calls += 1
        if calls > allowed:
            raise OSError(errno.ENOSPC, "No space left on device")
        sink._ensure()
        sink._file.seek(location)
        return int(sink._file.write(data))

    monkeypatch.setattr(uproot.sink.file.FileSink, "write", write_until_full)
    writer = RootTracksWriter(path=str(tmp_path / "tracks.root"))
    with pytest.raises(OutputError, match=r"tracks\.root.*disk is full"):
        write_all(writer, [make_event(n) for n in range(3)])
    writer.abort()
    assert os.listdir(tmp_path) == []


def test_hit_index_beyond_the_hits(tmp_path: Path) -> None:
    event = without(make_event(9), "hits")
    event.add("hits", make_event(9, n_hits=10).get("hits", object))
    writer = RootTracksWriter(path=str(tmp_path / "tracks.root"))
    writer.initialize()
    with pytest.raises(OutputError, match=r"event 9: hit index .* but the event has 10 hits"):
        writer.write(event)
    writer.abort()


def test_writing_before_initialize(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="initialize"):
        RootTracksWriter(path=str(tmp_path / "tracks.root")).finalize()


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    good = write(tmp_path / "tracks.root", [make_event(n) for n in range(3)])
    broken = tmp_path / "broken.root"
    broken.write_bytes(good.read_bytes()[:2000])
    with pytest.raises(InputError, match="truncated"):
        list(read_tracks(broken))
    with pytest.raises(InputError, match=r"none\.root"):
        list(read_tracks(tmp_path / "none.root"))
    with uproot.recreate(tmp_path / "foreign.root") as file:
        file.mktree("tracks", {"event_number": np.dtype("u8")})
        file.mktree("trak", {"x": np.dtype("f4")})
    with pytest.raises(InputError, match=r"tree 'tracks' has no branch"):
        list(read_tracks(tmp_path / "foreign.root"))
