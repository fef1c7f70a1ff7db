"""Event-wise ROOT files: own layout, branch mapping, and every way in which they can be wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from reading_events import BIG, hits_of, particles_of, read_all, write_events, write_flat

from mltrack_plugin.errors import ConfigurationError, EventError, InputError
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.io import detect_format, open_events
from mltrack_plugin.io.root_events import RootEventsReader

NUMBERS = [7, 3, 2**40, 0, 12]
CONTAINERS = pytest.mark.parametrize("rntuple", [False, True], ids=["ttree", "rntuple"])


def events(**changes: Any) -> dict[str, Any]:
    """Trees of five events; ``changes`` replace hit columns of the second one."""
    hits = [hits_of(i, n=n) for i, n in enumerate([5, 4, 1, 0, 6])]
    hits[1] |= changes
    return {"hits": hits, "particles": [particles_of(i) for i in range(5)]}


@CONTAINERS
@pytest.mark.parametrize("batch", [1, 2, 100])
@pytest.mark.parametrize("chunk_bytes", [1024, 10**7])
def test_events_come_back_exactly(tmp_path: Path, rntuple: bool, batch: int, chunk_bytes: int) -> None:
    path = write_events(tmp_path / "e.root", events(), NUMBERS, rntuple=rntuple, batch=batch)
    assert detect_format(path) == "root-events"
    read = read_all(open_events(path, chunk_bytes=chunk_bytes))
    assert [e.event_number for e in read] == NUMBERS
    assert [e.index for e in read] == [0, 1, 2, 3, 4]
    for i, event in enumerate(read):
        assert event.error is None
        truth = {k: v for k, v in events()["hits"][i].items() if k != "particle_id"}
        assert event.collections["hits"].equals(Hits(**truth))
        links = TruthLinks(events()["hits"][i]["particle_id"])
        assert event.collections["truth_links"].equals(links)
        assert event.collections["particles"].equals(Particles(**events()["particles"][i]))


def test_big_ids_stay_apart(tmp_path: Path) -> None:
    path = write_events(tmp_path / "e.root", events(), NUMBERS)
    links = read_all(RootEventsReader(path=path))[0].collections["truth_links"]
    assert links.particle_id.tolist() == [BIG + 1, BIG + 2, BIG + 1, BIG + 2, BIG + 1]


@CONTAINERS
def test_any_range_of_events(tmp_path: Path, rntuple: bool) -> None:
    path = write_events(tmp_path / "e.root", events(), NUMBERS, rntuple=rntuple, batch=2)
    for start in range(6):
        for stop in [*range(7), None]:
            got = [
                e.event_number for e in read_all(RootEventsReader(path=path, chunk_bytes=1024), start, stop)
            ]
            assert got == NUMBERS[start:stop]


def test_collections_are_read_only(tmp_path: Path) -> None:
    hits = read_all(RootEventsReader(path=write_events(tmp_path / "e.root", events(), NUMBERS)))[
        0
    ].collections["hits"]
    with pytest.raises(ValueError, match="read-only"):
        hits.x[0] = 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"x": np.array([0, np.nan, 2, 3], np.float32)},
            r"1 of 4 hits have a non-finite x \(first at row 1: nan\)",
        ),
        ({"z": np.array([0, 1, 2, -np.inf], np.float32)}, r"1 of 4 hits have a non-finite z"),
        (
            {"hit_id": np.array([4, 9, 4, 1], np.uint64)},
            r"1 hit ids are repeated \(hit_id 4 occurs 2 times\)",
        ),
        (
            {"particle_id": np.array([BIG + 1, BIG + 3, 0, BIG + 3], np.uint64)},
            rf"truth of 2 hits points to particles that are not .* \(first: particle_id {BIG + 3}\)",
        ),
    ],
)
@CONTAINERS
def test_a_bad_event_costs_no_other(tmp_path: Path, rntuple: bool, change: Any, message: str) -> None:
    path = write_events(tmp_path / "e.root", events(**change), NUMBERS, rntuple=rntuple)
    read = read_all(RootEventsReader(path=path))
    assert [e.error is not None for e in read] == [False, True, False, False, False]
    assert not read[1].collections
    with pytest.raises(EventError, match=message) as caught:
        raise read[1].error  # type: ignore[misc]
    assert str(caught.value).startswith(f"{path}, tree 'hits', event 3: ")


def test_unordered_hit_ids_are_fine(tmp_path: Path) -> None:
    path = write_events(tmp_path / "e.root", events(hit_id=np.array([9, 2, 5, 1], np.uint64)), NUMBERS)
    assert all(e.error is None for e in read_all(RootEventsReader(path=path)))


def test_unknown_particles_as_noise_or_kept(tmp_path: Path) -> None:
    ids = np.array([BIG + 1, BIG + 3, 0, BIG + 3], np.uint64)
    path = write_events(tmp_path / "e.root", events(particle_id=ids), NUMBERS)
    for choice, wanted in (("noise", [BIG + 1, 0, 0, 0]), ("keep", ids.tolist())):
        event = read_all(RootEventsReader(path=path, unknown_particles=choice))[1]
        assert event.collections["truth_links"].particle_id.tolist() == wanted


def test_a_particle_of_another_event_is_no_match(tmp_path: Path) -> None:
    trees = events()
    trees["particles"] = [particles_of(i, ids=(BIG + 1 + 2 * i, BIG + 2 + 2 * i)) for i in range(5)]
    bad = [
        e.error is not None
        for e in read_all(RootEventsReader(path=write_events(tmp_path / "e.root", trees, NUMBERS)))
    ]
    assert bad == [False, True, True, False, True]


@pytest.mark.parametrize("ids", [(BIG + 1, BIG + 1, BIG + 2), (0, BIG + 1, BIG + 2)])
def test_bad_particle_ids(tmp_path: Path, ids: tuple[int, ...]) -> None:
    trees = events()
    trees["particles"][2] = particles_of(2, ids=ids)
    read = read_all(RootEventsReader(path=write_events(tmp_path / "e.root", trees, NUMBERS)))
    assert [e.error is not None for e in read] == [False, False, True, False, False]


def test_without_truth(tmp_path: Path) -> None:
    trees = events()
    for hits in trees["hits"]:
        del hits["particle_id"]
    reader = RootEventsReader(path=write_events(tmp_path / "e.root", {"hits": trees["hits"]}, NUMBERS))
    assert set(read_all(reader)[0].collections) == {"hits"}
    assert [h.key for h in reader.outputs] == ["hits"]
    full = write_events(tmp_path / "f.root", events(), NUMBERS)
    assert set(read_all(RootEventsReader(path=full, read_truth=False))[0].collections) == {"hits"}


def test_other_keys(tmp_path: Path) -> None:
    path = write_events(tmp_path / "e.root", events(), NUMBERS)
    reader = RootEventsReader(path=path, hits="pixels", truth_links="links", particles="mc")
    assert set(read_all(reader)[0].collections) == {"pixels", "links", "mc"}
    assert {h.key for h in reader.outputs} == {"pixels", "links", "mc"}


def test_mapped_branches_and_metres(tmp_path: Path) -> None:
    hits = [{"sp_x": h["x"] / 1000, "sp_y": h["y"] / 1000, "sp_z": h["z"] / 1000} for h in events()["hits"]]
    path = write_events(tmp_path / "e.root", {"SpacePoints": hits}, NUMBERS)
    mapping = {"x": "sp_x", "y": "sp_y", "z": "sp_z"}
    read = read_all(RootEventsReader(path=path, tree="SpacePoints", branches=mapping, length_unit="m"))
    np.testing.assert_allclose(read[1].collections["hits"].x, events()["hits"][1]["x"], rtol=1e-6)
    assert read[0].collections["hits"].hit_id.tolist() == [0, 1, 2, 3, 4]


def test_mapped_flat_tree(tmp_path: Path) -> None:
    run = np.array([4, 4, 4, 9, 9, 1], dtype=np.int32)
    columns = {"evt": run, "px_x": np.arange(6.0), "px_y": np.arange(6.0) + 1, "px_z": np.arange(6.0) + 2}
    path = write_flat(tmp_path / "e.root", {"t": columns})
    mapping = {"x": "px_x", "y": "px_y", "z": "px_z"}
    read = read_all(RootEventsReader(path=path, tree="t", branches=mapping | {"event_number": "evt"}))
    assert [(e.event_number, e.collections["hits"].x.tolist()) for e in read] == [
        (4, [0, 1, 2]),
        (9, [3, 4]),
        (1, [5]),
    ]
    with pytest.raises(InputError, match="one entry per hit and no branch that tells the event"):
        read_all(RootEventsReader(path=path, tree="t", branches=mapping))


def test_a_mapping_of_no_column_is_refused(tmp_path: Path) -> None:
    path = write_events(tmp_path / "e.root", events(), NUMBERS)
    with pytest.raises(ConfigurationError, match=r"no column 'hitid' to map. Did you mean 'hit_id'"):
        read_all(RootEventsReader(path=path, branches={"hitid": "x"}))


def test_missing_tree_and_branch_name_the_nearest(tmp_path: Path) -> None:
    path = write_events(tmp_path / "e.root", events(), NUMBERS)
    with pytest.raises(InputError, match=r"e.root has no tree 'hit'. Did you mean 'hits'"):
        read_all(RootEventsReader(path=path, tree="hit"))
    with pytest.raises(
        InputError, match=r"e.root, tree 'hits' has no branch 'xx' \(for 'x'\). Did you mean 'x'"
    ):
        read_all(RootEventsReader(path=path, branches={"x": "xx"}))
    other = write_events(tmp_path / "o.root", {"points": events()["hits"]}, NUMBERS)
    with pytest.raises(InputError, match=r"no tree of hits that is known; it has 'points'"):
        detect_format(other)


def test_branches_of_different_length(tmp_path: Path) -> None:
    trees = events(y=np.zeros(3, np.float32))
    with uproot.recreate(tmp_path / "e.root") as file:
        tree = None
        for column in trees["hits"][0]:
            rows = [h[column] for h in trees["hits"]]
            tree = (tree or {}) | {column: rows}
        from reading_events import jagged

        arrays = {c: jagged(rows) for c, rows in (tree or {}).items()}
        file.mkrntuple("hits", arrays)
    read = read_all(RootEventsReader(path=str(tmp_path / "e.root")))
    assert [e.error is not None for e in read] == [False, True, False, False, False]
    assert "'y' has 3 entries, 'x' has 4" in str(read[1].error)
    np.testing.assert_array_equal(read[2].collections["hits"].x, trees["hits"][2]["x"])


def test_ids_stored_as_floats_are_refused(tmp_path: Path) -> None:
    trees = events()
    for hits in trees["hits"]:
        hits["particle_id"] = hits["particle_id"].astype(np.float64)
    with pytest.raises(InputError, match="column 'particle_id' holds float64, integers are needed"):
        read_all(RootEventsReader(path=write_events(tmp_path / "e.root", trees, NUMBERS)))


def test_a_negative_id_is_an_error_of_its_event(tmp_path: Path) -> None:
    trees = events()
    for hits in trees["hits"]:
        hits["particle_id"] = (np.arange(len(hits["x"])) % 2 + 1).astype(np.int64)
    trees["hits"][4]["particle_id"][3] = -1
    del trees["particles"]
    read = read_all(RootEventsReader(path=write_events(tmp_path / "e.root", trees, NUMBERS)))
    assert [e.error is not None for e in read] == [False, False, False, False, True]
    assert "'particle_id' must not be negative" in str(read[4].error)


def test_particles_of_other_events(tmp_path: Path) -> None:
    trees = events()
    short = write_events(tmp_path / "s.root", {"hits": trees["hits"]}, NUMBERS)
    with uproot.update(short) as file:
        from reading_events import jagged

        part = trees["particles"][:3]
        file.mkrntuple("particles", {c: jagged([p[c] for p in part]) for c in part[0]})
    with pytest.raises(InputError, match=r"'particles' has 3 entries, tree 'hits' has 5"):
        read_all(RootEventsReader(path=short))


class TestDamage:
    """Files that are no ROOT files, or no longer."""

    def test_missing(self, tmp_path: Path) -> None:
        (tmp_path / "events.root").touch()
        with pytest.raises(InputError, match=r"event.root does not exist. Did you mean 'events.root'"):
            open_events(str(tmp_path / "event.root"))

    def test_empty(self, tmp_path: Path) -> None:
        (tmp_path / "e.root").touch()
        with pytest.raises(InputError, match=r"e.root is empty \(0 bytes\)"):
            open_events(str(tmp_path / "e.root"))

    def test_not_root(self, tmp_path: Path) -> None:
        (tmp_path / "e.root").write_bytes(b"hello, this is text\n")
        for format in (None, "root-events"):
            with pytest.raises(InputError, match="is not a ROOT file"):
                read_all(open_events(str(tmp_path / "e.root"), format))

    @pytest.mark.parametrize("keep", [10, 200, 0.5, 0.99])
    def test_truncated(self, tmp_path: Path, keep: float) -> None:
        content = Path(write_events(tmp_path / "e.root", events(), NUMBERS)).read_bytes()
        cut = tmp_path / "cut.root"
        cut.write_bytes(content[: int(keep if keep > 1 else keep * len(content))])
        with pytest.raises(InputError, match="is truncated"):
            open_events(str(cut))

    @CONTAINERS
    def test_overwritten_data(self, tmp_path: Path, rntuple: bool) -> None:
        hits = [hits_of(i, n=500) for i in range(20)]
        for h in hits:
            h["x"] = np.random.default_rng(1).normal(size=500).astype(np.float32)
        path = Path(write_events(tmp_path / "e.root", {"hits": hits}, range(20), rntuple=rntuple))
        content = bytearray(path.read_bytes())
        start = len(content) // 3
        content[start : start + 3000] = bytes(3000)
        path.write_bytes(content)
        with pytest.raises(InputError, match="damaged"):
            read_all(RootEventsReader(path=str(path)))

    def test_no_events(self, tmp_path: Path) -> None:
        with uproot.recreate(tmp_path / "e.root") as file:
            file.mktree(
                "hits",
                {"event_number": "uint64", "x": "var * float32", "y": "var * float32", "z": "var * float32"},
            )
        with pytest.raises(InputError, match=r"tree 'hits' holds no events"):
            read_all(RootEventsReader(path=str(tmp_path / "e.root")))

    def test_no_tree(self, tmp_path: Path) -> None:
        with uproot.recreate(tmp_path / "e.root") as file:
            file["note"] = "nothing here"
        with pytest.raises(InputError, match="holds no tree"):
            open_events(str(tmp_path / "e.root"))


def test_remote_paths(tmp_path: Path) -> None:
    import fsspec

    path = write_events(tmp_path / "e.root", events(), NUMBERS)
    with fsspec.open("memory://mltrack-test/e.root", "wb") as stream:
        stream.write(Path(path).read_bytes())
    for url in (f"file://{path}", "memory://mltrack-test/e.root"):
        assert [e.event_number for e in read_all(open_events(url))] == NUMBERS


def test_settings_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no setting 'branch'. Did you mean 'branches'"):
        RootEventsReader(path="e.root", branch={})
    with pytest.raises(ConfigurationError, match="call initialize"):
        RootEventsReader(path="e.root").num_events()
    with pytest.raises(ConfigurationError, match=r"no reader 'root-event'. Did you mean 'root-events'"):
        open_events("e.root", "root-event")


def test_ids_that_their_type_cannot_hold_are_errors_of_their_events(tmp_path: Path) -> None:
    trees = events()
    for number, hits in enumerate(trees["hits"]):
        hits["module_id"] = np.full(len(hits["x"]), 2**40 if number == 1 else 7, dtype=np.int64)
    read = read_all(RootEventsReader(path=write_events(tmp_path / "e.root", trees, NUMBERS)))
    assert [e.error is not None for e in read] == [False, True, False, False, False]
    assert "event 3: column 'module_id' holds 1099511627776, which int32 cannot hold" in str(read[1].error)
    assert read[0].collections["hits"].module_id.tolist() == [7] * 5


def test_signed_geometry_ids_keep_their_bits(tmp_path: Path) -> None:
    trees = events()
    for hits in trees["hits"]:
        hits["geometry_id"] = (np.arange(len(hits["x"]), dtype=np.uint64) + 2**63 + 2**60).view(np.int64)
    read = read_all(RootEventsReader(path=write_events(tmp_path / "e.root", trees, NUMBERS)))
    assert read[0].error is None
    assert read[0].collections["hits"].geometry_id.tolist() == [2**63 + 2**60 + i for i in range(5)]


def test_noise_with_an_id_of_its_own(tmp_path: Path) -> None:
    trees = events()
    for hits in trees["hits"]:
        hits["particle_id"] = np.where(np.arange(len(hits["x"])) % 2, -1, BIG + 1)
    path = write_events(tmp_path / "e.root", trees, NUMBERS)
    read = read_all(RootEventsReader(path=path))
    assert "If it marks noise, say so with reader: {noise_particle: -1}" in str(read[0].error)
    read = read_all(RootEventsReader(path=path, noise_particle=-1))
    assert read[0].collections["truth_links"].particle_id.tolist() == [BIG + 1, 0, BIG + 1, 0, BIG + 1]
