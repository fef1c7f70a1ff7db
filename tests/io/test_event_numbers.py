"""One rule for event numbers: integers, in range, unique."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reading_events import hits_of, read_all, write_events, write_flat

from mltrack_plugin.errors import InputError
from mltrack_plugin.io.event_numbers import event_numbers, require_unique
from mltrack_plugin.io.root_events import RootEventsReader


@pytest.mark.parametrize(
    ("dtype", "last"), [(np.float16, 2047), (np.float32, 2**24 - 1), (np.float64, 2**53 - 1)]
)
def test_floating_point_numbers_count_as_long_as_they_are_exact(dtype: type, last: int) -> None:
    numbers = event_numbers(np.array([0, 3, last], dtype=dtype), "f")
    assert numbers.dtype == np.uint64
    assert numbers.tolist() == [0, 3, last]
    for bad in (last + 1, 0.5, -1, np.nan, np.inf):
        with pytest.raises(InputError, match=r"^f: .* cannot be an event number"):
            event_numbers(np.array([0, bad], dtype=dtype), "f")


def test_integers_keep_all_their_digits() -> None:
    assert event_numbers(np.array([2**64 - 1], np.uint64), "f").tolist() == [2**64 - 1]
    with pytest.raises(InputError, match=r"^f: event number -2 is negative"):
        event_numbers(np.array([1, -2]), "f")
    with pytest.raises(InputError, match=r"^f must hold integers, it holds bool"):
        event_numbers(np.array([True]), "f")


def test_repeated_numbers_are_named() -> None:
    require_unique(np.array([3, 1, 2]), "f")
    with pytest.raises(InputError, match=r"^f: event number 1 is that of 2 entries \(2 of 3 event numbers"):
        require_unique(np.array([2, 1, 3, 1, 2]), "f")


@pytest.mark.parametrize("rntuple", [False, True], ids=["ttree", "rntuple"])
def test_merged_event_wise_trees_are_refused_before_anything_is_read(tmp_path: Path, rntuple: bool) -> None:
    trees = {"hits": [hits_of(i) for i in range(6)]}
    path = write_events(tmp_path / "e.root", trees, [0, 1, 2, 0, 1, 2], rntuple=rntuple)
    with pytest.raises(
        InputError, match=r"e.root, tree 'hits', branch 'event_number': event number 0 is that of 2"
    ):
        RootEventsReader(path=path).initialize()


def test_flat_trees_with_floating_point_numbers(tmp_path: Path) -> None:
    columns = {c: np.arange(4.0) for c in "xyz"}
    for numbers, wanted in (([1, 1, 5, 5], [1, 5]), ([1, 1, 2**24, 2**24 + 1], None)):
        path = write_flat(
            tmp_path / "e.root", {"hits": columns | {"event_number": np.array(numbers, dtype=np.float32)}}
        )
        if wanted:
            assert [e.event_number for e in read_all(RootEventsReader(path=path))] == wanted
        else:
            with pytest.raises(
                InputError, match=r"branch 'event_number': 16777216.0 cannot be an event number"
            ):
                RootEventsReader(path=path).initialize()
