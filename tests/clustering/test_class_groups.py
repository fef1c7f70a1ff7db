"""Groups from classes: sizes, probabilities, and the vote of hits whose class has too few."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mltrack_plugin.clustering.class_groups import class_groups, settle


def arrays(rows):
    table = np.array(rows, dtype=np.float64)
    return table[:, :2].astype(np.int64), table[:, 2:].astype(np.float32)


TRACK = [(7, 3, 0.9, 0.05)] * 4
#: A fifth hit of the track on the other side of the border, and a lone hit whose second class nobody has.
ASTRAY, LONE = (8, 7, 0.6, 0.3), (2, 1, 0.5, 0.4)


def test_hits_of_a_class_are_a_group():
    choices, probability = arrays([*TRACK, *[(1, 7, 0.7, 0.2)] * 5])
    label, value = class_groups(choices, probability)
    assert label.tolist() == [7] * 4 + [1] * 5
    np.testing.assert_allclose(value, [0.9] * 4 + [0.7] * 5)


def test_vote_brings_hits_back_over_the_border():
    choices, probability = arrays([*TRACK, ASTRAY, LONE])
    label, value = class_groups(choices, probability)
    assert label.tolist() == [7] * 5 + [-1]
    np.testing.assert_allclose(value, [0.9] * 4 + [0.3, 0.0])
    label, value = class_groups(choices, probability, vote=False)
    assert label.tolist() == [7] * 4 + [-1, -1]


def test_improbable_hits_follow_no_class():
    choices, probability = arrays([*TRACK, (7, 3, 0.1, 0.1), ASTRAY])
    label, _ = class_groups(choices, probability, min_probability=0.2)
    assert label.tolist() == [7] * 4 + [-1, 7]
    label, _ = class_groups(choices, probability, min_probability=0.4)
    assert label.tolist() == [7] * 4 + [-1, -1]
    # Hits that do not follow a class do not count for its size.
    label, _ = class_groups(choices, probability, min_hits=5, min_probability=0.2)
    assert label.tolist() == [-1] * 6


def test_hits_of_a_track_on_a_border_agree_on_one_side():
    """Six hits prefer either side of a border; a second track at the corner of four bins gathers, too."""
    split = [[1, 2, 8, 9]] * 3 + [[2, 1, 8, 9]] * 3
    corner = [[4, 5, 6, 7], [5, 4, 7, 6], [6, 7, 4, 5], [4, 6, 5, 7]]
    choices = np.array(split + corner)
    probability = np.array(
        [[0.5, 0.45, 0.03, 0.02]] * 5 + [[0.52, 0.45, 0.02, 0.01]] + [[0.4, 0.3, 0.2, 0.1]] * 4
    )
    alone, _ = class_groups(choices, probability, min_hits=1)
    assert sorted(set(alone)) == [1, 2, 4, 5, 6]
    together, value = class_groups(choices, probability, min_hits=4, rounds=8)
    assert len(set(together[:6])) == 1
    assert together[6:].tolist() == [4] * 4
    np.testing.assert_allclose(value[6:], [0.4, 0.3, 0.2, 0.4])
    settled, _ = settle(choices, probability, 8)
    assert (np.sort(settled, axis=1) == np.sort(choices, axis=1)).all()
    for mine, theirs in zip(settle(choices, probability, 0), (choices, probability), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_sure_hits_do_not_follow_the_crowd():
    choices = np.array([[1, 2]] * 8 + [[2, 1]] * 4)
    probability = np.array([[0.95, 0.05]] * 8 + [[0.99, 0.01]] * 4)
    label, _ = class_groups(choices, probability, rounds=8)
    assert label.tolist() == [1] * 8 + [2] * 4


def test_no_hits():
    label, value = class_groups(np.zeros((0, 2), dtype=np.int64), np.zeros((0, 2)))
    assert len(label) == len(value) == 0
    assert len(class_groups(np.zeros((0, 4), dtype=np.int64), np.zeros((0, 4)), rounds=3)[0]) == 0


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=60), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_groups_are_never_smaller_than_asked(pairs, min_hits):
    choices = np.array(pairs)
    label, value = class_groups(choices, np.full(choices.shape, 0.4), min_hits)
    grouped = label >= 0
    assert (np.bincount(label[grouped], minlength=1)[label[grouped]] >= min_hits).all()
    assert ((label == choices[:, 0]) | (label == choices[:, 1]) | ~grouped).all()
    assert ((value > 0) == grouped).all()
