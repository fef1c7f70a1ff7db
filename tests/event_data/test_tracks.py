"""Tracks made from what is valid already are the same as tracks that are checked from scratch."""

import numpy as np
import pytest

from mltrack_plugin.errors import EventDataError
from mltrack_plugin.event_data import ProtoTracks, Tracks


@pytest.fixture
def candidates():
    return ProtoTracks.from_labels([0, 1, 1, -1, 0, 1], np.linspace(0.5, 1, 6))


def test_from_candidates_equals_the_checked_constructor(candidates):
    tracks = Tracks.from_candidates(candidates)
    assert tracks.equals(Tracks(candidates.offsets, candidates.hit_indices, candidates.membership))
    assert not tracks.fitted.any()
    with pytest.raises(ValueError, match="read-only"):
        tracks.d0[0] = 1.0


def test_with_columns_equals_the_checked_constructor(candidates):
    columns = {"theta": [1.0, 2.0], "quality": [0.5, 1.0], "hit_chi2": np.arange(5), "membership": np.ones(5)}
    columns |= {"covariance": np.ones((2, 5, 5)), "ndf": [5, 7]}
    before = Tracks.from_candidates(candidates)
    tracks = before.with_columns(**columns)
    wanted = {"membership": candidates.membership, **columns}
    assert tracks.equals(Tracks(candidates.offsets, candidates.hit_indices, **wanted))
    assert tracks.quality.dtype == np.float32
    assert before.quality is None


@pytest.mark.parametrize(
    "column",
    [{"theta": [1.0]}, {"hit_chi2": [1.0, 2.0]}, {"covariance": np.ones((2, 5))}, {"ndf": [0.5, 1.0]}],
)
def test_with_columns_refuses_what_the_constructor_refuses(candidates, column):
    with pytest.raises(EventDataError, match=next(iter(column))):
        Tracks.from_candidates(candidates).with_columns(**column)


def test_selecting_from_unfitted_tracks(candidates):
    tracks = Tracks.from_candidates(candidates).select(np.array([False, True]))
    assert tracks.hit_indices.tolist() == [1, 2, 5]
    assert tracks.theta.shape == (1,)
