"""Small input files for the tests of the readers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from mltrack_plugin.framework.algorithm import ReadEvent

#: Ids that collapse into one if they pass through a 64-bit float.
BIG = 2**60

Event = dict[str, Any]


def sample_data(*parts: str) -> Path:
    """A file or folder of the sample data; skips the test where there is none."""
    default = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("MLTRACK_SAMPLE_DATA", default)).joinpath(*parts)
    if not path.exists():
        pytest.skip(f"no sample data at {path} (set MLTRACK_SAMPLE_DATA)")
    return path


def hits_of(number: int, n: int = 5, **changes: Any) -> Event:
    """Columns of the hits of one event; coordinates tell event and row."""
    row = np.arange(n)
    columns = {
        "hit_id": (row + 10).astype(np.uint64),
        "x": (100.0 * number + row).astype(np.float32),
        "y": (-row).astype(np.float32),
        "z": (row * 0.5).astype(np.float32),
        "layer_id": row.astype(np.int32),
        "particle_id": np.array([BIG + 1 + r % 2 for r in row], dtype=np.uint64),
    }
    return columns | changes


def particles_of(number: int, ids: Sequence[int] = (BIG + 1, BIG + 2)) -> Event:
    """Columns of the particles of one event."""
    numbers = {
        c: np.full(len(ids), i + number, dtype=np.float32) for i, c in enumerate(("vx", "vy", "vz", "px"))
    }
    ones = {c: np.ones(len(ids), dtype=np.float32) for c in ("py", "pz", "q")}
    return {"particle_id": np.array(ids, dtype=np.uint64), **numbers, **ones}


def jagged(rows: Sequence[Any]) -> ak.Array:
    """One list per event, with the rows' type."""
    return ak.unflatten(np.concatenate(rows), [len(r) for r in rows])


def write_events(
    path: Path,
    trees: Mapping[str, Sequence[Event]],
    numbers: Sequence[int],
    *,
    rntuple: bool = False,
    batch: int = 10**9,
) -> str:
    """A ROOT file with one entry per event, in baskets (clusters) of ``batch`` events."""
    with uproot.recreate(path) as file:
        for name, events in trees.items():
            tree: Any = None
            for start in range(0, len(events), batch):
                part = events[start : start + batch]
                columns = {c: jagged([e[c] for e in part]) for c in part[0]}
                ids = np.array(numbers[start : start + batch], dtype=np.uint64)
                if rntuple:
                    data = ak.Array({"event_number": ids, **columns})
                    tree = file.mkrntuple(name, data) if start == 0 else tree
                    if start:
                        tree.extend(data)
                    continue
                if start == 0:
                    types = {c: ak.type(v).content for c, v in columns.items()}
                    tree = file.mktree(name, {"event_number": "uint64", **types})
                tree.extend({"event_number": ids, **columns})
    return str(path)


def write_flat(path: Path, trees: Mapping[str, Mapping[str, Any]]) -> str:
    """A ROOT file with trees of the given columns (NumPy: one entry per row; awkward: lists)."""
    with uproot.recreate(path) as file:
        for name, columns in trees.items():
            types = {
                c: v.dtype if isinstance(v, np.ndarray) else ak.type(v).content for c, v in columns.items()
            }
            file.mktree(name, types).extend(dict(columns))
    return str(path)


def read_all(reader: Any, start: int = 0, stop: int | None = None) -> list[ReadEvent]:
    """All events of a reader."""
    reader.initialize()
    assert reader.num_events() >= 0
    events = list(reader.events(start, stop))
    reader.finalize()
    return events
