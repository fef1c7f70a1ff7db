"""Selections and rows: hits stay where they are, indices always mean rows of the input."""

import numpy as np
import pytest

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import HitParameters, Hits, HitSelection, Tracks

NAMES = np.array(["a", "b"])


def test_take_keeps_all_columns_of_the_chosen_hits():
    hits = Hits([7, 8, 9], [1.0, 2, 3], [4.0, 5, 6], [7.0, 8, 9], time=[0.1, 0.2, 0.3], volume_id=[1, 2, 3])
    chosen = hits.take(np.array([0, 2]))
    assert chosen.hit_id.tolist() == [7, 9]
    assert chosen.z.tolist() == [7, 9]
    assert chosen.volume_id.tolist() == [1, 3]
    assert chosen.layer_id is None


@pytest.mark.parametrize("rows", [[1, 1], [2, 1], [-1, 3]])
def test_rows_are_distinct_and_ascending(rows):
    with pytest.raises(EventDataError, match="ascending"):
        HitSelection(rows, [], np.zeros(0, dtype=np.int64))
    with pytest.raises(EventDataError, match="ascending"):
        HitParameters(np.zeros((2, 2)), NAMES, np.ones(2), rows)


def test_parameters_of_all_hits_have_the_rows_of_the_hits():
    assert HitParameters(np.zeros((3, 2)), NAMES, np.ones(2)).hit_rows.tolist() == [0, 1, 2]
    assert HitParameters(np.zeros((2, 2)), NAMES, np.ones(2), [4, 9]).hit_rows.tolist() == [4, 9]


def test_there_is_one_row_per_line_of_values():
    with pytest.raises(EventDataError, match="rows"):
        HitParameters(np.zeros((3, 2)), NAMES, np.ones(2), [0, 1])


def test_select_keeps_whole_tracks():
    tracks = Tracks(
        offsets=[0, 2, 5, 6],
        hit_indices=[0, 4, 1, 2, 3, 5],
        membership=np.arange(6) / 10,
        d0=[0.1, 0.2, 0.3],
        covariance=np.arange(75.0).reshape(3, 5, 5),
        quality=[0.5, 0.6, 0.7],
        hit_chi2=np.arange(6.0),
    )
    chosen = tracks.select(np.array([True, False, True]))
    assert chosen.offsets.tolist() == [0, 2, 3]
    assert chosen.hit_indices.tolist() == [0, 4, 5]
    assert chosen.membership == pytest.approx([0.0, 0.1, 0.5])
    assert chosen.hit_chi2.tolist() == [0, 1, 5]
    assert chosen.d0.tolist() == [0.1, 0.3]
    assert chosen.covariance[1, 0, 0] == 50
    assert len(tracks.select(np.zeros(3, dtype=bool))) == 0


def test_hit_chi2_survives_awkward():
    tracks = Tracks([0, 2, 3], [0, 2, 1], hit_chi2=[1.0, np.nan, 2.0], quality=[1, 0])
    assert Tracks.from_awkward(tracks.to_awkward()).equals(tracks)


def test_all_hits_selected_equals_the_checked_constructor():
    for n in (0, 5):
        assert HitSelection.all_of(n).equals(HitSelection(np.arange(n), [], np.zeros(0, dtype=int)))
