"""ColliderML Parquet, ACTS tracks CSV and TrackML submissions: layouts, round trips, refusals."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from writing_events import NUMBERS, make_event, without, write_all

from mltrack_plugin import atomic
from mltrack_plugin.errors import InputError, OutputError
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.algorithm import Writer
from mltrack_plugin.io import colliderml_tracks
from mltrack_plugin.io.acts_tracks_csv import PARAMETER_COLUMNS, TRACK_COLUMNS, ActsTracksCsvWriter
from mltrack_plugin.io.colliderml_tracks import NO_PARTICLE, ColliderMLTracksWriter, read_colliderml_tracks
from mltrack_plugin.io.root_tracks import RootTracksWriter
from mltrack_plugin.io.trackml_submission import TrackMLSubmissionWriter
from mltrack_plugin.io.tracks_files import read_meta_any, read_tracks_any, tracks_format

WRITERS: dict[str, type[Writer]] = {
    "root-tracks": RootTracksWriter,
    "colliderml-tracks": ColliderMLTracksWriter,
    "acts-tracks-csv": ActsTracksCsvWriter,
    "trackml-submission": TrackMLSubmissionWriter,
}
ALL = pytest.mark.parametrize("name", WRITERS)
INFO = {"config": "a: 1\nb: 'é'", "skipped_events": '[{"event_number": 5}]'}


def write(name: str, path: Path, events: Any, info: dict[str, str] | None = None, **settings: Any) -> Path:
    write_all(WRITERS[name](path=str(path), **settings), events, info)
    return path


def content(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.iterdir())
    return {file.name if path.is_dir() else "": file.read_bytes() for file in files}


@ALL
def test_hits_of_tracks_come_back_exactly(tmp_path: Path, name: str) -> None:
    assert WRITERS[name].format_name == name
    events = {n: make_event(n) for n in NUMBERS}
    path = write(name, tmp_path / "out", events.values())
    assert tracks_format(path) == name
    read = list(read_tracks_any(path))
    # one file per event: the order is that of the numbers
    assert [n for n, _ in read] == (sorted(NUMBERS) if name == "acts-tracks-csv" else list(NUMBERS))
    for number, tracks in read:
        written = events[number].get("tracks", Tracks)
        assert np.array_equal(tracks.offsets, written.offsets)
        assert np.array_equal(tracks.hit_indices, written.hit_indices)


@ALL
def test_meta_comes_back(tmp_path: Path, name: str) -> None:
    read = read_meta_any(write(name, tmp_path / "out", [make_event(1)], INFO))
    assert {k: read[k] for k in INFO} == INFO


@ALL
def test_same_content_gives_the_same_bytes(tmp_path: Path, name: str) -> None:
    a, b = (write(name, tmp_path / p, [make_event(n) for n in NUMBERS], INFO) for p in ("a", "b"))
    assert content(a) == content(b)


@ALL
def test_events_without_tracks_or_hits(tmp_path: Path, name: str) -> None:
    events = [make_event(1, n_hits=0), make_event(2, n_tracks=0), make_event(3)]
    read = dict(read_tracks_any(write(name, tmp_path / "out", events)))
    # a submission has rows for hits only, so an event without hits cannot show in it
    assert {n: len(t) for n, t in read.items()} == (
        {2: 0, 3: 4} if name == "trackml-submission" else {1: 0, 2: 0, 3: 4}
    )


@ALL
def test_no_events(tmp_path: Path, name: str) -> None:
    path = write(name, tmp_path / "out", [], INFO)
    assert list(read_tracks_any(path)) == []
    assert read_meta_any(path)["config"] == INFO["config"]


@ALL
def test_abort_leaves_nothing(tmp_path: Path, name: str) -> None:
    writer = WRITERS[name](path=str(tmp_path / "out"))
    writer.abort()
    writer.initialize()
    writer.write(make_event(1))
    writer.abort()
    writer.abort()
    assert os.listdir(tmp_path) == []


@ALL
def test_existing_output(tmp_path: Path, name: str) -> None:
    path = write(name, tmp_path / "out", [make_event(1)])
    before = content(path)
    with pytest.raises(OutputError, match="out' exists already"):
        WRITERS[name](path=str(path)).initialize()
    assert content(path) == before
    write(name, path, [make_event(2)], overwrite=True)
    assert [n for n, _ in read_tracks_any(path)] == [2]
    assert not [f for f in os.listdir(tmp_path) if f.endswith(".part")]


@ALL
def test_full_disk_leaves_nothing(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __enter__(self) -> FullDisk:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self._file, attribute)

        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "open", lambda *a, **k: FullDisk(open(*a, **k)), raising=False)  # noqa: SIM115
    writer = WRITERS[name](path=str(tmp_path / "out"))
    with pytest.raises(OutputError, match="disk is full"):
        write_all(writer, [make_event(n) for n in range(3)])
    writer.abort()
    assert os.listdir(tmp_path) == []


@ALL
def test_interrupt_at_the_end_leaves_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.replace

    def interrupted(source: Any, destination: Any) -> None:
        if Path(destination).name == "out":
            raise KeyboardInterrupt
        real(source, destination)

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(name, tmp_path / "out", [make_event(1)])
    assert os.listdir(tmp_path) == []


@ALL
def test_hit_index_beyond_the_hits(tmp_path: Path, name: str) -> None:
    event = without(make_event(9), "hits", "truth_links")
    event.add("hits", make_event(9, n_hits=10).get("hits", Hits))
    writer = WRITERS[name](path=str(tmp_path / "out"))
    writer.initialize()
    with pytest.raises(OutputError, match=r"event 9: hit index .* but the event has 10 hits"):
        writer.write(event)
    writer.abort()


def test_acts_csv_restores_parameters_exactly(tmp_path: Path) -> None:
    for optional in (True, False):
        event = make_event(4, optional=optional)
        written = event.get("tracks", Tracks)
        ((_, tracks),) = read_tracks_any(write("acts-tracks-csv", tmp_path / str(optional), [event]))
        for column in ("d0", "z0", "phi", "theta", "qop", "chi2", "ndf", "covariance"):
            if getattr(written, column) is None:
                assert getattr(tracks, column) is None
            else:
                np.testing.assert_array_equal(getattr(tracks, column), getattr(written, column))


def test_acts_csv_layout(tmp_path: Path) -> None:
    event = make_event(12)
    tracks = event.get("tracks", Tracks)
    folder = write("acts-tracks-csv", tmp_path / "out", [event])
    assert sorted(os.listdir(folder)) == [
        "event000000012-params.csv",
        "event000000012-tracks.csv",
        "meta.json",
    ]
    header, first, *_ = (folder / "event000000012-tracks.csv").read_text().splitlines()
    assert header == (
        "track_id,seed_id,particleId,nStates,nMajorityHits,nMeasurements,nOutliers,nHoles,nSharedHits,chi2,ndf,"
        "chi2/ndf,pT,eta,phi,truthMatchProbability,good/duplicate/fake,Measurements_ID"
    )
    fields, measurements = first.split(',"')
    assert measurements == "[" + "".join(f"{i}," for i in tracks.hits_of(0)) + ']"'
    row = dict(zip(TRACK_COLUMNS, fields.split(","), strict=False))
    assert row["particleId"].startswith("vp=0|vs=0|p=")
    assert row["nMeasurements"] == str(tracks.n_hits[0])
    assert float(row["pT"]) == tracks.pt[0]
    assert row["good/duplicate/fake"] == "good"
    assert PARAMETER_COLUMNS[:7] == ("trackId", "d0", "z0", "phi", "theta", "qop", "var_d0")
    assert PARAMETER_COLUMNS[11:16] == ("cov_d0z0", "cov_d0phi", "cov_d0theta", "cov_d0qop", "cov_z0d0")
    assert len(PARAMETER_COLUMNS) == 31


def test_acts_csv_of_acts_itself(tmp_path: Path) -> None:
    """As ``CsvTrackWriter`` writes: rows by match probability, hits as the filter met them, no params."""
    rows = [
        ",".join(TRACK_COLUMNS),
        '7,7,vp=19|vs=0|p=5|g=0|sp=0,3,3,3,0,0,0,4.2,5,0.84,1.5,0.5,-2.1,1,good,"[9,4,6,]"',
        '3,3,vp=1|vs=0|p=9|g=0|sp=0,2,1,2,0,0,0,1.5,2,0.75,0.7,-1,3,0.5,fake,"[8,2,]"',
    ]
    (tmp_path / "event000000003-tracks_ckf.csv").write_text("\n".join(rows) + "\n")
    ((number, tracks),) = read_tracks_any(tmp_path)
    assert number == 3
    assert [tracks.hits_of(i).tolist() for i in range(2)] == [[2, 8], [4, 6, 9]]
    assert tracks.chi2 is not None
    assert tracks.chi2.tolist() == [1.5, 4.2]
    np.testing.assert_allclose(tracks.eta, [-1, 0.5])
    assert not tracks.fitted.any()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["track_id,chi2", "1,2"], "has no column 'ndf'"),
        ([",".join(TRACK_COLUMNS), "1,2"], "line 2: another number of values"),
        (
            [",".join(TRACK_COLUMNS), *(f'{i},0,x,1,1,1,0,0,0,1,1,1,1,1,1,1,good,"[4,]"' for i in range(2))],
            "event 3: hit 4 is on 2 tracks",
        ),
        (
            [",".join(TRACK_COLUMNS), '1,0,x,1,1,1,0,0,0,bad,1,1,1,1,1,1,good,"[4,]"'],
            "event 3: could not convert",
        ),
    ],
)
def test_damaged_acts_csv(tmp_path: Path, rows: list[str], message: str) -> None:
    (tmp_path / "event000000003-tracks.csv").write_text("\n".join(rows) + "\n")
    with pytest.raises(InputError, match=message):
        list(read_tracks_any(tmp_path))


def test_same_event_number_twice(tmp_path: Path) -> None:
    writer = WRITERS["acts-tracks-csv"](path=str(tmp_path / "out"))
    with pytest.raises(OutputError, match=r"event000000001-tracks\.csv"):
        write_all(writer, [make_event(1), make_event(1)])
    writer.abort()


def test_parquet_layout(tmp_path: Path) -> None:
    events = [make_event(n) for n in NUMBERS] + [without(make_event(5), "truth_links")]
    path = write("colliderml-tracks", tmp_path / "out.parquet", events)
    table = pq.read_table(path)
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "event_id": "uint32",
        **dict.fromkeys(("d0", "z0", "phi", "theta", "qop", "t"), "list<element: float>"),
        "majority_particle_id": "list<element: uint64>",
        **dict.fromkeys(("measurement_ids", "hit_ids"), "list<element: list<element: uint32>>"),
        "track_id": "list<element: uint32>",
    }
    assert table["event_id"].to_pylist() == [*NUMBERS, 5]
    tracks = events[0].get("tracks", Tracks)
    assert table["hit_ids"][0].as_py() == [tracks.hits_of(i).tolist() for i in range(len(tracks))]
    np.testing.assert_array_equal(table["qop"][0].as_py(), np.asarray(tracks.qop, dtype=np.float32))
    truth = events[0].get("truth_links", object).particle_id  # type: ignore[attr-defined]
    for track, majority in enumerate(table["majority_particle_id"][0].as_py()):
        assert majority in truth[tracks.hits_of(track)]
    assert set(table["majority_particle_id"][4].as_py()) == {NO_PARTICLE}


def test_parquet_has_the_columns_of_acts(tmp_path: Path) -> None:
    arrow = pytest.importorskip("acts.arrow", reason="pyacts is not installed")
    expected = {
        field.name: str(field.type).replace("item", "element") for field in pa.schema(arrow.trackSchema())
    }
    ours = {field.name: str(field.type).replace("item", "element") for field in colliderml_tracks.SCHEMA}
    assert ours.pop("event_id") == "uint32"
    # 16 bits overflow above 65535 tracks
    assert expected.pop("track_id") == "list<element: uint16>"
    assert ours.pop("track_id") == "list<element: uint32>"
    assert ours == expected


def test_parquet_of_the_public_data_set() -> None:
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("MLTRACK_SAMPLE_DATA", default)) / "colliderml"
    files = sorted(folder.glob("*tracks.events*.parquet"))
    if not files:
        pytest.skip("no sample data (MLTRACK_SAMPLE_DATA)")
    read = list(read_colliderml_tracks(files[0]))
    table = pq.read_table(files[0])
    assert [n for n, _ in read] == table["event_id"].to_pylist()
    for (_, tracks), hits, d0 in zip(
        read, table["hit_ids"].to_pylist(), table["d0"].to_pylist(), strict=True
    ):
        expected = sorted((sorted(h), d) for h, d in zip(hits, d0, strict=True))
        assert [(tracks.hits_of(i).tolist(), tracks.d0[i]) for i in range(len(tracks))] == expected  # type: ignore[index]


def test_parquet_refuses_large_event_numbers(tmp_path: Path) -> None:
    writer = WRITERS["colliderml-tracks"](path=str(tmp_path / "out"))
    with pytest.raises(OutputError, match="event number 4294967296"):
        write_all(writer, [make_event(2**32)])
    writer.abort()
    assert os.listdir(tmp_path) == []


def test_damaged_parquet(tmp_path: Path) -> None:
    path = write("colliderml-tracks", tmp_path / "out", [make_event(n) for n in range(3)])
    (tmp_path / "cut").write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be opened as a Parquet file"):
        list(read_tracks_any(tmp_path / "cut"))
    pq.write_table(pq.read_table(path).drop_columns("hit_ids"), tmp_path / "less")
    with pytest.raises(InputError, match="has no column 'hit_ids'"):
        list(read_tracks_any(tmp_path / "less"))


def test_what_is_no_file_of_tracks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_tracks_any(tmp_path / "none")
    with pytest.raises(InputError, match="holds no files like event000000000-tracks"):
        read_tracks_any(tmp_path)
    (tmp_path / "text").write_text("hit_id,x,y,z\n1,2,3,4\n")
    with pytest.raises(InputError, match="no file of tracks"):
        read_tracks_any(tmp_path / "text")


def test_acts_csv_has_the_columns_of_the_installed_acts() -> None:
    acts = pytest.importorskip("acts", reason="pyacts is not installed")
    library = next(Path(acts.__file__).parent.glob("*ActsExamplesIoCsv*.so"), None)
    if library is None:
        pytest.skip("this pyacts has no CSV library of its own")
    # The pieces in which CsvTrackWriter writes its header line.
    text = library.read_bytes()
    pieces = (TRACK_COLUMNS[:3], TRACK_COLUMNS[3:9], TRACK_COLUMNS[9:12], TRACK_COLUMNS[12:15])
    for piece in (*pieces, TRACK_COLUMNS[15:16], TRACK_COLUMNS[16:17]):
        assert (",".join(piece) + ",").encode() in text
    assert TRACK_COLUMNS[17].encode() in text
