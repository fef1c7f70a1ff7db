"""ACTS ROOT trees: flat hits, measurements and space points with their particles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from reading_events import read_all, write_flat

from mltrack_plugin.detectors.geometry_ids import geometry_columns, join_geometry_id
from mltrack_plugin.errors import EventDataError, InputError
from mltrack_plugin.event_data.barcodes import pack_barcode, unpack_barcode
from mltrack_plugin.io import detect_format, open_events
from mltrack_plugin.io.acts_root import ActsRootReader

PARTS = ("vertex_primary", "vertex_secondary", "particle", "generation", "sub_particle")
#: Event of each hit: written by several threads, so events are out of order but in one piece.
EVENT = np.array([5, 5, 5, 2, 2, 9], dtype=np.uint32)
PARTICLE = np.array([1, 2, 1, 7, 0, 3], dtype=np.uint32)


def hits_tree(**changes: Any) -> dict[str, Any]:
    row = np.arange(len(EVENT), dtype=np.float32)
    surface = join_geometry_id(row.astype(int) + 16, row.astype(int) * 2, row.astype(int) + 1000)
    barcode = {f"barcode_{p}": np.zeros(len(EVENT), np.uint32) for p in PARTS}
    barcode |= {"barcode_particle": PARTICLE, "barcode_vertex_primary": (PARTICLE > 0).astype(np.uint32)}
    positions = {"tx": row, "ty": row + 10, "tz": row + 20, "tt": row + 30}
    return {"event_id": EVENT, "geometry_id": surface, **barcode, **positions} | changes


def particles_tree(particles: dict[int, list[int]] | None = None) -> dict[str, Any]:
    particles = particles or {2: [7], 5: [1, 2], 9: [3, 4]}
    rows = ak.Array(list(particles.values()))
    columns: dict[str, Any] = {"event_id": np.array(list(particles), np.uint32)}
    for p in PARTS:
        columns[p] = ak.values_astype(
            rows if p == "particle" else rows * 0 + (p == "vertex_primary"), np.uint32
        )
    for c in ("vx", "vy", "vz", "px", "py", "pz", "q"):
        columns[c] = ak.values_astype(rows, np.float32)
    return columns | {"number_of_hits": ak.values_astype(rows, np.int32)}


def barcode(*particle: int) -> list[int]:
    return [(1 << 52) | (p << 24) if p else 0 for p in particle]


def test_hits_with_particles_beside(tmp_path: Path) -> None:
    path = write_flat(tmp_path / "hits.root", {"hits": hits_tree()})
    write_flat(tmp_path / "particles.root", {"particles": particles_tree()})
    assert detect_format(path) == detect_format(str(tmp_path)) == "acts-root"
    for source in (path, str(tmp_path)):
        read = read_all(open_events(source, chunk_bytes=1024))
        assert [e.event_number for e in read] == [5, 2, 9]
        assert [e.error for e in read] == [None] * 3
        hits = read[0].collections["hits"]
        assert hits.x.tolist() == [0, 1, 2]
        assert hits.time.tolist() == [30, 31, 32]
        assert hits.hit_id.tolist() == [0, 1, 2]
        assert hits.volume_id.tolist() == [16, 17, 18]
        assert hits.layer_id.tolist() == [0, 2, 4]
        assert hits.module_id.tolist() == [1000, 1001, 1002]
        assert read[0].collections["truth_links"].particle_id.tolist() == barcode(1, 2, 1)
        assert read[1].collections["truth_links"].particle_id.tolist() == barcode(7, 0)
        assert read[2].collections["particles"].particle_id.tolist() == barcode(3, 4)
        assert read[2].collections["particles"].nhits.tolist() == [3, 4]


def test_events_in_two_pieces_are_refused(tmp_path: Path) -> None:
    event = np.array([5, 5, 2, 5, 2, 9], dtype=np.uint32)
    path = write_flat(tmp_path / "h.root", {"hits": hits_tree(event_id=event)})
    with pytest.raises(
        InputError,
        match=r"tree 'hits', branch 'event_id': event 5: its entries lie in 2 separate blocks \(the second begins "
        r"at entry 3; 2 of 3 events are like this\)\. If files with equal event numbers were merged",
    ):
        read_all(ActsRootReader(path=path))


def test_merged_files_whose_events_have_one_number_are_refused(tmp_path: Path) -> None:
    hits = {"hits": hits_tree(event_id=np.zeros(6, np.uint32))}
    particles = particles_tree({0: [1], 1: [2], 2: [3]}) | {"event_id": np.zeros(3, np.uint32)}
    path = write_flat(tmp_path / "h.root", hits | {"particles": particles})
    with pytest.raises(
        InputError, match=r"tree 'particles', branch 'event_id': event number 0 is that of 3 ent"
    ):
        read_all(ActsRootReader(path=path))
    # Without particles it is the hits of a particle that occur again.
    tree = hits_tree(
        event_id=np.array([0, 0, 0, 0, 4, 4], np.uint32),
        barcode_particle=np.array([1, 2, 1, 2, 1, 1], np.uint32),
        index=np.array([0, 0, 0, 0, 0, 1], np.int32),
    )
    read = read_all(ActsRootReader(path=write_flat(tmp_path / "g.root", {"hits": tree})))
    assert [e.error is None for e in read] == [False, True]
    assert "event 0: the particle" in str(read[0].error)
    assert "several events of one number" in str(read[0].error)


def test_truth_that_points_nowhere(tmp_path: Path) -> None:
    trees = {"hits": hits_tree(), "particles": particles_tree({5: [1], 2: [7], 9: [3]})}
    path = write_flat(tmp_path / "h.root", trees)
    read = read_all(ActsRootReader(path=path))
    assert [e.error is None for e in read] == [False, True, True]
    assert "the truth of 1 hits points to particles that are not in" in str(read[0].error)
    assert f"(first: particle_id {barcode(2)[0]})" in str(read[0].error)
    assert all(e.error is None for e in read_all(ActsRootReader(path=path, unknown_particles="keep")))


def test_a_barcode_that_does_not_fit_is_an_error_of_its_event(tmp_path: Path) -> None:
    generation = np.array([0, 0, 0, 256, 0, 0], dtype=np.uint32)
    path = write_flat(tmp_path / "h.root", {"hits": hits_tree(barcode_generation=generation)})
    read = read_all(ActsRootReader(path=path))
    assert [e.error is None for e in read] == [True, False, True]
    assert "particle barcode part 'generation' is 256" in str(read[1].error)


def measurements_tree() -> dict[str, Any]:
    row = np.arange(len(EVENT), dtype=np.float32)
    # The third measurement is merged from two particles; the fifth is noise.
    particle = ak.Array([[1], [2], [2, 1], [7], [], [3]])
    lists = {
        f"particles_{p}": ak.values_astype(particle * 0 + (p == "vertex_primary"), np.uint32) for p in PARTS
    }
    lists["particles_particle"] = ak.values_astype(particle, np.uint32)
    ids = {n: np.arange(len(EVENT), dtype=np.int32) for n in ("volume_id", "layer_id", "surface_id")}
    return {
        "event_nr": EVENT.astype(np.int32),
        "rec_loc0": row,
        "rec_gx": row,
        "rec_gy": row,
        "rec_gz": row,
        **ids,
        **lists,
    }


def test_measurements_take_the_first_particle(tmp_path: Path) -> None:
    path = write_flat(tmp_path / "m.root", {"measurements": measurements_tree()})
    assert detect_format(path) == "acts-root"
    read = read_all(open_events(path))
    assert read[0].collections["truth_links"].particle_id.tolist() == barcode(1, 2, 2)
    assert read[1].collections["truth_links"].particle_id.tolist() == barcode(7, 0)
    hits = read[1].collections["hits"]
    assert hits.volume_id.tolist() == [3, 4]
    assert hits.geometry_id.tolist() == [(i << 56) | (i << 36) | (i << 8) for i in (3, 4)]


@pytest.mark.parametrize("name", ["spacepoints", "spacePoints"])
def test_spacepoints_find_truth_through_measurements(tmp_path: Path, name: str) -> None:
    points = {
        "event_id": np.array([2, 5, 5, 5], np.uint32),
        "measurement_id": np.array([0, 2, 0, 1], np.uint64),
        "geometry_id": np.zeros(4, np.uint64),
        **{c: np.arange(4, dtype=np.float32) for c in ("x", "y", "z", "t")},
        "fake": np.array([False, False, False, True]),
    }
    path = write_flat(tmp_path / "spacepoints.root", {name: points})
    assert detect_format(path) == "acts-root"
    plain = read_all(open_events(path))
    assert set(plain[0].collections) == {"hits"}
    write_flat(tmp_path / "measurements.root", {"measurements": measurements_tree()})
    read = read_all(open_events(path))
    assert read[0].collections["truth_links"].particle_id.tolist() == barcode(7)
    assert read[1].collections["truth_links"].particle_id.tolist() == barcode(2, 1, 0)
    points["measurement_id"][1] = 3
    write_flat(tmp_path / "spacepoints.root", {name: points})
    bad = read_all(open_events(path))
    assert bad[0].error is None
    assert "event 5: measurement_id 3 points nowhere" in str(bad[1].error)


def test_missing_tree_and_branch(tmp_path: Path) -> None:
    path = write_flat(tmp_path / "h.root", {"hits": {k: v for k, v in hits_tree().items() if k != "ty"}})
    with pytest.raises(InputError, match=r"h.root, tree 'hits' has no branch 'ty' \(for 'y'\). Did you mean"):
        read_all(ActsRootReader(path=path))
    with pytest.raises(InputError, match="has none of the ACTS trees spacepoints, spacePoints"):
        read_all(ActsRootReader(path=path, collection="spacepoints"))


def test_barcodes_are_packed_as_acts_did() -> None:
    parts = [np.array(p) for p in ([1, 4095, 0], [0, 4095, 0], [1, 65535, 0], [0, 255, 0], [0, 65535, 0])]
    ids = pack_barcode(*parts)
    # The first is the particle of the first row of an ACTS file from the time of 64-bit barcodes.
    assert ids.tolist() == [4503599644147712, 2**64 - 1, 0]
    for part, back in zip(parts, unpack_barcode(ids), strict=True):
        assert part.tolist() == back.tolist()
    with pytest.raises(EventDataError, match="'vertex_primary' is 4096"):
        pack_barcode([4096], [0], [0], [0], [0])


def test_geometry_identifiers() -> None:
    columns = geometry_columns(np.array([1152921779484754433], dtype=np.uint64))
    assert {k: v.tolist() for k, v in columns.items() if k != "geometry_id"} == {
        "volume_id": [16],
        "layer_id": [4],
        "module_id": [2],
    }
