"""follow-seeds and fit-kalman in a sequence: what they read and write, settings, errors."""

import numpy as np
import pytest
from layered_tracks import SIGMA, make, perigees

from mltrack_plugin.algorithms.fit_kalman import FitKalman
from mltrack_plugin.algorithms.follow_seeds import FollowSeeds
from mltrack_plugin.detectors import load_detector
from mltrack_plugin.errors import ConfigurationError, EventDataError
from mltrack_plugin.event_data import Hits, HitSelection, ProtoTracks, Tracks

VOLUMES = {1: {"rphi": SIGMA, "z": SIGMA}, 2: {"rphi": SIGMA, "r": SIGMA}}
SETTINGS = {"detector": "generic", "volumes": VOLUMES, "thickness": 0.005}


@pytest.fixture(scope="module")
def event():
    """Ten tracks and 20 noise hits."""
    return make(perigees(10, seed=2, eta=0.9), seed=3, noise=20)


def test_tracks_and_what_is_left(event, run):
    store = run(FollowSeeds(**SETTINGS), hits=event.hits)
    tracks, remaining = store.get("followed_tracks", ProtoTracks), store.get("remaining_hits", HitSelection)
    expected = ProtoTracks.from_labels(event.owner)
    assert np.array_equal(tracks.offsets, expected.offsets)
    assert np.array_equal(tracks.hit_indices, expected.hit_indices)
    assert np.array_equal(remaining.rows, np.flatnonzero(event.owner < 0))
    assert remaining.left_out.tolist() == [len(expected.hit_indices)]


def test_only_selected_hits_are_used_and_left(event, run):
    rows = np.flatnonzero(event.owner != 2)
    selection = HitSelection(rows, np.array(["test"]), np.array([int((event.owner == 2).sum())]))
    store = run(FollowSeeds(**SETTINGS), hits=event.hits, selected_hits=selection)
    assert len(store.get("followed_tracks", ProtoTracks)) == 9
    assert np.array_equal(store.get("remaining_hits", HitSelection).rows, np.flatnonzero(event.owner < 0))


def test_the_passes_are_settings(event, run):
    none = run(FollowSeeds(**SETTINGS, passes=[{"significance": 1e4}]), hits=event.hits)
    assert len(none.get("followed_tracks", ProtoTracks)) == 0
    assert len(none.get("remaining_hits", HitSelection)) == len(event.hits)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"field_z": 0}, "leave this algorithm out"),
        ({"passes": []}, "passes"),
        ({"passes": [{"min_hit": 4}]}, "min_hit"),
        ({"passes": [{"direction": 0}]}, "direction"),
    ],
)
def test_wrong_settings_are_named(settings, named):
    with pytest.raises(ConfigurationError, match=named):
        FollowSeeds(**settings)


def test_hits_without_layers_are_refused(event, run):
    bare = Hits(*(getattr(event.hits, name) for name in ("hit_id", "x", "y", "z")))
    elsewhere = Hits(bare.hit_id, 1.3 * bare.x, 1.3 * bare.y, bare.z)
    with pytest.raises(EventDataError, match="lie on the layers of the detector generic"):
        run(FollowSeeds(**SETTINGS), hits=elsewhere)
    alone = {"field_z": 2.0, "resolution": VOLUMES[1], "thickness": 0.005}
    with pytest.raises(EventDataError, match="no volume_id and no geometry_id"):
        run(FollowSeeds(**alone), hits=bare)


def test_a_detector_must_be_given(event, run):
    with pytest.raises(
        ConfigurationError, match=r"does not know the detector.*detector='generic'.*Or give field_z"
    ):
        run(FollowSeeds(), hits=event.hits)
    with pytest.raises(ConfigurationError, match=r"redvid has no field.*give field_z"):
        run(FollowSeeds(detector="redvid"), hits=event.hits)


def test_the_detector_is_part_of_what_decides_the_result():
    described = FollowSeeds(detector="trackml").describe()
    assert described == {"detector": "generic", "detector_sha256": load_detector("generic").checksum}


def test_fit_kalman_gives_tracks_their_parameters(event, run):
    candidates = Tracks.from_candidates(ProtoTracks.from_labels(event.owner))
    store = run(FitKalman(**SETTINGS), hits=event.hits, candidate_tracks=candidates)
    tracks = store.get("fitted_tracks", Tracks)
    truth = perigees(10, seed=2, eta=0.9)[event.owner[tracks.hit_indices[tracks.offsets[:-1]]]]
    errors = np.sqrt(np.einsum("tii->ti", tracks.covariance))
    found = np.stack([getattr(tracks, name) for name in ("d0", "z0", "phi", "theta", "qop")], axis=1)
    assert np.abs((found - truth) / errors).max() < 5
    assert len(tracks.hit_chi2) == len(tracks.hit_indices)
