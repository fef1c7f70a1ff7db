"""Damaged files: what is refused, what an event costs, and thousands of random mutations."""

from __future__ import annotations

import gzip
import json
import logging
import re
import struct
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import uproot
import xxhash
from reading_events import read_all, write_events

from mltrack_plugin.errors import InputError
from mltrack_plugin.io import guarded, open_events, root_file
from mltrack_plugin.io.guarded import BoundedStream, DamagedError
from mltrack_plugin.io.parquet_guard import page_header

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
INPUTS = 2000


@pytest.fixture(scope="module")
def fuzz() -> Any:
    """The module that damages files."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import fuzz

        yield fuzz
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def samples(fuzz: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with a fresh sample of a format."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name)
        fuzz.SAMPLES[name].make(folder)
        return folder

    return make


def event(n: int) -> dict[str, Any]:
    columns: dict[str, Any] = {"hit_id": np.arange(1, n + 1, dtype=np.uint64)}
    return columns | {name: np.arange(n, dtype=np.float32) for name in "xyz"}


def test_every_exception_becomes_an_error_about_the_place() -> None:
    for kind in (
        struct.error,
        AssertionError,
        IndexError,
        MemoryError,
        RecursionError,
        EOFError,
        UnicodeError,
    ):
        message = rf"a\.root, tree 'hits' cannot be read \({kind.__name__}"
        with pytest.raises(DamagedError, match=message), guarded.guarded("a.root, tree 'hits'"):
            raise kind("what it says")
    with pytest.raises(InputError, match="own words"), guarded.guarded("a.root"):
        raise InputError("own words")
    with pytest.raises(KeyboardInterrupt), guarded.guarded("a.root"):
        raise KeyboardInterrupt
    with pytest.raises(InputError, match=r"\\x1b\[31mred"), guarded.guarded("a.root"):
        raise ValueError("\x1b[31mred")


def test_a_stream_that_never_ends_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded, "_ALWAYS", 1000)
    path = tmp_path / "bomb.csv.gz"
    path.write_bytes(gzip.compress(b"event_id;hit_r;hit_theta;hit_z\n" + bytes(10**6)))
    with pytest.raises(InputError, match="unpacks to more than"):
        read_all(open_events(str(path)))
    with gzip.open(path) as stream:
        bounded = BoundedStream(stream, path.stat().st_size, "bomb")
        assert len(bounded.read(500)) == 500
        with pytest.raises(DamagedError, match="bomb unpacks to more than"):
            bounded.read()


@pytest.mark.parametrize("rntuple", [False, True])
def test_damage_costs_the_events_of_its_basket_only(tmp_path: Path, rntuple: bool) -> None:
    """Six events in baskets (clusters) of two; the end of the second basket of x, its offsets, is overwritten."""
    path = write_events(
        tmp_path / "e.root", {"hits": [event(40)] * 6}, range(10, 16), rntuple=rntuple, batch=2
    )
    with uproot.open(path) as file:
        tree = file["hits"]
        if rntuple:
            column = next(
                c
                for c, r in enumerate(tree.column_records)
                if tree.field_records[r.field_id].field_name == "x"
            )
            locator = tree.page_link_list[1][column].pages[0].locator
            begin, n = locator.offset, locator.num_bytes
        else:
            begin, n = int(tree["x"].member("fBasketSeek")[1]), int(tree["x"].member("fBasketBytes")[1])
    content = bytearray(Path(path).read_bytes())
    content[begin + n - 30 : begin + n] = b"\xff" * 30
    Path(path).write_bytes(content)
    read = read_all(open_events(path, chunk_bytes=10**6))
    assert [e.event_number for e in read] == list(range(10, 16))
    assert [e.index for e in read if e.error] == [2, 3]
    assert re.search(r"event 12: .*e\.root, tree 'hits'", str(read[2].error))
    assert read[4].collections["hits"].x.tolist() == list(range(40))


def test_page_checksums_are_verified(tmp_path: Path) -> None:
    """uproot writes no page checksums: a column's page list is made to state that there are some."""
    path = Path(write_events(tmp_path / "e.root", {"hits": [event(40)] * 3}, range(3), rntuple=True))
    with root_file.open_root(str(path)) as file:
        source = file.file.source
        _, tree = root_file.find_tree(file, str(path), ["hits"])
        begin = max(start for start, page in source.pages.items() if "'x" in page.place())
        page = source.pages[begin]
        source.pages[begin] = page._replace(has_checksum=True)
        content = bytearray(path.read_bytes())
        right = struct.pack("<Q", xxhash.xxh3_64_intdigest(bytes(content[begin : begin + page.n_bytes])))
        content[begin + page.n_bytes : begin + page.n_bytes + 8] = right
        path.write_bytes(content)
        assert len(root_file.read_arrays(tree, "here", ["x"], 0, 3)) == 3
        content[begin + page.n_bytes] ^= 1
        path.write_bytes(content)
        message = r"field 'x', page 0 \(values 0 to 119 of the entries 0 to 2\): the checksum"
        with pytest.raises(DamagedError, match=message):
            root_file.read_arrays(tree, "here", ["x"], 0, 3)


def test_parquet_row_groups_are_read_one_by_one(samples: Callable[[str], Path]) -> None:
    for name, hits in (
        ("colliderml", "a.reco.tracker_hits.parquet"),
        ("trackml-parquet", "labelled.parquet"),
    ):
        folder = samples(name)
        path = folder / hits
        metadata = pq.read_metadata(path)
        names = [
            metadata.row_group(1).column(c).path_in_schema.split(".")[0] for c in range(metadata.num_columns)
        ]
        column = metadata.row_group(1).column(names.index("z"))
        content = bytearray(path.read_bytes())
        begin = column.dictionary_page_offset or column.data_page_offset
        content[begin : begin + 12] = b"\xff" * 12
        path.write_bytes(content)
        read = read_all(open_events(str(folder)))
        assert [e.error is None for e in read] == [True, False, True]
        assert re.search(r"event 1: .*row group 1.*'z'", str(read[1].error))
        assert len(read[2].collections["hits"]) == 24


def test_parquet_sizes_are_bounded(samples: Callable[[str], Path]) -> None:
    """The header of a page states two gigabytes."""
    path = samples("trackml-parquet") / "labelled.parquet"
    column = pq.read_metadata(path).row_group(0).column(0)
    content = path.read_bytes()
    begin = column.dictionary_page_offset or column.data_page_offset
    header, length = page_header(content[begin : begin + 100], "here")
    assert header[3] + length <= column.total_compressed_size
    position = begin + content[begin:].index(b"\x15", 1) + 1
    huge = content[:position] + b"\xfe\xff\xff\xff\x0f" + content[position + 5 :]
    path.write_bytes(huge)
    read = read_all(open_events(str(path)))
    assert [e.error is None for e in read] == [False, True, True]
    assert re.search(
        r"event 0: .*labelled\.parquet, row group 0, column 'hit_id': .*page", str(read[0].error)
    )
    with pytest.raises(DamagedError, match="the head of a page is damaged"):
        page_header(b"\x1c" * 100, "here")


def test_names_in_an_archive_that_fit_nothing_are_said(
    samples: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = samples("trackml-zip") / "events.zip"
    content = path.read_bytes().replace(b"event000000001-hits.csv", b"event0000000x1-hits.csv")
    path.write_bytes(content)
    with caplog.at_level(logging.WARNING, "mltrack_plugin"):
        read = read_all(open_events(str(path)))
    assert [e.event_number for e in read] == [0, 2]
    assert "1 of its files fit no event and are not read: 'event0000000x1-hits.csv'" in caplog.text
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("event000000000-hits.csv", "again")
    with pytest.raises(InputError, match=r"lists 'event000000000-hits\.csv' twice"):
        open_events(str(path))


def test_a_damaged_first_event_costs_no_other(samples: Callable[[str], Path]) -> None:
    for name, file in (("acts-csv", "event000000000-hits.csv"), ("trackml-gz", "event000000000-hits.csv.gz")):
        folder = samples(name)
        (folder / file).write_bytes(b"\x1f\x8b damaged")
        read = read_all(open_events(str(folder)))
        assert [e.error is None for e in read] == [False, True, True]
        assert file in str(read[0].error)


def test_a_damaged_event_number_costs_its_event(samples: Callable[[str], Path]) -> None:
    path = samples("redvid-csv") / "events.csv"
    lines = path.read_text().split("\n")
    lines[30] = "x" + lines[30]
    path.write_text("\n".join(lines))
    read = read_all(open_events(str(path)))
    assert [e.event_number for e in read] == [0, 1, 2]
    assert [e.error is None for e in read] == [True, False, True]


def test_a_baskets_place_is_checked_before_it_is_read(tmp_path: Path) -> None:
    """Two baskets at one place make uproot wait forever.

    The reader asks for x alone before it asks for all branches.
    """
    path = Path(write_events(tmp_path / "e.root", {"hits": [event(40)] * 2}, range(2)))
    with uproot.open(path) as file:
        seeks = {n: int(file["hits"][n].member("fBasketSeek")[0]) for n in "xy"}
    pattern = struct.pack(">q", seeks["y"])
    content = path.read_bytes()
    assert content.count(pattern) + content.count(pattern[4:]) >= 1
    path.write_bytes(content.replace(pattern, struct.pack(">q", seeks["x"])))
    with pytest.raises(InputError, match=r"e\.root, tree 'hits'"):
        read_all(open_events(str(path)))


def test_random_damage_ends_in_errors_of_this_package() -> None:
    # A process of its own: forks of one with many threads may stand still.
    command = [sys.executable, str(BENCHMARKS / "fuzz.py"), "--inputs", str(INPUTS), "--seed", "20", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["failures"] == []
    total: Counter[str] = sum((Counter(c) for c in result["counts"].values()), Counter())
    assert sum(total.values()) == INPUTS
    assert min(total["refused"], total["skipped"], total["equal"]) > 50
