"""Zip archives of unknown origin: checked completely before anything else reads them.

Model archives (TorchScript, torch.export) are zip files. Nothing here unpickles; every member's checksum
is verified, and the limits below stop archives that would fill the memory.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mltrack_plugin.errors import ModelError, did_you_mean, nearest

#: Largest archive, and largest sum of the members' unpacked sizes, in bytes.
MAX_BYTES = 4 * 1024**3
#: Largest number of members.
MAX_MEMBERS = 50_000
#: Largest ratio of unpacked to packed size of a member (text reaches about 20).
MAX_COMPRESSION = 200
#: The data of each member start at a multiple of this, as torch writes them, for memory mapping.
_ALIGNMENT = 64
_ADVICE = "Download or export the model again"


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
        ModelError: if the archive is damaged (structure or checksum), too large, or has members outside
            its one root folder or with repeated names.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
            _check_sizes(infos, source)
            root = _check_names([info.filename for info in infos], source)
            if infos and min(info.header_offset for info in infos) != 0:
                raise ModelError(f"{source}: data precede the zip archive. {_ADVICE}")
            members = {}
            for info in infos:
                members[info.filename[len(root) + 1 :]] = archive.read(info)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OSError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"{source}: the model archive is damaged or incomplete ({error}). {_ADVICE}"
        ) from None
    except Exception as error:
        if type(error).__module__ != "zlib":
            raise
        raise ModelError(f"{source}: the model archive is damaged ({error}). {_ADVICE}") from None
    return CheckedZip(root, members)


def _check_sizes(infos: list[zipfile.ZipInfo], source: str) -> None:
    if len(infos) > MAX_MEMBERS:
        raise ModelError(
            f"{source}: {len(infos)} members, more than the limit of {MAX_MEMBERS} for a model archive"
        )
    total = sum(info.file_size for info in infos)
    if total > MAX_BYTES:
        raise ModelError(
            f"{source}: unpacks to {total} bytes, more than the limit of {MAX_BYTES} for a model archive"
        )
    for info in infos:
        ratio = info.file_size / max(info.compress_size, 1)
        if ratio > MAX_COMPRESSION:
            raise ModelError(
                f"{source}: member {info.filename!r} is packed {ratio:.0f} times; "
                "model archives are not, so it is not opened"
            )


def _check_names(names: list[str], source: str) -> str:
    """The single root folder of all members."""
    roots = set()
    for name in names:
        parts = name.split("/")
        if name.startswith("/") or "\\" in name or ":" in name or any(p in ("", ".", "..") for p in parts):
            raise ModelError(
                f"{source}: member {name!r} would lie outside the archive; the file is not opened"
            )
        roots.add(parts[0])
    if len(set(names)) != len(names):
        raise ModelError(f"{source}: member names are repeated. {_ADVICE}")
    if len(roots) != 1:
        raise ModelError(
            f"{source}: not a model archive: {len(roots)} top-level entries instead of one folder"
        )
    return roots.pop()


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
        ModelError: if it is missing, not a file, unreadable or larger than ``MAX_BYTES``.
    """
    try:
        if path.is_dir():
            raise ModelError(f"{path}: is a folder, not a model archive")
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: larger than the limit of {MAX_BYTES} bytes for a model archive")
        content: bytes = path.read_bytes()
    except FileNotFoundError:
        beside = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, near) if (near := nearest(path.name, beside)) else "Check the path"
        raise ModelError(f"{path}: no such file. {hint}") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from None
    return content
