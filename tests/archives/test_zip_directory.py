"""Zip files that two readers could read differently are refused; what torch and zip tools write is read."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from collections.abc import Callable

import pytest
import torch

from mltrack_plugin.archives.safezip import read_checked, write_canonical
from mltrack_plugin.archives.zip_directory import read_directory
from mltrack_plugin.errors import ModelError

CONTENT = {"data.pkl": b"structure", "data/0": b"numbers" * 10}


@pytest.fixture
def good() -> bytes:
    return write_canonical("model", CONTENT)


def end_of(content: bytes) -> tuple[int, int, int]:
    """Number of members, size and start of the directory."""
    count, size, start = struct.unpack_from("<H2L", content, len(content) - 12)
    return count, size, start


def with_end(body: bytes, directory: bytes, count: int, start: int | None = None) -> bytes:
    """Members and directory with an end that fits them."""
    start = len(body) if start is None else start
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), start, 0)
    return body + directory + end


def parts(content: bytes) -> tuple[bytes, bytes, int]:
    """Members, directory, number of members."""
    count, size, start = end_of(content)
    return content[:start], content[start : start + size], count


def test_what_others_write_is_read() -> None:
    buffer = io.BytesIO()
    torch.save({"weights": torch.arange(100.0)}, buffer)  # zip64 records, descriptors behind the data
    assert read_checked(buffer.getvalue(), "test").members["data/0"] == torch.arange(100.0).numpy().tobytes()
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", method) as archive:
            archive.mkdir("model")
            archive.writestr("model/a", "text" * 100)
            with archive.open("model/b", "w", force_zip64=True) as member:
                member.write(b"more")
        assert read_checked(buffer.getvalue(), "test").members == {"a": b"text" * 100, "b": b"more"}


def comment(content: bytes) -> bytes:
    return content[:-2] + b"\x04\x00" + b"note"


def two_ends(content: bytes) -> bytes:
    """A second archive as the comment of the first, or in front of it."""
    return content + write_canonical("model", {"data.pkl": b"other"})


def zip64_elsewhere(content: bytes) -> bytes:
    """A zip64 end for another directory than the plain end names."""
    body, directory, count = parts(content)
    hidden = directory.replace(b"data.pkl", b"evil.pkl")
    place = len(body) + len(hidden) + len(directory)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(hidden), len(body))
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, place, 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(directory), len(body) + len(hidden), 0)
    return body + hidden + directory + record + locator + end


def zip64_far_away(content: bytes) -> bytes:
    """A locator that points at a record which does not precede it."""
    body, directory, count = parts(content)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, len(directory), 56)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)
    return record + body + directory + record + locator + with_end(b"", b"", count, len(body) + 56)


def other_local_name(content: bytes) -> bytes:
    return content.replace(b"model/data.pkl", b"model/evil.pkl", 1)


def other_local_size(content: bytes) -> bytes:
    return content[:22] + struct.pack("<L", 3) + content[26:]


def hidden_member(content: bytes) -> bytes:
    """Members that the directory does not list."""
    body, directory, count = parts(content)
    second = directory.index(b"PK\1\2", 4)
    return with_end(body, directory[second:], count - 1)


def gap(content: bytes) -> bytes:
    body, directory, count = parts(content)
    return with_end(body + b"hidden", directory, count)


def overlapping(content: bytes) -> bytes:
    """Both entries of the directory name the first member."""
    body, directory, _ = parts(content)
    second = directory.index(b"PK\1\2", 4)
    return with_end(body, directory[:second] * 2, 2)


def wrong_count(content: bytes) -> bytes:
    body, directory, count = parts(content)
    return with_end(body, directory, count - 1)


def in_front(content: bytes) -> bytes:
    return b"#!/bin/sh\n" + content


def encrypted(content: bytes) -> bytes:
    body, directory, count = parts(content)
    return with_end(body, directory[:8] + b"\x01\x00" + directory[10:], count)


def unicode_path(content: bytes) -> bytes:
    """An extra field with another name, which some readers take."""
    body, directory, count = parts(content)
    name_length = struct.unpack_from("<H", directory, 28)[0]
    extra = struct.pack("<HHBL", 0x7075, 5 + 4, 1, 0) + b"evil"
    head = directory[:30] + struct.pack("<H", len(extra)) + directory[32:46]
    old = struct.unpack_from("<H", directory, 30)[0]
    return with_end(
        body, head + directory[46 : 46 + name_length] + extra + directory[46 + name_length + old :], count
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (comment, "not where it should be|comment"),
        (two_ends, "not where its end says"),
        (zip64_elsewhere, "disagree"),
        (zip64_far_away, "not where the locator says"),
        (other_local_name, "header and the directory disagree"),
        (other_local_size, "header and the directory disagree"),
        (hidden_member, "follows data that no member owns"),
        (gap, "no member owns"),
        (overlapping, "overlaps another"),
        (wrong_count, "longer than its number of members"),
        (in_front, "not where"),
        (encrypted, "encrypted"),
        (unicode_path, "hold another name"),
    ],
)
def test_two_readings(good: bytes, change: Callable[[bytes], bytes], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_directory(change(good))
    with pytest.raises(ModelError, match=r"model\.pt: the model archive is damaged"):
        read_checked(change(good), "model.pt")


def test_data_that_go_on_are_found() -> None:
    """A packed member whose data are longer than listed, or followed by others."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/a", b"abcdefgh" * 50)
    content = buffer.getvalue()
    shorter = content.replace(struct.pack("<L", 400), struct.pack("<L", 300))
    assert shorter.count(struct.pack("<L", 300)) == 2
    with pytest.raises(ModelError, match="size or checksum of 'model/a'"):
        read_checked(shorter, "model.pt")


@pytest.mark.parametrize(
    "names",
    [
        ("model/code/x.py", "model/code/x.PY"),
        ("model/data.pkl", "model/DATA.pkl"),
        ("model/a", "Model/b"),
        ("model/a", "model/a"),
    ],
)
def test_names_equal_up_to_case(names: tuple[str, str]) -> None:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore")
        for name in names:
            archive.writestr(name, b"x")
    with pytest.raises(
        ModelError, match=r"repeated, or differ only by upper and lower case|2 top-level entries"
    ):
        read_checked(buffer.getvalue(), "model.pt")


@pytest.mark.parametrize("name", ["model/a b", "model/a\u00e9", "model/$x", "model/a;b"])
def test_names_that_no_archive_has(name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ModelError, match="no model archive has a member"):
        read_checked(buffer.getvalue(), "model.pt")
