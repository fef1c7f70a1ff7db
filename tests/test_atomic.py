"""Outputs appear complete or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from mltrack_plugin.atomic import AtomicFile, AtomicFolder, output_errors
from mltrack_plugin.errors import OutputError


def test_commit_gives_the_name_only_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    output = AtomicFile(target)
    output.file.write(b"content")
    assert not target.exists()
    output.commit()
    assert target.read_bytes() == b"content"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        output = AtomicFile(tmp_path / "out.bin")
        output.commit()
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "out.bin").stat().st_mode) == 0o640


def test_abort_leaves_nothing_and_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    output = AtomicFile(target, overwrite=True)
    output.file.write(b"new")
    output.abort()
    output.abort()
    assert os.listdir(tmp_path) == ["out.bin"]
    assert target.read_bytes() == b"old"


def test_existing_output_is_refused_without_overwrite(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"out\.bin.*exists already.*--overwrite"):
        AtomicFile(target)
    output = AtomicFile(target, overwrite=True)
    output.file.write(b"new")
    output.commit()
    assert target.read_bytes() == b"new"


def test_output_created_meanwhile_is_kept(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    output = AtomicFile(target)
    target.write_bytes(b"someone else's")
    with pytest.raises(OutputError, match="exists already"):
        output.commit()
    assert target.read_bytes() == b"someone else's"
    assert os.listdir(tmp_path) == ["out.bin"]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"does not exist; create it first with: mkdir -p"):
        AtomicFile(tmp_path / "none" / "out.bin")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="is not a folder"):
        AtomicFile(tmp_path / "file" / "out.bin")
    with pytest.raises(OutputError, match="it is a folder; name a file"):
        AtomicFile(tmp_path, overwrite=True)


@pytest.mark.parametrize("url", ["s3://bucket/out.root", "root://host//out.root", "https://host/out.root"])
def test_remote_output_is_refused(url: str) -> None:
    with pytest.raises(OutputError, match="outputs are local files"):
        AtomicFile(url)


def test_folder_without_write_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not chmod: the superuser, as whom containers run tests, may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="is not writable; choose a folder"):
        AtomicFile(tmp_path / "out.bin")


@pytest.mark.parametrize(
    ("number", "message"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EIO, "Input/output error")],
)
def test_system_errors_become_output_errors(number: int, message: str) -> None:
    with pytest.raises(OutputError, match=f"out.root.*{message}"), output_errors("out.root"):
        raise OSError(number, os.strerror(number))


def test_full_disk_at_commit_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = AtomicFile(tmp_path / "out.bin")
    output.file.write(b"content")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        output.commit()
    assert os.listdir(tmp_path) == []


def test_interrupt_at_commit_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = AtomicFile(tmp_path / "out.bin")

    def interrupted(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        output.commit()
    assert os.listdir(tmp_path) == []


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "out"
    for content, name in ((b"1", "a.csv"), (b"2", "b.csv")):
        output = AtomicFolder(target, overwrite=True, marker="meta.json")
        output.write("meta.json", b"{}")
        output.write(name, content)
        output.commit()
    assert sorted(os.listdir(target)) == ["b.csv", "meta.json"]
    assert os.listdir(tmp_path) == ["out"]


def test_foreign_folder_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (target / "chapter.tex").write_text("x")
    with pytest.raises(OutputError, match="did not write"):
        AtomicFolder(target, overwrite=True, marker="meta.json")
    with pytest.raises(OutputError, match="exists already"):
        AtomicFolder(target, marker="meta.json")
    with pytest.raises(OutputError, match="needs a folder"):
        AtomicFolder(target / "chapter.tex", overwrite=True, marker="meta.json")


def test_failed_folder_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "meta.json").write_text("old")
    output = AtomicFolder(target, overwrite=True, marker="meta.json")
    output.write("meta.json", b"new")
    real = os.replace

    def failing(source: Any, destination: Any) -> None:
        if Path(source) == output.folder:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, destination)

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(OutputError, match="disk is full"):
        output.commit()
    assert os.listdir(tmp_path) == ["out"]
    assert (target / "meta.json").read_text() == "old"
