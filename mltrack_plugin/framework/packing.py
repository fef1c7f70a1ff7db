"""Event results as flat bytes: how they travel between processes and into the journal.

A packed chunk is a JSON header and one block of array bytes. Nothing is pickled, so a journal file
can hold data only.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Collection as Keys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Collection
from mltrack_plugin.framework.algorithm import SequenceElement
from mltrack_plugin.framework.event_loop import EventResult
from mltrack_plugin.framework.summary import SkippedEvent

#: Bytes to which every array is aligned inside the block.
_ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Packed:
    """Header and array bytes of a chunk of events."""

    header: bytes
    data: bytes


def pack(events: Iterable[EventResult], keys: Keys[str]) -> Packed:
    """Pack event results with the collections under ``keys``."""
    entries: list[dict[str, Any]] = []
    blocks: list[bytes] = []
    for event in events:
        content = {}
        for key, value in event.collections.items():
            if key in keys:
                columns = _columns(value)
                content[key] = [
                    _reference(type(value)),
                    [[name, array.dtype.str, array.shape] for name, array in columns.items()],
                ]
                for array in columns.values():
                    blocks += (array.tobytes(), bytes(-array.nbytes % _ALIGNMENT))
        entry: dict[str, Any] = {
            "event": [event.index, event.event_number, event.hits, event.tracks],
            "collections": content,
        }
        if event.filtered:
            entry["filtered"] = True
        if event.skipped is not None:
            entry["skipped"] = dataclasses.asdict(event.skipped)
        entries.append(entry)
    return Packed(json.dumps(entries).encode(), b"".join(blocks))


def unpack(packed: Packed) -> list[EventResult]:
    """The inverse of :func:`pack`; collections are validated again.

    Raises:
        ValueError, KeyError, TypeError: if the header is not one that :func:`pack` made.
    """
    offset = 0
    events = []
    for entry in json.loads(packed.header):
        collections = {}
        for key, (reference, columns) in entry["collections"].items():
            arrays = {}
            for name, dtype_text, shape in columns:
                dtype = np.dtype(dtype_text)
                count = int(np.prod(shape, dtype=np.int64))
                arrays[name] = np.frombuffer(packed.data, dtype, count, offset).reshape(shape)
                offset += count * dtype.itemsize
                offset += -offset % _ALIGNMENT
            collections[key] = _restore(reference, arrays)
        skipped = entry.get("skipped")
        index, number, hits, tracks = entry["event"]
        events.append(
            EventResult(
                index,
                number,
                collections,
                hits,
                tracks,
                entry.get("filtered", False),
                SkippedEvent(**skipped) if skipped else None,
            )
        )
    return events


def check_packable(elements: Iterable[SequenceElement]) -> None:
    """Refuse writers whose inputs cannot travel between processes or into the journal.

    Raises:
        ConfigurationError: naming writer, key and type.
    """
    for element in elements:
        for handle in element.inputs:
            if not issubclass(handle.kind, Collection | np.ndarray):
                raise ConfigurationError(
                    f"{element.name} reads {handle.key!r} as {handle.kind.__name__}; "
                    "what a writer reads must be a Collection of mltrack_plugin.event_data, "
                    "a subclass of one, or a NumPy array"
                )


def _columns(value: object) -> Mapping[str, np.ndarray[Any, Any]]:
    return {"": value} if isinstance(value, np.ndarray) else value.arrays()  # type: ignore[attr-defined]


def _reference(kind: type) -> str:
    return "" if issubclass(kind, np.ndarray) else f"{kind.__module__}:{kind.__qualname__}"


def _restore(reference: str, arrays: dict[str, Any]) -> object:
    if not reference:
        return arrays[""]
    module, _, name = reference.partition(":")
    # Only classes that the running job has imported can appear; nothing is imported on a file's word.
    # The main script has another module name inside worker processes.
    kind: Any = sys.modules.get("__main__" if module == "__mp_main__" else module)
    for part in name.split("."):
        kind = getattr(kind, part, None)
    if not (isinstance(kind, type) and issubclass(kind, Collection)):
        raise ValueError(f"{reference!r} is no collection of this job")
    return kind.from_arrays(arrays)
