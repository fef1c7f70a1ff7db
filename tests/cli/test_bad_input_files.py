"""Files that cannot be read: every command that reads one says which file, what is wrong and what to do."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import pytest
import uproot
from bad_input import JOB, CommandLine, good_events, save_events
from reading_events import particles_of, write_events

TRACKML_HITS = "hit_id,x,y,z,volume_id,layer_id,module_id"


def missing(folder: Path) -> Path:
    save_events(folder / "events.root", *good_events())
    return folder / "event.root"


def empty(folder: Path) -> Path:
    (folder / "empty.root").touch()
    return folder / "empty.root"


def not_root(folder: Path) -> Path:
    (folder / "text.root").write_text("hits? no\n" * 100)
    return folder / "text.root"


def truncated(folder: Path) -> Path:
    content = save_events(folder / "whole.root", *good_events()).read_bytes()
    (folder / "half.root").write_bytes(content[: len(content) // 2])
    return folder / "half.root"


def headless(folder: Path) -> Path:
    (folder / "head.root").write_bytes(b"root\0\0\0\0")
    return folder / "head.root"


def damaged(folder: Path) -> Path:
    """The bytes in the middle of the file, where the coordinates lie, are overwritten."""
    path = folder / "scratch.root"
    values = ak.Array([[float(i * j % 977) for j in range(500)] for i in range(60)])
    ids = ak.Array([list(range(500))] * 60)
    with uproot.recreate(path, compression=uproot.ZLIB(1)) as file:
        types = {"event_number": "uint64", "hit_id": "var * uint64"} | dict.fromkeys("xyz", "var * float32")
        tree = file.mktree("hits", types)
        tree.extend({"event_number": range(60), "hit_id": ids, **dict.fromkeys("xyz", values)})
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle - 5000 : middle + 5000] = b"\x5a" * 10000
    path.write_bytes(content)
    return path


def no_tree_at_all(folder: Path) -> Path:
    with uproot.recreate(folder / "bare.root") as file:
        file["title"] = "no events here"
    return folder / "bare.root"


def no_hits_tree(folder: Path) -> Path:
    return Path(write_events(folder / "particles.root", {"particles": [particles_of(1)]}, [1]))


def no_branch(folder: Path) -> Path:
    events = [{("zz" if k == "z" else k): v for k, v in event.items()} for event in good_events()]
    return save_events(folder / "zz.root", *events)


def tree_without_entries(folder: Path) -> Path:
    with uproot.recreate(folder / "none.root") as file:
        types = {"event_number": "uint64", "hit_id": "var * uint64"} | dict.fromkeys("xyz", "var * float32")
        file.mktree("hits", types)
    return folder / "none.root"


def empty_folder(folder: Path) -> Path:
    (folder / "nothing").mkdir()
    return folder / "nothing"


def folder_without_events(folder: Path) -> Path:
    (folder / "photos").mkdir()
    (folder / "photos" / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    return folder / "photos"


def trackml(folder: Path, header: str, row: str) -> Path:
    path = folder / "events"
    path.mkdir()
    (path / "event000000007-hits.csv").write_text(f"{header}\n{row}\n")
    return path


def csv_without_a_column(folder: Path) -> Path:
    return trackml(folder, TRACKML_HITS.replace(",z,", ",zed,"), "1,1,2,3,8,2,1")


def csv_with_an_extra_column(folder: Path) -> Path:
    return trackml(folder, TRACKML_HITS + ",charge", "1,32,0,10,8,2,1,0.5")


def csv_with_a_short_row(folder: Path) -> Path:
    return trackml(folder, TRACKML_HITS, "1,1,2")


def csv_with_text_for_a_number(folder: Path) -> Path:
    return trackml(folder, TRACKML_HITS, "1,1,two,3,8,2,1")


def csv_without_header(folder: Path) -> Path:
    return trackml(folder, "1,1,2,3,8,2,1", "2,1,2,3,8,2,1")


def damaged_gzip(folder: Path) -> Path:
    path = folder / "events"
    path.mkdir()
    content = gzip.compress((TRACKML_HITS + "\n" + "1,1,2,3,8,2,1\n" * 200).encode())
    (path / "event000000007-hits.csv.gz").write_bytes(content[: len(content) // 2])
    return path


FILES: list[tuple[Callable[[Path], Path], tuple[str, ...]]] = [
    (missing, ("event.root", "does not exist", "Did you mean 'events.root'")),
    (empty, ("empty.root", "is empty (0 bytes)", "produce it again")),
    (not_root, ("text.root", "is not a ROOT file", "--format")),
    (truncated, ("half.root", "truncated", "produce it again")),
    (headless, ("head.root", "truncated", "8 bytes")),
    (damaged, ("scratch.root", "damaged")),
    (no_tree_at_all, ("bare.root", "no tree")),
    (no_hits_tree, ("particles.root", "'particles'", "reader: {format: root-events, tree: ...")),
    (no_branch, ("zz.root", "tree 'hits'", "no branch 'z'", "'zz'", "branches: {z: NAME}")),
    (tree_without_entries, ("none.root", "tree 'hits'", "holds no events", "produce the file again")),
    (empty_folder, ("nothing", "is empty", "Give a folder with events")),
    (folder_without_events, ("photos", "cat.jpg", "--format")),
    (csv_without_a_column, ("event000000007-hits.csv", "no column 'z'", "'zed'", "Needed are hit_id")),
    (csv_with_an_extra_column, ("event000000007-hits.csv", "'charge'", "allow_extra_columns: true")),
    (csv_with_a_short_row, ("event000000007-hits.csv", "event 7", "Expected 7 columns, got 3")),
    (csv_with_text_for_a_number, ("event000000007-hits.csv", "event 7", "column 'y'", "'two'")),
    (csv_without_header, ("event000000007-hits.csv", "first line must name the columns")),
    (damaged_gzip, ("event000000007-hits.csv.gz", "cannot be read")),
]
#: Bad events rather than bad files: `inspect` reports them and goes on.
SPOILS_EVENTS = {csv_with_a_short_row, csv_with_text_for_a_number}
each_file = pytest.mark.parametrize(("make", "parts"), FILES, ids=[make.__name__ for make, _ in FILES])


@each_file
def test_run(mltrack: CommandLine, tmp_path: Path, make, parts) -> None:
    # The job is for another detector than this format states: the files are what is looked at.
    mltrack.refused(mltrack.run(make(tmp_path), "--detector", "redvid"), 1, *parts)


@each_file
def test_run_without_a_configuration(mltrack: CommandLine, tmp_path: Path, make, parts) -> None:
    mltrack.refused(mltrack("run", "--input", make(tmp_path), "--output", mltrack.tracks), 1, *parts)


@each_file
def test_evaluate(mltrack: CommandLine, tmp_path: Path, make, parts) -> None:
    report = mltrack.output / "scores.json"
    path = make(tmp_path)
    outcome = mltrack(
        "evaluate", "--input", path, "--config", JOB, "--model", mltrack.model, "--json", report
    )
    if "csv" in parts[0]:
        parts = ("carries no truth",) if make in SPOILS_EVENTS else parts
    mltrack.refused(outcome, 1, *parts)


@each_file
def test_inspect(mltrack: CommandLine, tmp_path: Path, make, parts) -> None:
    outcome = mltrack("inspect", make(tmp_path))
    if make in SPOILS_EVENTS or make is damaged:
        return
    mltrack.refused(outcome, 1, *parts)


@each_file
def test_display(mltrack: CommandLine, tmp_path: Path, make, parts) -> None:
    tracks = tmp_path / "tracks.root"
    assert mltrack.run(save_events(tmp_path / "for_tracks.root", *good_events()), output=tracks).code == 0
    picture = mltrack.output / "event.png"
    outcome = mltrack(
        "display", "--input", make(tmp_path), "--tracks", tracks, "--event", 7, "--output", picture
    )
    mltrack.refused(outcome, 1, *parts)


def test_what_the_messages_advise_works(mltrack: CommandLine, tmp_path: Path) -> None:
    for source, name, reader in (
        (no_branch(tmp_path), JOB, "{branches: {z: zz}}"),
        (csv_with_an_extra_column(tmp_path), "follow-generic", "{allow_extra_columns: true}"),
    ):
        job = tmp_path / "job.yaml"
        job.write_text(f"{mltrack('configs', name).out}\nreader: {reader}\n")
        model = ("--model", mltrack.model) if name == JOB else ()
        outcome = mltrack(
            "run", "--input", source, "--output", mltrack.tracks, "--config", job, "--overwrite", *model
        )
        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("command", ["evaluate", "display"])
def test_tracks_that_are_no_tracks(mltrack: CommandLine, good: Path, tmp_path: Path, command: str) -> None:
    for tracks, part in (
        (tmp_path / "none.root", "none.root"),
        (good, "tracks"),
        (not_root(tmp_path), "text.root"),
    ):
        mltrack.refused(mltrack(command, "--input", good, "--tracks", tracks), 1, part)


def test_with_debug_the_traceback_is_shown(mltrack: CommandLine, tmp_path: Path) -> None:
    outcome = mltrack("--debug", "inspect", not_root(tmp_path))
    assert outcome.code == 1
    assert "Traceback" in outcome.err
