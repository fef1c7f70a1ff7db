"""Zip archives of unknown origin: checked completely before anything else reads them.

Model archives (TorchScript, torch.export) and checkpoints are zip files. Nothing here unpickles; every member's
checksum is verified, and the limits below stop archives that would fill the memory. Torch never gets the file itself
but one that :func:`write_canonical` makes of the checked members, so it cannot find others in it.
"""

from __future__ import annotations

import io
import re
import stat
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mltrack_plugin.archives.zip_directory import Member, read_directory
from mltrack_plugin.errors import ModelError, did_you_mean, nearest

#: Largest archive, and largest sum of the members' unpacked sizes, in bytes.
MAX_BYTES = 2 * 1024**3
#: Largest ratio of unpacked to packed size of a member (text reaches about 20).
MAX_COMPRESSION = 200
#: The data of each member start at a multiple of this, as torch writes them, for memory mapping.
_ALIGNMENT = 64
_ADVICE = "Download or export the model again"
_INNER_NAME = re.compile(r"[A-Za-z0-9_.+=-]+(/[A-Za-z0-9_.+=-]+)*")


@dataclass(frozen=True)
class CheckedZip:
    """A zip archive that passed all checks.

    Attributes:
        root: the folder that holds all members, without the slash.
        members: content by name, without the root folder.
    """

    root: str
    members: Mapping[str, bytes]


def read_checked(content: bytes, source: str) -> CheckedZip:
    """Check and unpack a zip archive held in memory.

    Args:
        content: the whole file.
        source: the file, for messages.

    Raises:
        ModelError: if the archive is damaged (structure or checksum), could be read in two ways, is too large, or has
            members outside its one root folder or with names that differ by case only.
    """
    try:
        listed = read_directory(content)
    except ValueError as error:
        raise ModelError(
            f"{source}: the model archive is damaged or incomplete, or no plain zip file ({error}). {_ADVICE}"
        ) from None
    members = [member for member in listed if not _is_folder(member)]
    _check_sizes(members, source)
    root = _check_names([member.name for member in members], source)
    return CheckedZip(
        root, {member.name[len(root) + 1 :]: _unpacked(content, member, source) for member in members}
    )


def _is_folder(member: Member) -> bool:
    return member.name.endswith("/") and member.size == 0


def _unpacked(content: bytes, member: Member, source: str) -> bytes:
    data = content[member.start : member.start + member.packed_size]
    if member.deflated:
        reader = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than listed shows a member that goes on.
            data = reader.decompress(data, member.size + 1)
        except zlib.error as error:
            raise ModelError(
                f"{source}: the model archive is damaged ({member.name!r}: {error}). {_ADVICE}"
            ) from None
        if not reader.eof or reader.unused_data:
            data = b""
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise ModelError(
            f"{source}: the model archive is damaged (size or checksum of {member.name!r}). {_ADVICE}"
        )
    return data


def _check_sizes(members: list[Member], source: str) -> None:
    total = sum(member.size for member in members)
    if total > MAX_BYTES:
        raise ModelError(
            f"{source}: unpacks to {total} bytes, more than the limit of {MAX_BYTES} for a model archive"
        )
    for member in members:
        ratio = member.size / max(member.packed_size, 1)
        if ratio > MAX_COMPRESSION:
            raise ModelError(
                f"{source}: member {member.name!r} is packed {ratio:.0f} times; "
                "model archives are not, so it is not opened"
            )


def _check_names(names: list[str], source: str) -> str:
    """The single root folder of all members."""
    roots = set()
    for name in names:
        root, _, inner = name.partition("/")
        parts = name.split("/")
        if name.startswith("/") or "\\" in name or ":" in name or any(p in ("", ".", "..") for p in parts):
            raise ModelError(
                f"{source}: member {name!r} would lie outside the archive; the file is not opened"
            )
        if inner and not _INNER_NAME.fullmatch(inner):
            raise ModelError(f"{source}: no model archive has a member {name!r}; the file is not opened")
        roots.add(root)
    # Torch finds members whatever the case of their letters.
    if len({name.casefold() for name in names}) != len(names):
        raise ModelError(
            f"{source}: member names are repeated, or differ only by upper and lower case. {_ADVICE}"
        )
    if len(roots) != 1:
        raise ModelError(
            f"{source}: not a model archive: {len(roots)} top-level entries instead of one folder"
        )
    return roots.pop()


def allow_members(archive: CheckedZip, patterns: Iterable[re.Pattern[str]], source: str, kind: str) -> None:
    """Refuse an archive with a member that no pattern matches (``ModelError``); ``kind`` says what it should be."""
    patterns = tuple(patterns)
    for name in archive.members:
        if not any(pattern.fullmatch(name) for pattern in patterns):
            raise ModelError(f"{source}: unexpected member {name!r} in a {kind}; it is not opened")


def write_canonical(root: str, members: Mapping[str, bytes]) -> bytes:
    """A zip archive whose bytes depend on names and contents only.

    Members are stored unpacked, in the given order, with a fixed date, their data aligned to 64 bytes.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(f"{root}/{name}", date_time=(1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o644 << 16
            data_start = buffer.tell() + 30 + len(info.filename.encode())
            # A padding field "FB" (as torch writes it) has a header of 4 bytes.
            padding = (-(data_start + 4)) % _ALIGNMENT
            info.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            archive.writestr(info, content)
    return buffer.getvalue()


def read_file(path: Path) -> bytes:
    """The whole file.

    Raises:
        ModelError: if it is missing, no regular file, unreadable or larger than ``MAX_BYTES``.
    """
    try:
        if path.is_dir():
            raise ModelError(f"{path}: is a folder, not a model archive")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path}: is no regular file (a pipe or a device), so no model archive")
        if status.st_size > MAX_BYTES:
            raise ModelError(f"{path}: larger than the limit of {MAX_BYTES} bytes for a model archive")
        content: bytes = path.read_bytes()
    except FileNotFoundError:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near) if (near := nearest(path.name, beside)) else "Check the path"
        raise ModelError(f"{path}: no such file. {hint}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    except ValueError as error:
        raise ModelError(f"{str(path)!r}: no name of a file ({error})") from None
    return content
