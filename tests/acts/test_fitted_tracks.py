"""ACTS tracks as Tracks: the same numbers, canonical order, and what happens to shared hits."""

from types import SimpleNamespace

import numpy as np
import pytest
from acts_events import gun_event, shuffled, true_candidates

pytest.importorskip("acts")

import acts
import acts.examples

from mltrack_plugin.acts.ckf import PRESETS, CkfChain
from mltrack_plugin.acts.fitted_tracks import fitted_tracks, read_fitted_tracks, track_measurements
from mltrack_plugin.acts.kalman import KalmanFitter
from mltrack_plugin.acts.measurements import measurements_of
from mltrack_plugin.acts.whiteboard import ActsEvent
from mltrack_plugin.errors import EventDataError

PERIGEE = acts.Surface.createPerigee(acts.Vector3(0, 0, 0))


class Container:
    """What a ConstTrackContainer gives, with any content."""

    def __init__(self, counts, chi2=None, fitted=None, surface=PERIGEE):
        n = len(counts)
        rng = np.random.default_rng(1)
        self.nMeasurements = np.array(counts, dtype=np.uint32)
        self.parameters = rng.normal(size=(n, 6))
        self.covariance = rng.normal(size=(n, 6, 6))
        self.chi2 = np.array(chi2 if chi2 is not None else np.ones(n), dtype=np.float32)
        self.ndf = np.full(n, 5, dtype=np.uint32)
        self.nOutliers = np.arange(n, dtype=np.uint32)
        self.nHoles = np.arange(n, dtype=np.uint32) + 10
        fitted = np.ones(n, dtype=bool) if fitted is None else fitted
        self.tracks = [SimpleNamespace(hasReferenceSurface=bool(f), referenceSurface=surface) for f in fitted]

    def __len__(self):
        return len(self.tracks)

    def __iter__(self):
        return iter(self.tracks)


def converted(lists, hit_rows=None, shared="refuse", **content):
    counts = np.array([len(entry) for entry in lists], dtype=np.int64)
    measurements = np.array([m for entry in lists for m in entry], dtype=np.int64)
    hit_rows = np.arange(20) if hit_rows is None else np.asarray(hit_rows)
    container = Container(counts, **content)
    return container, fitted_tracks(container, counts, measurements, hit_rows, shared=shared)


@pytest.fixture(scope="module")
def board():
    """Whiteboard with the tracks of the CKF, before and after ambiguity resolution, and the measurements."""
    event, _ = shuffled(gun_event(100))
    boards = []
    original = ActsEvent.__init__

    def remember(self, number=0):
        original(self, number)
        boards.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ActsEvent, "__init__", remember)
        measurements = measurements_of(event.hits)
        CkfChain(PRESETS["tuned"], 2.0).find(measurements)
    return boards[0], measurements


def test_every_number_is_that_of_acts(board):
    event, measurements = board
    found = read_fitted_tracks(event, "ambi_tracks", measurements.hit_rows)
    container = event.read(acts.examples.ConstTrackContainer, "ambi_tracks")
    assert len(found.tracks) == len(container) > 90
    assert sorted(found.source.tolist()) == list(range(len(container)))
    columns = [("d0", "loc0"), ("z0", "loc1"), ("phi", "phi"), ("theta", "theta"), ("qop", "qOverP")]
    columns += [("chi2", "chi2"), ("ndf", "nDoF")]
    for row, source in enumerate(found.source.tolist()):
        track = container[source]
        for ours, theirs in columns:
            assert getattr(found.tracks, ours)[row] == getattr(track, theirs)
        for i in range(5):
            for j in range(5):
                # ACTS leaves the triangles apart by rounding; ours has its upper one.
                assert found.tracks.covariance[row, i, j] == track.covariance[min(i, j), max(i, j)]
        assert (found.n_outliers[row], found.n_holes[row]) == (track.nOutliers, track.nHoles)
        used = [
            acts.examples.IndexSourceLink.fromSourceLink(state.uncalibratedSourceLink).index()
            for state in track.trackStatesReversed
            if state.typeFlags.hasMeasurement and not state.typeFlags.isOutlier
        ]
        assert sorted(measurements.hit_rows[used]) == found.tracks.hits_of(row).tolist()


def test_arrays_outlive_the_whiteboard():
    event = gun_event(20)
    tracks = CkfChain(PRESETS["tuned"], 2.0).find(measurements_of(event.hits)).found.tracks
    before = {name: values.copy() for name, values in tracks.arrays().items()}
    for _ in range(3):
        CkfChain(PRESETS["tuned"], 2.0).find(measurements_of(gun_event(50, index=1).hits))
    assert all(np.array_equal(tracks.arrays()[name], values) for name, values in before.items())


def test_tracks_before_ambiguity_resolution_share_hits_and_are_refused(board):
    event, measurements = board
    counts, indices = track_measurements(event, "ckf_tracks")
    hits, uses = np.unique(measurements.hit_rows[indices], return_counts=True)
    container = event.read(acts.examples.ConstTrackContainer, "ckf_tracks")
    surplus = int((uses - 1).sum())
    assert surplus > 0
    with pytest.raises(EventDataError, match=rf"^{surplus} hits are on more than one track"):
        fitted_tracks(container, counts, indices, measurements.hit_rows)
    found = fitted_tracks(container, counts, indices, measurements.hit_rows, shared="best")
    assert found.shared_hits == surplus
    assert np.array_equal(np.sort(found.tracks.hit_indices), hits)
    assert len(found.tracks) + found.without_hits == len(container)


def test_tracks_are_sorted_by_their_smallest_hit_and_hits_ascend():
    container, found = converted([[4, 3], [0, 9], [1, 2]], hit_rows=[7, 5, 6, 1, 4, 0, 2, 3, 8, 9])
    # In rows of Hits: {4, 1}, {7, 9}, {5, 6}.
    assert [found.tracks.hits_of(i).tolist() for i in range(3)] == [[1, 4], [5, 6], [7, 9]]
    assert found.source.tolist() == [0, 2, 1]
    assert found.tracks.d0.tolist() == container.parameters[[0, 2, 1], 0].tolist()
    upper = np.triu_indices(5)
    assert found.tracks.covariance[1][upper].tolist() == container.covariance[2, :5, :5][upper].tolist()
    assert (found.n_outliers.tolist(), found.n_holes.tolist()) == ([0, 2, 1], [10, 12, 11])


def test_a_shared_hit_stays_on_the_longer_then_the_better_fitting_track():
    # Hit 2: the longer track; hit 7: same length, smaller chi2.
    lists = [[0, 1, 2], [2, 3, 4, 5], [6, 7], [7, 8]]
    _, found = converted(lists, shared="best", chi2=[1, 9, 5, 4])
    assert [found.tracks.hits_of(i).tolist() for i in range(4)] == [[0, 1], [2, 3, 4, 5], [6], [7, 8]]
    assert (found.shared_hits, found.without_hits) == (2, 0)


def test_a_track_whose_hits_are_all_on_better_ones_is_counted():
    _, found = converted([[0, 1, 2], [1, 2], [5]], shared="best")
    assert found.source.tolist() == [0, 2]
    assert (found.shared_hits, found.without_hits) == (2, 1)


def test_a_track_without_reference_surface_has_no_parameters():
    _, found = converted([[0, 1], [2, 3]], fitted=[False, True])
    assert found.tracks.fitted.tolist() == [False, True]
    assert np.isnan(found.tracks.covariance[0]).all()
    assert np.isfinite(found.tracks.covariance[1]).all()


def test_a_container_without_tracks_is_an_empty_collection():
    _, found = converted([])
    assert len(found.tracks) == 0
    assert found.tracks.covariance.shape == (0, 5, 5)


def test_parameters_elsewhere_than_at_the_origin_are_refused():
    away = acts.Surface.createPerigee(acts.Vector3(0, 0, 10))
    with pytest.raises(EventDataError, match=r"PerigeeSurface at \(0, 0, 10\) mm"):
        converted([[0, 1]], surface=away)


def test_lists_of_other_tracks_are_refused():
    container = Container([3, 3])
    with pytest.raises(EventDataError, match=r"2 tracks, 5 measurements.*2 tracks, 6 measurements"):
        fitted_tracks(container, np.array([3, 2]), np.arange(5), np.arange(9))


def test_candidates_keep_their_order_and_hits_through_the_fit():
    event, _ = shuffled(gun_event(30), seed=4)
    candidates = true_candidates(event.truth_links)
    tracks = KalmanFitter(2.0).fit(measurements_of(event.hits), candidates)
    assert np.array_equal(tracks.offsets, candidates.offsets)
    assert np.array_equal(tracks.hit_indices, candidates.hit_indices)
