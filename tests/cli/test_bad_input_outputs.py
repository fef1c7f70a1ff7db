"""Outputs that cannot be written: nothing half-written stays, nothing of the user's is lost."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from bad_input import JOB, CommandLine, largest_file
from model_fixtures import write_checkpoint

from mltrack_plugin.io.root_tracks import read_tracks

PRECIOUS = "years of work"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "best.ckpt")


@pytest.fixture
def found(mltrack: CommandLine, good: Path, tmp_path: Path) -> Path:
    """Tracks of the good events."""
    assert mltrack.run(good, output=tmp_path / "found.root").code == 0
    return tmp_path / "found.root"


@pytest.fixture
def writers(mltrack: CommandLine, good: Path, checkpoint: Path, found: Path) -> dict[str, tuple[object, ...]]:
    """Every command that writes a file: its arguments up to the name of that file."""
    return {
        "run": ("run", *mltrack.run_arguments(good), "--output"),
        "run --json": ("run", *mltrack.run_arguments(good, "--json")),
        "simulate": ("simulate", "redvid-10-50-linear", "--events", "2", "--output"),
        "export": ("export", checkpoint, "--output"),
        "display": ("display", "--input", good, "--tracks", found, "--output"),
        "evaluate --json": ("evaluate", "--input", good, "--tracks", found, "--json"),
    }


COMMANDS = ("run", "run --json", "simulate", "export", "display", "evaluate --json")
SUFFIX = {"export": ".pt", "display": ".png", "run --json": ".json", "evaluate --json": ".json"}
each_command = pytest.mark.parametrize("command", COMMANDS)


@each_command
def test_missing_folder(mltrack: CommandLine, writers, command: str) -> None:
    target = mltrack.output / "none" / f"file{SUFFIX.get(command, '.root')}"
    mltrack.refused(mltrack(*writers[command], target), 1, str(target), "does not exist", "mkdir -p")


@each_command
def test_a_file_in_place_of_the_folder(mltrack: CommandLine, writers, good: Path, command: str) -> None:
    target = good / f"file{SUFFIX.get(command, '.root')}"
    mltrack.refused(mltrack(*writers[command], target), 1, str(target), "is not a folder")
    assert good.is_file()


@each_command
def test_folder_without_permission(mltrack: CommandLine, writers, command: str, monkeypatch) -> None:
    # Tests may run as root, who may write everywhere: what the system says about the folder is replaced.
    real = os.access
    folder = mltrack.output
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folder and real(path, mode))
    target = folder / f"file{SUFFIX.get(command, '.root')}"
    mltrack.refused(mltrack(*writers[command], target), 1, str(target), "not writable", "choose a folder")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a file system that takes no files")
@each_command
def test_file_system_that_takes_no_files(mltrack: CommandLine, writers, command: str) -> None:
    target = f"/proc/mltrack{SUFFIX.get(command, '.root')}"
    outcome = mltrack(*writers[command], target)
    # Root is told only by the attempt, and the report is the last thing to be written.
    kept = ["tracks.root"] if command == "run --json" and mltrack.tracks.exists() else []
    mltrack.refused(outcome, 1, "cannot", target, kept=kept)


@each_command
def test_existing_output_is_kept(mltrack: CommandLine, writers, command: str) -> None:
    target = mltrack.output / f"file{SUFFIX.get(command, '.root')}"
    target.write_text(PRECIOUS)
    outcome = mltrack(*writers[command], target)
    if command == "evaluate --json":  # a report, replaced on purpose
        assert outcome.code == 0
        return
    mltrack.refused(outcome, 1, str(target), "exists already", "--overwrite", kept=[target.name])
    assert target.read_text() == PRECIOUS


@each_command
def test_folder_of_that_name(mltrack: CommandLine, writers, command: str) -> None:
    target = mltrack.output / f"file{SUFFIX.get(command, '.root')}"
    target.mkdir()
    overwrite = () if command == "evaluate --json" else ("--overwrite",)
    outcome = mltrack(*writers[command], target, *overwrite)
    mltrack.refused(outcome, 1, str(target), "is a folder", kept=[target.name])


@each_command
def test_name_that_is_too_long(mltrack: CommandLine, writers, command: str) -> None:
    target = mltrack.output / f"{'x' * 300}{SUFFIX.get(command, '.root')}"
    mltrack.refused(mltrack(*writers[command], target), 1, "too long")


@pytest.mark.parametrize("size", [0, 2000])
@each_command
def test_full_disk(mltrack: CommandLine, writers, command: str, size: int) -> None:
    target = mltrack.output / f"file{SUFFIX.get(command, '.root')}"
    with largest_file(size):
        outcome = mltrack(*writers[command], target)
    mltrack.refused(outcome, 1, str(mltrack.output))


@each_command
def test_disk_that_is_full_at_the_end_keeps_the_old_file(
    mltrack: CommandLine, writers, command: str, monkeypatch
) -> None:
    target = mltrack.output / f"file{SUFFIX.get(command, '.root')}"
    target.write_text(PRECIOUS)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    overwrite = () if command == "evaluate --json" else ("--overwrite",)
    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(os, name, full)
        patch.setattr(Path, "replace", full)
        outcome = mltrack(*writers[command], target, *overwrite)
    mltrack.refused(outcome, 1, kept=[target.name])
    assert target.read_text() == PRECIOUS


def test_output_that_is_the_input(mltrack: CommandLine, good: Path, tmp_path: Path) -> None:
    content = good.read_bytes()
    (mltrack.output / "link.root").symlink_to(good)
    link = mltrack.output / "link.root"
    report = ("--json", link, "--output", mltrack.output / "t.root")
    for options in (("--output", good), ("--output", link), report):
        for overwrite in ((), ("--overwrite",)):
            outcome = mltrack.run(good, *options, *overwrite)
            mltrack.refused(outcome, 1, "good.root" if overwrite else "root", kept=["link.root"])
    assert good.read_bytes() == content
    outcome = mltrack.run(good, "--json", mltrack.model, "--overwrite")
    mltrack.refused(outcome, 1, "it is the input", kept=["link.root"])
    outcome = mltrack.run(good, "--json", mltrack.tracks)
    mltrack.refused(outcome, 1, "stands for two outputs", kept=["link.root"])


def test_a_checkpoint_is_not_replaced_by_its_archive(mltrack: CommandLine, checkpoint: Path) -> None:
    renamed = checkpoint.rename(checkpoint.with_suffix(".pt"))
    content = renamed.read_bytes()
    mltrack.refused(mltrack("export", renamed, "--output", renamed, "--overwrite"), 1, "it is the input")
    assert renamed.read_bytes() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device")
@pytest.mark.parametrize("name", ["/dev/full", "/dev/null"])
def test_a_device_is_never_replaced(mltrack: CommandLine, good: Path, name: str) -> None:
    options = ("--output-format", "root-tracks", "--overwrite")
    mltrack.refused(mltrack.run(good, *options, output=name), 1, name, "neither a file nor a folder")
    outcome = mltrack.run(good, "--json", name, "--overwrite")
    mltrack.refused(outcome, 1, name, "neither a file nor a folder")
    assert stat.S_ISCHR(os.stat(name).st_mode)


def test_two_runs_into_the_same_output(mltrack: CommandLine, good: Path) -> None:
    from mltrack_plugin.framework.journal import Journal

    other = Journal(mltrack.tracks)
    other.acquire()
    try:
        outcome = mltrack.run(good)
    finally:
        other.close(completed=True)
    mltrack.refused(outcome, 2, "tracks.root", "another running job", "wait for it")


def test_the_job_goes_on_when_the_disk_has_room_again(mltrack: CommandLine, good: Path, monkeypatch) -> None:
    def full(descriptor: int) -> None:
        if ".journal" not in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        outcome = mltrack.run(good)
    mltrack.refused(outcome, 1, "tracks.root", "the disk is full; free some space")
    assert "--resume" in outcome.err
    assert mltrack.run(good, "--resume").code == 0
    assert len(list(read_tracks(mltrack.tracks))) == 3
    mltrack.nothing_half_written(kept=["tracks.root"])


def test_evaluate_plots(mltrack: CommandLine, good: Path, found: Path) -> None:
    options = ("--input", good, "--tracks", found, "--plots")
    mltrack.refused(mltrack("evaluate", *options, good), 1, "good.root", "give a folder")
    mltrack.refused(mltrack("evaluate", *options, mltrack.output / "none" / "plots"), 1, "does not exist")


def test_train_keeps_an_earlier_training(mltrack: CommandLine) -> None:
    (mltrack.output / "last.ckpt").write_text(PRECIOUS)
    outcome = mltrack("train", JOB, "--output", mltrack.output, "--set", "steps=1")
    mltrack.refused(outcome, 2, "holds a training already", "--resume", kept=["last.ckpt"])
    assert (mltrack.output / "last.ckpt").read_text() == PRECIOUS
