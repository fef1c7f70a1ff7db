"""Vertices come back from a ROOT file exactly as they were written."""

import numpy as np
import pytest
import uproot

from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.event_data import Vertices
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.io.root_tracks import read_meta
from mltrack_plugin.io.root_vertices import RootVerticesWriter, read_vertices


def make_store(number, n):
    rng = np.random.default_rng([number, n])
    store = EventStore(number)
    weight = np.sort(rng.random(n))[::-1]
    store.add("vertices", Vertices(rng.normal(0, 50, n), rng.random(n), weight))
    return store


def write(path, stores, **settings):
    writer = RootVerticesWriter(path=str(path), **settings)
    writer.initialize()
    for store in stores:
        writer.write(store)
    writer.set_job_info({"job": "cnn-vertex"})
    writer.finalize()
    return path


@pytest.mark.parametrize("container", ["ttree", "rntuple"])
def test_events_come_back_in_order(tmp_path, container):
    stores = [make_store(number, n) for number, n in ((7, 3), (2**40, 0), (5, 1))]
    path = write(tmp_path / "vertices.root", stores, container=container)
    found = list(read_vertices(path))
    assert [number for number, _ in found] == [7, 2**40, 5]
    for (_, vertices), store in zip(found, stores, strict=True):
        assert vertices.equals(store.get("vertices", Vertices))


def test_file_states_its_content_and_its_job(tmp_path):
    path = write(tmp_path / "vertices.root", [make_store(1, 2)])
    meta = read_meta(path)
    assert meta["format"] == "mltrack-vertices"
    assert meta["job"] == "cnn-vertex"


def test_no_events_make_an_empty_file(tmp_path):
    assert list(read_vertices(write(tmp_path / "empty.root", []))) == []


def test_missing_vertices_and_foreign_files_are_named(tmp_path):
    writer = RootVerticesWriter(path=str(tmp_path / "x.root"))
    writer.initialize()
    with pytest.raises(ConfigurationError, match="vertices"):
        writer.write(EventStore(1))
    writer.abort()
    with uproot.recreate(tmp_path / "other.root") as file:
        file["tree"] = {"x": np.arange(3)}
    with pytest.raises(InputError, match=r"other\.root"):
        list(read_vertices(tmp_path / "other.root"))
