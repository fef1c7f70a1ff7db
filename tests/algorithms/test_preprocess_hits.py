"""preprocess-hits: all hits pass by default; what is left out is counted; rows stay those of the input."""

import logging

import numpy as np
import pytest

from mltrack_plugin.algorithms.preprocess_hits import PreprocessHits
from mltrack_plugin.errors import ConfigurationError, EventError
from mltrack_plugin.event_data import Hits, HitSelection

HITS = Hits(
    hit_id=[10, 20, 30, 40, 50],
    x=[30.0, 300, 900, 30, 2000],
    y=[0.0, 0, 0, 0, 0],
    z=[0.0, 10, -3000, 0, 0],
    volume_id=[8, 13, 17, 8, 17],
)


def selected(run, hits=HITS, **settings):
    return run(PreprocessHits(**settings), hits=hits).get("selected_hits", HitSelection)


def test_everything_passes_by_default(run):
    selection = selected(run)
    assert selection.rows.tolist() == [0, 1, 2, 3, 4]
    assert len(selection.reasons) == 0


@pytest.mark.parametrize(
    ("settings", "rows", "left_out"),
    [
        ({"volumes": [8, 13]}, [0, 1, 3], {"volumes": 2}),
        ({"r": [20, 1100]}, [0, 1, 2, 3], {"r": 1}),
        ({"z": [-1000, 1000]}, [0, 1, 3, 4], {"z": 1}),
        ({"drop_repeated_positions": True}, [0, 1, 2, 4], {"repeated positions": 1}),
        ({"volumes": [8, 17], "r": [0, 1100], "z": [-1000, 1000]}, [0, 3], {"volumes": 1, "r": 1, "z": 1}),
    ],
)
def test_what_is_left_out_is_counted_once_by_reason(run, settings, rows, left_out):
    selection = selected(run, **settings)
    assert selection.rows.tolist() == rows
    assert dict(zip(selection.reasons.tolist(), selection.left_out.tolist(), strict=True)) == left_out
    assert len(rows) + sum(left_out.values()) == len(HITS)


def test_totals_are_logged(run, caplog):
    with caplog.at_level(logging.INFO):
        selected(run, volumes=[8])
    assert "3 hits left out by the requirement on volumes" in caplog.text


def test_event_without_hits(run):
    empty = Hits(np.zeros(0, dtype=np.uint64), [], [], [])
    selection = selected(run, empty, r=[0, 1], drop_repeated_positions=True)
    assert len(selection) == 0


def test_volumes_need_volume_ids(run):
    with pytest.raises(EventError, match="no volume_id"):
        selected(run, Hits([1], [1.0], [1.0], [1.0]), volumes=[8])


@pytest.mark.parametrize("window", [[5, 5], [5, 1], [0, float("inf")]])
def test_a_window_is_ordered_and_finite(window):
    with pytest.raises(ConfigurationError, match="r"):
        PreprocessHits(r=window)
