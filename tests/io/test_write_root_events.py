"""Events in ROOT files: the layout, round trips, and what the format refuses."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from writing_events import NUMBERS, make_event, without, write_all

from mltrack_plugin.errors import OutputError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_events import RootEventsReader
from mltrack_plugin.io.root_events_writer import RootEventsWriter
from mltrack_plugin.io.root_tracks import read_meta

CONTAINERS = pytest.mark.parametrize("container", ["ttree", "rntuple"])


def write(path: Path, events: Any, **settings: Any) -> Path:
    write_all(RootEventsWriter(path=str(path), **settings), events)
    return path


def columns_of(tree: Any, entry: int, names: Any) -> dict[str, Any]:
    arrays = tree.arrays(list(names))
    return {name: ak.to_numpy(arrays[name][entry]) for name in names}


@CONTAINERS
@pytest.mark.parametrize("optional", [True, False])
def test_every_column_comes_back(tmp_path: Path, container: str, optional: bool) -> None:
    events = [make_event(n, optional=optional) for n in NUMBERS]
    with uproot.open(write(tmp_path / "events.root", events, container=container)) as file:
        for table in ("hits", "particles"):
            assert file[table]["event_number"].array().tolist() == list(NUMBERS)
        for i, event in enumerate(events):
            hits = event.get("hits", Hits)
            rows = hits.arrays() | event.get("truth_links", TruthLinks).arrays()
            read = columns_of(file["hits"], i, rows)
            assert file["hits"]["n_hits"].array()[i] == len(hits)
            particles = event.get("particles", Particles)
            assert Particles(**columns_of(file["particles"], i, particles.arrays())).equals(particles)
            for name, column in rows.items():
                assert read[name].dtype == column.dtype, name
                np.testing.assert_array_equal(read[name], column)


def test_reader_of_this_package_agrees(tmp_path: Path) -> None:
    events = [make_event(n) for n in NUMBERS]
    reader = RootEventsReader(path=str(write(tmp_path / "events.root", events, detector="redvid")))
    reader.initialize()
    assert reader.detector == "redvid"
    read = list(reader.events())
    assert [r.event_number for r in read] == list(NUMBERS)
    for event, got in zip(events, read, strict=True):
        assert got.error is None
        for key, kind in (("hits", Hits), ("truth_links", TruthLinks), ("particles", Particles)):
            assert got.collections[key].equals(event.get(key, kind)), key
    reader.finalize()


def test_only_hits(tmp_path: Path) -> None:
    path = write(tmp_path / "events.root", [without(make_event(1), "truth_links", "particles")])
    with uproot.open(path) as file:
        assert file.keys(cycle=False) == ["hits", "meta"]
        assert "particle_id" not in file["hits"]
    assert read_meta(path) == {"detector": "", "format": "mltrack-events", "format_version": "1"}


@CONTAINERS
def test_no_events_and_empty_events(tmp_path: Path, container: str) -> None:
    with uproot.open(write(tmp_path / "none.root", [], container=container)) as file:
        assert file["hits"].num_entries == 0
    events = [make_event(3, n_hits=0, n_tracks=0), make_event(4)]
    with uproot.open(write(tmp_path / "empty.root", events, container=container)) as file:
        assert file["hits"]["n_hits"].array().tolist() == [0, 30]
        assert len(file["hits"]["x"].array()[0]) == 0


@CONTAINERS
def test_same_content_gives_the_same_bytes(tmp_path: Path, container: str) -> None:
    paths = [
        write(
            tmp_path / f"{i}.root", (make_event(n) for n in NUMBERS), container=container, detector="generic"
        )
        for i in range(2)
    ]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_columns_must_not_change(tmp_path: Path) -> None:
    writer = RootEventsWriter(path=str(tmp_path / "events.root"))
    with pytest.raises(OutputError, match=r"event 2 has the columns .* must have the same columns"):
        write_all(writer, [make_event(1), make_event(2, optional=False)])
    writer.abort()
    assert os.listdir(tmp_path) == []


def test_truth_of_other_hits(tmp_path: Path) -> None:
    event = EventStore(8)
    event.add("hits", make_event(8).get("hits", Hits))
    event.add("truth_links", TruthLinks(np.zeros(3, dtype=np.uint64)))
    writer = RootEventsWriter(path=str(tmp_path / "events.root"))
    writer.initialize()
    with pytest.raises(OutputError, match="event 8: 3 truth links for 30 hits"):
        writer.write(event)
    writer.abort()
