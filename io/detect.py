"""Recognising the format of an input: every registered reader says how sure it is."""

from __future__ import annotations

import logging

from mltrack_plugin.errors import InputError
from mltrack_plugin.io.source import Source
from mltrack_plugin.registry import available, find, package_of

_logger = logging.getLogger("mltrack_plugin")


def detect_format(path: str) -> str:
    """Name of the format of a file, folder or archive, from its content.

    A reader that cannot be asked (its package is broken) is named in the log, and the others are asked.

    Raises:
        InputError: if there is nothing, nothing that any reader knows, or two readers are equally sure of it.
    """
    source = Source(path)
    if source.kind == "folder" and not source.names:
        if folders := source.folder.folders:
            shown = ", ".join(map(repr, folders[:5])) + (" and more" if len(folders) > 5 else "")
            raise InputError(
                f"{path} holds no files, only the folders {shown}; give the one with the events: "
                f"{path.rstrip('/')}/{folders[0]}"
            )
        raise InputError(f"{path} is empty: it holds no events. Give a folder with events, or a file")
    readers = available("reader")
    sure: dict[str, float] = {}
    broken: list[str] = []
    for name, point in readers.items():
        try:
            sure[name] = float(find("reader", name).recognises(source))
        except InputError:
            raise
        except Exception as error:
            broken.append(f"the reader {name!r} of {package_of(point)} was not asked: {error}")
            _logger.warning(broken[-1])
    best = max(sure.values(), default=0.0)
    found = [name for name, confidence in sure.items() if confidence == best]
    if best <= 0.0:
        raise InputError(". ".join([_unknown(source, ", ".join(readers)), *broken]))
    if len(found) > 1:
        claims = " and ".join(f"{name!r} of {package_of(readers[name])}" for name in found)
        raise InputError(f"{path} looks like the formats {claims} alike; name the right one with --format")
    return found[0]


def _unknown(source: Source, formats: str) -> str:
    path = source.path
    if source.kind == "root":
        if not source.trees:
            return f"{path} holds no tree (TTree or RNTuple) at all"
        return (
            f"{path} has no tree of hits that is known; it has {', '.join(map(repr, sorted(source.trees)))}. Name "
            "the tree and map its branches in the job configuration (reader: "
            "{format: root-events, tree: ..., branches: {x: ...}})"
        )
    if source.kind == "parquet":
        columns = ", ".join(sorted(source.parquet_columns)[:8])
        return f"{path} is a Parquet file without hits (columns: {columns}, ...); give the tracker_hits file"
    if source.kind == "folder":
        names = source.names
        shown = f"{', '.join(names[:5])}{' and more' if len(names) > 5 else ''}"
        line = next(
            (
                f" {name} begins with {line[:80]!r}; its first line must name the columns."
                for name, line in source.first_lines.items()
            ),
            "",
        )
        return (
            f"{path} holds no events of a known format; it holds {shown}.{line} Formats: {formats} (--format)"
        )
    if path.split("?")[0].endswith(".root"):
        return (
            f"{path} is not a ROOT file (it begins with {source.head[:4]!r}, not b'root'). Copy it again, or name its "
            "format with --format"
        )
    return f"{path}: the format is not recognised. If it is one of {formats}, name it with --format"
