"""TrackML and ACTS CSV: folders, gzip, zip, and what is refused."""

from __future__ import annotations

import gzip
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from reading_events import read_all, sample_data

from mltrack_plugin.errors import InputError
from mltrack_plugin.io import detect_format, open_events
from mltrack_plugin.io.acts_csv import ActsCsvReader
from mltrack_plugin.io.trackml_csv import TrackmlCsvReader

BIG = 4503668346847232
HITS = "hit_id,x,y,z,volume_id,layer_id,module_id\n"
TRUTH = "hit_id,particle_id,tx,ty,tz,tpx,tpy,tpz,weight\n"
PARTICLES = "particle_id,vx,vy,vz,px,py,pz,q,nhits\n"


def trackml_files(event: int = 1000) -> dict[str, str]:
    stem = f"event{event:09d}"
    return {
        f"{stem}-hits.csv": HITS + "1,1.5,2,3,7,2,1\n5,-1e2,0.25,-3,8,4,11\n2,7,8,9,9,6,12\n",
        f"{stem}-truth.csv": TRUTH
        + f"2,{BIG + 1},0,0,0,0,0,0,0.25\n1,{BIG},0,0,0,0,0,0,0.5\n5,0,0,0,0,0,0,0,0\n",
        f"{stem}-particles.csv": PARTICLES + f"{BIG},0,0,1,1,2,3,-1,1\n{BIG + 1},0,0,2,1,2,3,1,1\n",
        f"{stem}-cells.csv": "hit_id,ch0,ch1,value\n",
    }


def write(folder: Path, files: dict[str, str]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return str(folder)


def zipped(tmp_path: Path) -> str:
    with zipfile.ZipFile(tmp_path / "train.zip", "w") as archive:
        for event in (1001, 1000):
            for name, text in trackml_files(event).items():
                archive.writestr(f"train_sample/{name}", text)
        archive.writestr("__MACOSX/train_sample/._event000001000-hits.csv", "junk")
    return str(tmp_path / "train.zip")


def gzipped(tmp_path: Path) -> str:
    (tmp_path / "gz").mkdir()
    for event in (1000, 1001):
        for name, text in trackml_files(event).items():
            (tmp_path / "gz" / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    return str(tmp_path / "gz")


def plain(tmp_path: Path) -> str:
    return write(tmp_path / "plain", trackml_files(1000) | trackml_files(1001))


def zipped_gzip(tmp_path: Path) -> str:
    gzipped(tmp_path)
    with zipfile.ZipFile(tmp_path / "gz.zip", "w") as archive:
        for file in (tmp_path / "gz").iterdir():
            archive.write(file, file.name)
    return str(tmp_path / "gz.zip")


@pytest.mark.parametrize("source", [plain, gzipped, zipped, zipped_gzip])
def test_trackml_in_every_wrapping(tmp_path: Path, source: object) -> None:
    path = source(tmp_path)  # type: ignore[operator]
    assert detect_format(path) == "trackml-csv"
    reader = open_events(path)
    read = read_all(reader)
    assert reader.detector == "trackml"  # type: ignore[attr-defined]
    assert [e.event_number for e in read] == [1000, 1001]
    for event in read:
        assert event.error is None
        hits = event.collections["hits"]
        assert hits.hit_id.tolist() == [1, 5, 2]
        assert hits.x.tolist() == [1.5, -100, 7]
        assert hits.volume_id.tolist() == [7, 8, 9]
        assert hits.module_id.tolist() == [1, 11, 12]
        links = event.collections["truth_links"]
        assert links.particle_id.tolist() == [BIG, 0, BIG + 1]
        assert links.weight.tolist() == [0.5, 0, 0.25]
        particles = event.collections["particles"]
        assert particles.particle_id.tolist() == [BIG, BIG + 1]
        assert particles.nhits.tolist() == [1, 1]


def test_one_event_of_a_folder_and_hits_alone(tmp_path: Path) -> None:
    folder = plain(tmp_path)
    path = f"{folder}/event000001001-hits.csv"
    assert detect_format(path) == "trackml-csv"
    assert [e.event_number for e in read_all(open_events(path))] == [1001]
    for event in (1000, 1001):
        for stem in ("truth", "particles"):
            (Path(folder) / f"event{event:09d}-{stem}.csv").unlink()
    reader = open_events(folder)
    assert set(read_all(reader)[0].collections) == {"hits"}


def test_a_folder_in_memory() -> None:
    import fsspec

    files = fsspec.filesystem("memory")
    for name, text in trackml_files().items():
        files.pipe(f"/mltrack-trackml/{name}", text.encode())
    assert [e.event_number for e in read_all(open_events("memory://mltrack-trackml"))] == [1000]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("hits", "y,", "w,", r"-hits.csv has no column 'y'"),
        ("hits", "module_id\n", "module_id,charge\n", r"columns that this format does not know: 'charge'"),
        ("hits", "y,", "x,", r"has no column 'y'"),
        ("particles", ",q,", ",charge,", r"-particles.csv has no column 'q'"),
        (
            "truth",
            "particle_id",
            "particle",
            r"-truth.csv has no column 'particle_id'. Did you mean 'particle'",
        ),
    ],
)
def test_wrong_columns(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    files = trackml_files()
    key = f"event000001000-{name}.csv"
    files[key] = files[key].replace(old, new, 1)
    path = write(tmp_path / "t", files)
    with pytest.raises(InputError, match=message):
        read_all(TrackmlCsvReader(path=path))


def test_extra_columns_may_be_allowed(tmp_path: Path) -> None:
    files = trackml_files()
    head, *rows = files["event000001000-hits.csv"].splitlines()
    files["event000001000-hits.csv"] = "\n".join([f"{head},charge", *(f"{row},0.5" for row in rows)])
    path = write(tmp_path / "t", files)
    with pytest.raises(InputError, match="allow_extra_columns"):
        read_all(TrackmlCsvReader(path=path))
    assert read_all(TrackmlCsvReader(path=path, allow_extra_columns=True))[0].error is None


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("hits", "-1e2", "abc", r"column 'x'.*abc"),
        ("hits", "-1e2", "nan", r"1 of 3 hits have a non-finite x"),
        ("hits", "-1e2", "1e60", r"1 of 3 hits have a non-finite x"),
        ("hits", "5,-1e2", "1,-1e2", r"hit"),
        ("hits", "5,-1e2", "5.5,-1e2", r"column 'hit_id'.*5.5"),
        ("hits", "5,-1e2,0.25", "5,-1e2", r"[Ee]xpected 7 columns, got 6"),
        ("hits", "y,", "w,", r"has no column 'y'"),
        ("truth", f"1,{BIG},", f"1,{BIG + 9},", rf"first: particle_id {BIG + 9}"),
        ("truth", f"1,{BIG},", f"3,{BIG},", r"no row for 1 of 3 hits \(first: hit_id 1\)"),
        ("truth", "0.25", "-1", r"weights must be finite and not negative"),
        ("particles", f"{BIG + 1},", f"{BIG},", r"particle ids are repeated"),
    ],
)
def test_a_bad_event_costs_no_other(tmp_path: Path, name: str, old: str, new: str, message: str) -> None:
    files = trackml_files(1000) | trackml_files(1001) | trackml_files(1002)
    key = f"event000001001-{name}.csv"
    assert old in files[key]
    files[key] = files[key].replace(old, new, 1)
    read = read_all(TrackmlCsvReader(path=write(tmp_path / "t", files)))
    assert [e.error is None for e in read] == [True, False, True]
    assert read[1].error is not None
    assert "event 1001" in str(read[1].error)
    assert re.search(message, str(read[1].error))


def test_missing_files_of_one_event_and_duplicates(tmp_path: Path) -> None:
    files = trackml_files(1000) | trackml_files(1001)
    del files["event000001001-truth.csv"]
    read = read_all(TrackmlCsvReader(path=write(tmp_path / "t", files)))
    assert "has no file event000001001-truth.csv" in str(read[1].error)
    (tmp_path / "t" / "event000001000-hits.csv.gz").write_bytes(gzip.compress(b"x"))
    with pytest.raises(InputError, match="two files for 'hits' of event 1000"):
        read_all(TrackmlCsvReader(path=str(tmp_path / "t")))


def test_nothing_to_read(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is empty"):
        open_events(str(tmp_path / "empty"))
    with pytest.raises(InputError, match="holds no events"):
        read_all(TrackmlCsvReader(path=str(tmp_path / "empty")))
    other = write(tmp_path / "other", {"notes.txt": "hello"})
    with pytest.raises(InputError, match=r"holds no events of a known format; it holds notes.txt"):
        open_events(other)
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 this is no archive")
    with pytest.raises(InputError, match="cannot be opened as a zip archive"):
        open_events(str(tmp_path / "bad.zip"))
    headless = write(tmp_path / "headless", {"event000000001-hits.csv": "1,2,3,4,5,6,7\n"})
    with pytest.raises(InputError, match="begins with numbers; a line with the column names is needed"):
        read_all(TrackmlCsvReader(path=headless))
    empty = write(tmp_path / "zero", {"event000000001-hits.csv": ""})
    with pytest.raises(InputError, match="is empty; a line with the column names is needed"):
        read_all(TrackmlCsvReader(path=empty))
    bad = tmp_path / "gz"
    bad.mkdir()
    (bad / "event000000001-hits.csv.gz").write_bytes(gzip.compress(HITS.encode() * 100)[:-20])
    (event,) = read_all(TrackmlCsvReader(path=str(bad)))
    assert re.search(r"event 1: .*hits\.csv\.gz cannot be read \(EOFError", str(event.error))


def test_an_event_without_hits_is_an_event(tmp_path: Path) -> None:
    files = {"event000000001-hits.csv": HITS, "event000000002-hits.csv": HITS + "1,1,2,3,7,2,1\n"}
    read = read_all(TrackmlCsvReader(path=write(tmp_path / "t", files)))
    assert [(e.error, len(e.collections["hits"])) for e in read] == [(None, 0), (None, 1)]


def acts_files(*, old: bool = False) -> dict[str, str]:
    names = ["particle_id"] if old else [f"particle_id_{p}" for p in ("pv", "sv", "part", "gen", "subpart")]
    ids = ["4503599644147712", "4503599660924928"] if old else ["1,0,1,0,0", "1,0,2,0,0"]
    head = ",".join(names)
    numbers = "tx,ty,tz,tt,tpx,tpy,tpz,te,deltapx,deltapy,deltapz,deltae"
    return {
        "event000000003-hits.csv": f"{head},geometry_id,{numbers},index\n"
        + "".join(
            f"{ids[i % 2]},{(16 << 56) | (4 << 36) | (i << 8)},{i},{i + 10},{i + 20},2,0,0,0,0,0,0,0,0,{i}\n"
            for i in range(3)
        ),
        "event000000003-particles_initial.csv": f"{head},particle_type,process,vx,vy,vz,vt,px,py,pz,m,q\n"
        + "".join(f"{p},13,0,0,0,1,0,1,2,3,0.1,-1\n" for p in ids),
    }


def test_acts_hits_of_both_ages(tmp_path: Path) -> None:
    for old in (False, True):
        path = write(tmp_path / f"{old}", acts_files(old=old))
        assert detect_format(path) == "acts-csv"
        (event,) = read_all(open_events(path, time_unit="ns" if old else "mm"))
        assert event.error is None
        assert event.event_number == 3
        hits = event.collections["hits"]
        assert hits.z.tolist() == [20, 21, 22]
        assert hits.layer_id.tolist() == [4, 4, 4]
        assert hits.module_id.tolist() == [0, 1, 2]
        np.testing.assert_allclose(hits.time, 2 * (299.792458 if old else 1), rtol=1e-6)
        ids = [4503599644147712, 4503599660924928]
        assert event.collections["truth_links"].particle_id.tolist() == [ids[0], ids[1], ids[0]]
        assert event.collections["particles"].particle_id.tolist() == ids
        assert event.collections["particles"].pdg_id.tolist() == [13, 13]


def test_times_of_hits_that_come_before_light_are_ns(tmp_path: Path, caplog) -> None:
    files = acts_files(old=True)
    name = "event000000003-hits.csv"
    head, *rows = files[name].strip().split("\n")
    columns = head.split(",")
    cells = [row.split(",") for row in rows]
    for row in cells:
        far = sum(float(row[columns.index(c)]) ** 2 for c in ("tx", "ty", "tz")) ** 0.5
        row[columns.index("tt")] = repr(far / 299.792458)
    files[name] = "\n".join([head, *map(",".join, cells)]) + "\n"
    (event,) = read_all(open_events(write(tmp_path / "ns", files)))
    hits = event.collections["hits"]
    np.testing.assert_allclose(hits.time, np.linalg.norm(hits.positions, axis=1), rtol=1e-5)
    assert "times are taken as ns" in caplog.text
    (stated,) = read_all(open_events(write(tmp_path / "mm", files), time_unit="mm"))
    assert stated.collections["hits"].time.max() < 1


def test_times_are_mm_unless_the_user_says_otherwise(tmp_path: Path) -> None:
    # How particles are numbered says nothing about times.
    path = write(tmp_path / "old", acts_files(old=True))
    np.testing.assert_allclose(read_all(open_events(path))[0].collections["hits"].time, 2)


def test_acts_measurements_and_spacepoints(tmp_path: Path) -> None:
    files = acts_files()
    names = "measurement_id,geometry_id,local_key,local0,local1,phi,theta,time,var_local0,var_local1,var_phi"
    names += ",var_theta,var_time,global_x,global_y,global_z\n"
    rows = "".join(f"{i},{16 << 56},\x06,0,0,0,0,{i},0,0,0,0,0,{i},{i + 1},{i + 2}\n" for i in range(3))
    files["event000000003-measurements.csv"] = names + rows
    # Measurement 0 is merged from hits 1 and 0: the first in the map counts. Measurement 2 has no hit.
    files["event000000003-measurement-simhit-map.csv"] = "measurement_id,hit_id\n0,1\n0,0\n1,2\n"
    path = write(tmp_path / "m", files)
    (event,) = read_all(open_events(path))
    assert event.collections["hits"].y.tolist() == [1, 2, 3]
    ids = [4503599660924928, 4503599644147712, 0]
    assert event.collections["truth_links"].particle_id.tolist() == ids
    none = 2**64 - 1
    files["event000000003-spacepoint.csv"] = (
        "measurement_id_1,measurement_id_2,geometry_id_1,geometry_id_2,x,y,z,t,var_r,var_z\n"
        f"1,{none},{16 << 56},{none},5,6,7,0,0,0\n0,2,{16 << 56},0,8,9,10,0,0,0\n"
    )
    (event,) = read_all(open_events(write(tmp_path / "s", files)))
    assert event.collections["hits"].x.tolist() == [5, 8]
    assert event.collections["truth_links"].particle_id.tolist() == [ids[1], ids[0]]
    (event,) = read_all(ActsCsvReader(path=str(tmp_path / "s"), collection="hits"))
    assert len(event.collections["hits"]) == 3
    files["event000000003-measurement-simhit-map.csv"] += "2,9\n"
    (event,) = read_all(open_events(write(tmp_path / "b", files)))
    assert "hit_id 9 points nowhere, there are 3 hits" in str(event.error)


def test_acts_missing_column(tmp_path: Path) -> None:
    files = acts_files()
    key = "event000000003-hits.csv"
    files[key] = files[key].replace("particle_id_gen", "particle_id_g")
    with pytest.raises(InputError, match=r"does not know: 'particle_id_g'"):
        read_all(ActsCsvReader(path=write(tmp_path / "a", files)))
    with pytest.raises(InputError, match=r"no column 'particle_id_gen' \(nor 'particle_id'\)"):
        read_all(ActsCsvReader(path=str(tmp_path / "a"), allow_extra_columns=True))


def test_real_trackml_event() -> None:
    (event,) = read_all(TrackmlCsvReader(path=str(sample_data("trackml", "event000001001-hits.csv.gz"))))
    hits = event.collections["hits"]
    assert event.error is None
    assert len(hits) == 93680
    assert hits.hit_id[[0, -1]].tolist() == [1, 93680]
    assert set(np.unique(hits.volume_id)) == {7, 8, 9, 12, 13, 14, 16, 17, 18}
    assert hits.r.max() < 1100
    assert event.collections["particles"].particle_id[0] == BIG


def test_real_acts_event() -> None:
    (event,) = read_all(open_events(str(sample_data("acts_csv"))))
    assert event.error is None
    hits, particles = event.collections["hits"], event.collections["particles"]
    assert (len(hits), len(particles)) == (11862, 1000)
    # Times are lengths: between its first and its last hit no particle is faster than light.
    ids = event.collections["truth_links"].particle_id
    ratios = []
    for particle in np.unique(ids)[:100]:
        rows = np.flatnonzero(ids == particle)
        first, last = rows[np.argmin(hits.time[rows])], rows[np.argmax(hits.time[rows])]
        distance = np.linalg.norm(hits.positions[last] - hits.positions[first])
        ratios.append((hits.time[last] - hits.time[first]) / distance)
    assert min(ratios) > 0.999
    assert np.median(ratios) < 1.1


def test_noise_of_csv_files_with_an_id_of_its_own(tmp_path: Path) -> None:
    files = trackml_files()
    name = next(n for n in files if n.endswith("-truth.csv"))
    head, *rows = files[name].strip().split("\n")
    column = head.split(",").index("particle_id")
    cells = [row.split(",") for row in rows]
    cells[0][column] = "-1"
    files[name] = "\n".join([head, *(",".join(c) for c in cells)]) + "\n"
    path = write(tmp_path / "e", files)
    assert "reader: {noise_particle: -1}" in str(read_all(open_events(path))[0].error)
    links = read_all(open_events(path, noise_particle=-1))[0].collections["truth_links"]
    assert sorted(links.particle_id.tolist()) == sorted([0, *(int(c[column]) for c in cells[1:])])


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    write(tmp_path / "outer" / "train_1", trackml_files())
    with pytest.raises(
        InputError, match=r"outer holds no files, only the folders 'train_1'; give .*outer/train_1"
    ):
        open_events(str(tmp_path / "outer"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe is neither a file nor a folder \(a pipe or a device\?\)"):
        open_events(str(tmp_path / "pipe"))
    (tmp_path / "a::b.root").write_bytes(b"root")
    with pytest.raises(InputError, match="'::' in a path joins the parts of a chained URL"):
        open_events(str(tmp_path / "a::b.root"))
