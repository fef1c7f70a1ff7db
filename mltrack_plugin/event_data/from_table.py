"""Hits from what a program has at hand: arrays by name, awkward records, structured arrays, data frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from mltrack_plugin.errors import EventDataError, did_you_mean
from mltrack_plugin.event_data.hits import Hits, TruthLinks

if TYPE_CHECKING:
    pass

#: Columns of Hits; those of the truth may be there and are not needed.
_COLUMNS = tuple(field.name for field in dataclasses.fields(Hits))
_NOT_NEEDED = frozenset(field.name for field in dataclasses.fields(TruthLinks))
_REQUIRED = ("x", "y", "z")
#: Columns that tell events apart.
_EVENT = frozenset({"event", "event_id", "event_number"})


def hits_from(data: Any) -> Hits:
    """Hits of one event.

    Args:
        data: Hits; or the columns of Hits as a mapping of arrays or lists, an awkward record array, a structured NumPy
            array or a pandas data frame. ``x``, ``y`` and ``z`` (mm) are needed; ``hit_id`` is the row where it is
            not given. Columns of the truth (``particle_id``, ``weight``) are left aside.

    Raises:
        EventDataError: if a column is missing, unknown, of another length or type, or holds NaN; it names the column,
            what was given, and the nearest known name.
    """
    if isinstance(data, Hits):
        return data
    columns = _columns_of(data)
    for name in _REQUIRED:
        if name not in columns:
            near = [other for other in columns if other.lower().endswith(name)]
            hint = f". Is it {' or '.join(map(repr, near))}? Give it as {name!r}" if near else ""
            raise EventDataError(
                f"hits need the column {name!r} (mm); given are {', '.join(columns) or 'none'}{hint}"
            )
    unknown = [name for name in columns if name not in _COLUMNS and name not in _NOT_NEEDED]
    if events := [name for name in unknown if name in _EVENT]:
        raise EventDataError(
            f"the column {events[0]!r} says that there may be several events, and hits are those of one: give one "
            f"event at a time (pandas: for number, hits in table.groupby({events[0]!r})), without this column"
        )
    if unknown:
        raise EventDataError(
            f"hits have no column {unknown[0]!r}. {did_you_mean(unknown[0], _COLUMNS)} Known are "
            f"{', '.join(_COLUMNS)}; leave out what is none of them"
        )
    arrays = {name: _array(name, columns[name]) for name in columns if name in _COLUMNS}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        counts = ", ".join(f"{name}: {n}" for name, n in lengths.items())
        raise EventDataError(f"the columns of hits differ in length ({counts})")
    arrays.setdefault("hit_id", np.arange(lengths["x"], dtype=np.uint64))
    return Hits(**arrays)


def _columns_of(data: Any) -> dict[str, Any]:
    """The columns of any table by name."""
    import awkward as ak

    if isinstance(data, ak.Array):
        if not data.fields:
            raise EventDataError(f"an awkward array of hits has the fields x, y, z; this one is {data.type}")
        if data.ndim != 1:
            raise EventDataError(
                f"hits are those of one event, and this awkward array is one of several ({data.type}): give one event "
                "at a time, [find_tracks(event) for event in array]"
            )
        return {name: data[name] for name in data.fields}
    if isinstance(data, np.ndarray) and data.dtype.names is not None:
        return {name: data[name] for name in data.dtype.names}
    if isinstance(data, Mapping):
        return {str(name): data[name] for name in data}
    if hasattr(data, "columns") and hasattr(data, "__getitem__"):
        # A data frame, of pandas or another library.
        return {str(name): data[name] for name in data.columns}
    shape = f" of shape {data.shape}" if isinstance(data, np.ndarray) else ""
    raise EventDataError(
        f"hits cannot be made of a {type(data).__name__}{shape}: give columns by name, for example "
        "{'x': x, 'y': y, 'z': z} (mm), an awkward record array, a data frame, or Hits"
    )


def _array(name: str, values: Any) -> np.ndarray[Any, Any]:
    if hasattr(values, "to_numpy"):
        values = values.to_numpy()
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as error:
        raise EventDataError(f"column {name!r} is no array of numbers: {error}") from error
    if array.ndim != 1:
        raise EventDataError(f"column {name!r} must have one value per hit, its shape is {array.shape}")
    if np.ma.isMaskedArray(values):
        raise EventDataError(f"column {name!r} has missing values")
    # Empty lists have the type of numbers with a fraction, which ids must not have.
    return array if array.size else array.astype(np.int64)
