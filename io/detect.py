"""Recognising the format of an input from its content."""

from __future__ import annotations

import gzip
import io
import re

from mltrack_plugin.errors import InputError
from mltrack_plugin.io import FORMATS, storage

#: Branches, one entry per hit, that tell the hit trees of ACTS.
_ACTS_TREES = {
    "hits": "tx",
    "measurements": "rec_loc0",
    "spacepoints": "measurement_id",
    "spacePoints": "measurement_id",
}


def detect_format(path: str) -> str:
    """Name of the format of a file, folder or archive.

    Raises:
        InputError: if there is nothing, or nothing that any reader of this package knows.
    """
    if "://" in path and path.split("?")[0].endswith(".root"):
        return _of_root(path)
    if storage.kind_of(path) == "folder" or storage.is_zip(path):
        return _of_folder(storage.open_folder(path))
    head = storage.first_bytes(path, 65536)
    if not head:
        raise InputError(f"{path} is empty (0 bytes). Copy or produce it again")
    if head[:4] == b"root":
        return _of_root(path)
    if head[:4] == b"PAR1":
        return _of_parquet(path)
    if (found := _of_text(_unzipped(head, path))) is not None:
        return found
    if path.split("?")[0].endswith(".root"):
        raise InputError(
            f"{path} is not a ROOT file (it begins with {head[:4]!r}, not b'root'). Copy it again, or name its "
            "format with --format"
        )
    raise _unknown(path)


def _unknown(path: str) -> InputError:
    return InputError(
        f"{path}: the format is not recognised. If it is one of {', '.join(FORMATS)}, name it with --format"
    )


def _unzipped(head: bytes, path: str) -> bytes:
    if head[:2] != b"\x1f\x8b":
        return head
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(head)).read1(4096)
    except (OSError, EOFError) as error:
        raise InputError(f"{path} is a damaged gzip file: {error}") from error


def _of_text(head: bytes) -> str | None:
    line = head.split(b"\n", 1)[0].decode("utf-8", errors="replace").strip().lstrip("\ufeff").replace('"', "")
    semicolons, commas = set(line.split(";")), set(line.split(","))
    if {"event_id", "hit_r"} <= semicolons or {"sub_detector_id", "track_id"} <= semicolons:
        return "redvid-csv"
    if {"tx", "ty", "tz", "geometry_id"} <= commas or {"measurement_id", "geometry_id"} <= commas:
        return "acts-csv"
    if {"measurement_id_1", "x"} <= commas:
        return "acts-csv"
    if len({"hit_id", "x", "y", "z", "volume_id", "layer_id", "module_id"} & commas) >= 4:
        return "trackml-csv"
    return None


def _of_folder(folder: storage.Folder) -> str:
    names = folder.names
    if not names:
        raise InputError(
            f"{folder.source} is empty: it holds no events. Give a folder with events, or a file"
        )
    if any("tracker_hits" in n and n.endswith(".parquet") for n in names):
        return "colliderml"
    texts = [n for n in names if re.search(r"(^|/)event\d+-(hits|measurements|spacepoint)\.csv(\.\w+)?$", n)]
    if not texts:
        texts = [n for n in names if re.search(r"\.csv(\.gz)?$", n)]
    unknown = ""
    for name in texts[:20]:
        line = folder.first_line(name)
        if (found := _of_text(line)) is not None:
            return found
        shown = line.strip()[:80].decode("utf-8", errors="replace")
        unknown = (
            unknown or f" {folder.path(name)} begins with {shown!r}; its first line must name the columns."
        )
    if any("labelled" in n and n.endswith(".parquet") for n in names):
        return "trackml-parquet"
    if any(n.endswith(".root") for n in names):
        return "acts-root"
    raise InputError(
        f"{folder.source} holds no events of a known format; it holds {', '.join(names[:5])}"
        f"{' and more' if len(names) > 5 else ''}.{unknown} Formats: {', '.join(FORMATS)} (--format)"
    )


def _of_root(path: str) -> str:
    from mltrack_plugin.io import root_file

    file = root_file.open_root(path)
    there = root_file.trees(file)
    for name, branch in _ACTS_TREES.items():
        if name in there:
            types = root_file.branch_types(file[name])
            if branch in types or (name == "measurements" and "rec_gx" in types):
                return "acts-root"
    if "hits" in there:
        return "root-events"
    if not there:
        raise InputError(f"{path} holds no tree (TTree or RNTuple) at all")
    raise InputError(
        f"{path} has no tree of hits that is known; it has {', '.join(map(repr, sorted(there)))}. Name "
        "the tree and map its branches in the job configuration (reader: "
        "{format: root-events, tree: ..., branches: {x: ...}})"
    )


def _of_parquet(path: str) -> str:
    from mltrack_plugin.io import parquet_file

    names = set(parquet_file.column_names(parquet_file.open_parquet(path)))
    if {"hit_id", "x", "particle_id"} <= names:
        return "trackml-parquet"
    if {"x", "y", "z"} <= names and ("event_id" in names or "surface_id" in names):
        return "colliderml"
    raise InputError(
        f"{path} is a Parquet file without hits (columns: {', '.join(sorted(names)[:8])}, ...); give the "
        "tracker_hits file"
    )
