"""ColliderML files of both ages, and TrackML tables with truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading_events import read_all, sample_data

from mltrack_plugin.errors import InputError
from mltrack_plugin.io import detect_format, open_events
from mltrack_plugin.io.colliderml import ColliderMLReader

NONE = 2**64 - 1
KINEMATICS = ("vx", "vy", "vz", "px", "py", "pz", "charge")


UNSIGNED = pa.uint64()


def hits(n_events: int, id_type: Any = UNSIGNED, **changes: Any) -> pa.Table:
    """Event i has i + 2 hits, of particles 0, 1, none, 0, ..."""
    none = NONE if id_type == UNSIGNED else -1
    rows = [list(range(i + 2)) for i in range(n_events)]
    columns: dict[str, Any] = {"event_id": pa.array([10 * i for i in range(n_events)], pa.uint32())}
    for c in ("x", "y", "z"):
        columns[c] = pa.array(
            [[100.0 * i + r for r in row] for i, row in enumerate(rows)], pa.list_(pa.float32())
        )
    columns["time"] = pa.array([[1.0 for _ in row] for row in rows], pa.list_(pa.float32()))
    columns["particle_id"] = pa.array([[(0, 1, none)[r % 3] for r in row] for row in rows], pa.list_(id_type))
    for c in ("volume_id", "layer_id", "surface_id"):
        columns[c] = pa.array(rows, pa.list_(pa.uint16()))
    return pa.table(columns | changes)


def particles(n_events: int, order: list[int] | None = None) -> pa.Table:
    events = order or list(range(n_events))
    columns: dict[str, Any] = {"event_id": pa.array([10 * i for i in events], pa.uint32())}
    columns["particle_id"] = pa.array([[0, 1]] * n_events, pa.list_(pa.uint64()))
    columns["pdg_id"] = pa.array([[13, -13]] * n_events, pa.list_(pa.int64()))
    for c in KINEMATICS:
        columns[c] = pa.array([[float(i), 2.0] for i in events], pa.list_(pa.float32()))
    return pa.table(columns)


def write(folder: Path, n_events: int = 7, rows: int = 3, **tables: pa.Table) -> str:
    pq.write_table(
        tables.get("hits", hits(n_events)), folder / "reco.tracker_hits.parquet", row_group_size=rows
    )
    pq.write_table(
        tables.get("particles", particles(n_events)), folder / "truth.particles.parquet", row_group_size=2
    )
    return str(folder)


@pytest.mark.parametrize("chunk_bytes", [1024, 10**7])
@pytest.mark.parametrize("order", [None, [3, 1, 0, 2, 6, 5, 4]])
def test_current_schema(tmp_path: Path, chunk_bytes: int, order: list[int] | None) -> None:
    path = write(tmp_path, particles=particles(7, order))
    assert detect_format(path) == detect_format(f"{path}/reco.tracker_hits.parquet") == "colliderml"
    for source in (path, f"{path}/reco.tracker_hits.parquet"):
        reader = open_events(source, chunk_bytes=chunk_bytes)
        read = read_all(reader)
        assert reader.detector == "odd"  # type: ignore[attr-defined]
        assert [e.event_number for e in read] == [0, 10, 20, 30, 40, 50, 60]
        for i, event in enumerate(read):
            assert event.error is None
            assert event.collections["hits"].y.tolist() == [100 * i + r for r in range(i + 2)]
            assert event.collections["hits"].hit_id.tolist() == list(range(i + 2))
            assert event.collections["hits"].module_id.tolist() == list(range(i + 2))
            np.testing.assert_allclose(event.collections["hits"].time, 299.792458, rtol=1e-6)
            assert event.collections["truth_links"].particle_id.tolist() == [
                (1, 2, 0)[r % 3] for r in range(i + 2)
            ]
            assert event.collections["particles"].particle_id.tolist() == [1, 2]
            assert event.collections["particles"].q.tolist() == [i, 2]


def test_ranges_and_steps_back(tmp_path: Path) -> None:
    reader = ColliderMLReader(path=write(tmp_path), chunk_bytes=1024)
    reader.initialize()
    for start, stop in ((5, 7), (0, 2), (4, 5), (2, 7), (6, 6), (0, 1)):
        assert [e.event_number for e in reader.events(start, stop)] == [10 * i for i in range(start, stop)]


@pytest.mark.parametrize("name", ["train-00000-of-00001.parquet", "tracker_hits_000000-000003.parquet"])
def test_particles_in_a_folder_of_their_own(tmp_path: Path, name: str) -> None:
    folders = [tmp_path / f"run_{kind}" / "data" / f"run_{kind}" for kind in ("tracker_hits", "particles")]
    for folder, table in zip(folders, (hits(3), particles(3)), strict=True):
        folder.mkdir(parents=True)
        pq.write_table(table, folder / name.replace("tracker_hits", folder.name.removeprefix("run_")))
    assert detect_format(str(folders[0])) == "colliderml"
    read = read_all(open_events(str(folders[0])))
    assert [e.collections["particles"].particle_id.tolist() for e in read] == [[1, 2]] * 3
    times = read_all(open_events(str(folders[0]), time_unit="mm"))[2].collections["hits"].time
    np.testing.assert_allclose(times, 1.0)


def test_early_ids_are_signed(tmp_path: Path) -> None:
    read = read_all(ColliderMLReader(path=write(tmp_path, hits=hits(7, pa.int64()))))
    assert read[2].collections["truth_links"].particle_id.tolist() == [1, 2, 0, 1]


def test_dropped_particles(tmp_path: Path) -> None:
    ids = pa.array([[0, 5] for _ in range(7)], pa.list_(pa.uint64()))
    table = hits(7, particle_id=ids)
    for c in ("x", "y", "z", "time", "volume_id", "layer_id", "surface_id"):
        table = table.set_column(
            table.schema.get_field_index(c), c, pa.array([[1, 2]] * 7, table.schema.field(c).type)
        )
    path = write(tmp_path, hits=table)
    assert read_all(ColliderMLReader(path=path))[0].collections["truth_links"].particle_id.tolist() == [1, 6]
    noise = read_all(ColliderMLReader(path=path, unknown_particles="noise"))[0]
    assert noise.collections["truth_links"].particle_id.tolist() == [1, 0]
    bad = read_all(ColliderMLReader(path=path, unknown_particles="error"))[0]
    assert "event 0: the truth of 1 hits points to particles" in str(bad.error)


def test_hits_alone(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "truth.particles.parquet").unlink()
    read = read_all(open_events(str(tmp_path)))
    assert set(read[0].collections) == {"hits", "truth_links"}
    assert set(read_all(open_events(str(tmp_path), read_truth=False))[0].collections) == {"hits"}


def test_wrong_files(tmp_path: Path) -> None:
    path = write(tmp_path, hits=hits(7).drop_columns(["y"]))
    with pytest.raises(InputError, match=r"reco.tracker_hits.parquet has no column 'y'"):
        read_all(ColliderMLReader(path=path))
    write(tmp_path, particles=particles(6))
    with pytest.raises(InputError, match=r"has no row for 1 events .*first: event_id 60"):
        read_all(ColliderMLReader(path=path))
    write(tmp_path, hits=hits(7, time=pa.array([1.0] * 7)))
    with pytest.raises(
        InputError, match=r"column 'time' holds double, a list of numbers per event is needed"
    ):
        read_all(ColliderMLReader(path=path))
    write(tmp_path, hits=hits(0))
    with pytest.raises(InputError, match="holds no events"):
        read_all(ColliderMLReader(path=path))
    with pytest.raises(InputError, match=r"Parquet file without hits .*give the tracker_hits file"):
        open_events(f"{path}/truth.particles.parquet")
    content = (tmp_path / "truth.particles.parquet").read_bytes()
    (tmp_path / "reco.tracker_hits.parquet").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot be opened as a Parquet file"):
        open_events(f"{path}/reco.tracker_hits.parquet")


def test_columns_of_different_length(tmp_path: Path) -> None:
    lists = [[1.0] * (i + 2) for i in range(7)]
    lists[4] = [1.0]
    path = write(tmp_path, hits=hits(7, z=pa.array(lists, pa.list_(pa.float32()))))
    read = read_all(ColliderMLReader(path=path))
    assert [e.error is None for e in read] == [True, True, True, True, False, True, True]
    assert "event 40: 'z' has 1 entries, 'x' has 6" in str(read[4].error)
    assert len(read[5].collections["hits"]) == 7


def test_real_colliderml_events() -> None:
    reader = open_events(str(sample_data("colliderml")))
    read = read_all(reader)
    assert [len(e.collections["hits"]) for e in read] == [1481, 1725, 2968, 3022, 2720]
    for event in read:
        assert event.error is None
        links, table = event.collections["truth_links"], event.collections["particles"]
        # The file counts the hits of each particle itself.
        counted = [(links.particle_id == p).sum() for p in table.particle_id]
        assert counted == table.nhits.tolist()
        assert abs(event.collections["hits"].z).max() < 3100


def test_real_acts_arrow_schema() -> None:
    """The columns that the Arrow converters of ACTS state are those that the reader takes."""
    arrow = pytest.importorskip("acts.arrow")
    for table, schema in ((hits(1), arrow.simHitSchema()), (particles(1), arrow.particleSchema())):
        stated = {line.split(":")[0] for line in str(schema).splitlines()}
        assert set(table.schema.names) - {"event_id"} <= stated


def trackml(event: int, **changes: Any) -> pa.Table:
    n = 4
    ids = np.array([2**60 + 1, 0, 2**60 + 3, 2**60 + 1])
    columns = {"event_id": np.full(n, event), "hit_id": np.array([4, 8, 15, 16]), "particle_id": ids}
    columns |= {c: np.arange(n, dtype=float) + i for i, c in enumerate("xyz")}
    columns |= {c: np.arange(n) for c in ("volume_id", "layer_id", "module_id")}
    columns |= {c: ids % 7 + i for i, c in enumerate(("vx", "vy", "vz", "px", "py", "pz", "q", "nhits"))}
    return pa.table(columns | {"label_src": ["p"] * n} | changes)


def test_trackml_tables(tmp_path: Path) -> None:
    pq.write_table(pa.concat_tables([trackml(5), trackml(6)]), tmp_path / "a-labelled.parquet")
    pq.write_table(trackml(9), tmp_path / "b-labelled.parquet")
    assert detect_format(str(tmp_path)) == "trackml-parquet"
    assert detect_format(str(tmp_path / "a-labelled.parquet")) == "trackml-parquet"
    read = read_all(open_events(str(tmp_path)))
    assert [e.event_number for e in read] == [5, 6, 9]
    for event in read:
        assert event.error is None
        assert event.collections["hits"].hit_id.tolist() == [4, 8, 15, 16]
        ids = [2**60 + 1, 2**60 + 3]
        assert event.collections["truth_links"].particle_id.tolist() == [ids[0], 0, ids[1], ids[0]]
        table = event.collections["particles"]
        assert table.particle_id.tolist() == ids
        assert table.px.tolist() == [i % 7 + 3 for i in ids]
    # Events of another place.
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("a-labelled.parquet", "b-labelled.parquet"):
        (linked / name).symlink_to(tmp_path / name)
    (linked / "folder").symlink_to(tmp_path, target_is_directory=True)
    (linked / "c-labelled.parquet").symlink_to(tmp_path / "gone")
    assert [e.event_number for e in read_all(open_events(str(linked)))] == [5, 6, 9]
    pq.write_table(trackml(9).drop_columns(["px"]), tmp_path / "b-labelled.parquet")
    with pytest.raises(InputError, match=r"b-labelled.parquet has no column 'px'. Did you mean"):
        read_all(open_events(str(tmp_path)))


def test_rows_of_trackml_events_that_are_not_together_are_grouped(tmp_path: Path) -> None:
    table = pa.concat_tables([trackml(5), trackml(6)])
    pq.write_table(table.take([5, 0, 6, 1, 2, 7, 4, 3]), tmp_path / "a-labelled.parquet")
    read = read_all(open_events(str(tmp_path)))
    assert [e.event_number for e in read] == [5, 6]
    assert [e.collections["hits"].hit_id.tolist() for e in read] == [[4, 8, 15, 16], [8, 15, 16, 4]]
    assert [e.collections["hits"].x.tolist() for e in read] == [[0, 1, 2, 3], [1, 2, 3, 0]]


def test_repeated_event_numbers_of_parquet_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a-labelled.parquet"
    pq.write_table(pa.concat_tables([trackml(5), trackml(6), trackml(5)]), path)
    with pytest.raises(
        InputError, match=r"a-labelled.parquet, column 'event_id': the rows of event 5 do not lie"
    ):
        read_all(open_events(str(tmp_path)))
    pq.write_table(trackml(5), path)
    pq.write_table(trackml(5), tmp_path / "b-labelled.parquet")
    with pytest.raises(InputError, match="event number 5 is that of 2 files"):
        read_all(open_events(str(tmp_path)))
    folder = tmp_path / "c"
    folder.mkdir()
    for name in ("a.tracker_hits.parquet", "b.tracker_hits.parquet"):
        pq.write_table(hits(3), folder / name)
    with pytest.raises(InputError, match=r"column 'event_id': event number 0 is that of 2 rows \(3 of 3"):
        read_all(open_events(str(folder)))


def test_real_trackml_tables() -> None:
    read = read_all(open_events(str(sample_data("trackml")), "trackml-parquet"))
    assert [e.event_number for e in read] == [1001, 1003, 1005, 1009]
    assert [len(e.collections["hits"]) for e in read] == [10558, 12543, 13077, 13375]
    for event in read:
        assert event.error is None
        assert (event.collections["truth_links"].particle_id > 0).all()
        assert (event.collections["particles"].pt > 0.49).all()
