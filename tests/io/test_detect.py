"""Recognition of formats: every registered reader is asked, the surest one is taken."""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest

from mltrack_plugin import registry
from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.framework.algorithm import Reader
from mltrack_plugin.io import detect_format
from mltrack_plugin.io.source import Source

TRACKML = "hit_id,x,y,z,volume_id,layer_id,module_id\n1,0,0,0,8,2,1\n"
ACTS = "geometry_id,particle_id,tx,ty,tz\n1,1,0,0,0\n"
REDVID = "event_id;hit_id;hit_r;hit_theta;hit_z\n1;1;1;1;1\n"


def reader_that_says(confidence: object) -> type[Reader]:
    class Other(Reader):
        @classmethod
        def recognises(cls, source: Source) -> float:
            if isinstance(confidence, Exception):
                raise confidence
            return confidence if source.head.startswith(b"station") else 0.0  # type: ignore[return-value]

    return Other


@pytest.fixture
def others(monkeypatch):
    """Registers readers beside the shipped ones: name -> what ``recognises`` says, or "module:class"."""
    shipped = [*registry.entry_points(group="mltrack_plugin.readers")]

    def register(**readers: object) -> None:
        module = ModuleType("other_readers")
        points = list(shipped)
        for name, says in readers.items():
            value = says if isinstance(says, str) else f"other_readers:{name}"
            setattr(module, name, reader_that_says(says))
            points.append(EntryPoint(name, value, "mltrack_plugin.readers"))
        monkeypatch.setitem(__import__("sys").modules, "other_readers", module)
        monkeypatch.setattr(registry, "entry_points", lambda group: points)

    return register


def write(folder: Path, **files: str) -> str:
    folder.mkdir()
    for name, text in files.items():
        (folder / f"{name.replace('_', '-')}.csv").write_text(text)
    return str(folder)


def test_the_surest_reader_is_taken(tmp_path, others):
    path = tmp_path / "e.csv"
    path.write_text("station," + TRACKML)
    assert detect_format(str(path)) == "trackml-csv"
    others(vague=0.1, own=1.0)
    assert detect_format(str(path)) == "own"


def test_two_equally_sure_readers_are_both_named(tmp_path, others):
    path = tmp_path / "e.csv"
    path.write_text("station 1\n")
    others(one=1.0, two=1.0)
    with pytest.raises(InputError, match=r"looks like the formats 'one' of .* and 'two' of .*--format"):
        detect_format(str(path))


@pytest.mark.parametrize(
    "broken", ["no_such_package:Reader", RuntimeError("a bug"), ConfigurationError("wrong")]
)
def test_broken_reader_is_named_and_hides_no_other(tmp_path, others, caplog, broken):
    others(broken=broken)
    path = tmp_path / "e.csv"
    path.write_text(TRACKML)
    with caplog.at_level(logging.WARNING, "mltrack_plugin"):
        assert detect_format(str(path)) == "trackml-csv"
    (record,) = caplog.records
    assert "the reader 'broken'" in record.message
    path.write_text("nothing known\n")
    with pytest.raises(InputError, match=r"not recognised.*the reader 'broken' .* was not asked"):
        detect_format(str(path))


def test_reader_that_recognises_nothing_must_be_named():
    class Quiet(Reader):
        pass

    assert Quiet.recognises(Source("anything")) == 0.0


def test_folders_with_files_of_several_kinds(tmp_path):
    acts = write(tmp_path / "acts", event1_hits=ACTS, event1_cells="a,b\n", detectors=TRACKML)
    assert detect_format(acts) == "acts-csv"
    (tmp_path / "acts" / "hits.root").write_bytes(b"root, but text tells more")
    assert detect_format(acts) == "acts-csv"
    redvid = write(tmp_path / "redvid", notes="anything\n", part1=REDVID, part2=REDVID)
    assert detect_format(redvid) == "redvid-csv"
    (tmp_path / "redvid" / "a-tracker_hits.parquet").write_bytes(b"PAR1")
    assert detect_format(redvid) == "colliderml"


def test_damaged_file_hides_no_other_of_its_folder(tmp_path):
    folder = write(tmp_path / "events", event2_hits=TRACKML)
    (tmp_path / "events" / "event1-hits.csv.gz").write_bytes(b"\x1f\x8b no gzip at all")
    assert detect_format(folder) == "trackml-csv"
    (tmp_path / "events" / "event2-hits.csv").unlink()
    with pytest.raises(InputError, match=r"event1-hits.csv.gz cannot be read"):
        detect_format(folder)


def test_what_is_asked_of_a_source_is_read_once(tmp_path, monkeypatch):
    folder = Source(write(tmp_path / "events", event1_hits=TRACKML, event1_truth="hit_id\n"))
    assert folder.kind == "folder"
    assert folder.names == ("event1-hits.csv", "event1-truth.csv")
    assert folder.tables == (frozenset(TRACKML.split("\n")[0].split(",")),)
    assert not folder.trees
    assert not folder.branches("hits")
    assert not folder.parquet_columns
    monkeypatch.setattr("fsspec.open", None)
    assert folder.tables is folder.tables


def test_compressed_text(tmp_path):
    import gzip

    path = tmp_path / "e.csv.gz"
    path.write_bytes(gzip.compress(REDVID.encode()))
    assert Source(str(path)).kind == "other"
    assert detect_format(str(path)) == "redvid-csv"
    path.write_bytes(b"\x1f\x8b no gzip at all")
    with pytest.raises(InputError, match="cannot be unpacked"):
        detect_format(str(path))
