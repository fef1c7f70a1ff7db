"""hdbscan -> build-tracks -> fit-kalman -> track-quality: known tracks in, exact tracks out."""

import numpy as np
import pytest

from mltrack_plugin.algorithms.build_tracks import BuildTracks
from mltrack_plugin.algorithms.fit_kalman import FitKalman
from mltrack_plugin.algorithms.hdbscan import HDBSCAN
from mltrack_plugin.algorithms.track_quality import TrackQuality
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import HitParameters, Hits, ProtoTracks, Tracks
from mltrack_plugin.framework.event_store import EventStore


def regressed(event, rows=None):
    """What a very good network would give: each hit its track's parameters, with a little noise."""
    owner = event.owner if rows is None else event.owner[rows]
    truth = event.parameters[owner][:, 2:]
    values = truth + np.random.default_rng(5).normal(0, 1e-4, truth.shape)
    return HitParameters(values, np.array(["phi", "theta", "qop"]), np.array([1.0, 1.0, 0.5]), rows)


#: Settings that stand for a detector.
ALONE = {"field_z": 2.0, "resolution": {"rphi": 0.05, "r": 0.05, "z": 0.05}, "thickness": 0.0}


def true_tracks(event):
    return ProtoTracks.from_labels(event.owner)


def same_hits(a, b):
    return a.offsets.tolist() == b.offsets.tolist() and a.hit_indices.tolist() == b.hit_indices.tolist()


def chain(event, parameters, field=True):
    store = EventStore()
    store.add("hits", event.hits)
    store.add("hit_parameters", parameters)
    steps = [HDBSCAN(), BuildTracks()]
    steps += [FitKalman(**ALONE), TrackQuality()] if field else [TrackQuality(candidates="candidate_tracks")]
    for step in steps:
        step.execute(store)
    return store


def test_known_tracks_come_out_exactly(event):
    store = chain(event, regressed(event))
    tracks = store.get("tracks", Tracks)
    assert same_hits(tracks, true_tracks(event))
    truth = event.parameters[event.owner[tracks.hit_indices[tracks.offsets[:-1]]]]
    for column, name in enumerate(("d0", "z0", "phi", "theta", "qop")):
        # Hits are stored in single precision.
        assert getattr(tracks, name) == pytest.approx(truth[:, column], abs=1e-3), name
    assert (tracks.ndf == 13).all()
    assert (tracks.quality > 0.5).all()
    assert ((tracks.membership > 0) & (tracks.membership <= 1)).all()


def test_without_a_field_tracks_have_quality_but_no_parameters(event):
    tracks = chain(event, regressed(event), field=False).get("tracks", Tracks)
    assert same_hits(tracks, true_tracks(event))
    assert not tracks.fitted.any()
    assert np.isnan(tracks.chi2).all()
    assert (tracks.quality > 0.5).all()


def test_unselected_hits_are_on_no_track_and_indices_stay_those_of_the_input(event):
    rows = np.flatnonzero(event.owner != 4)[1:]
    tracks = chain(event, regressed(event, rows)).get("tracks", Tracks)
    expected = np.full(len(event.owner), -1)
    expected[rows] = event.owner[rows]
    assert same_hits(tracks, ProtoTracks.from_labels(expected))


def test_same_event_gives_the_same_bytes(event):
    first, second = (chain(event, regressed(event)).get("tracks", Tracks) for _ in range(2))
    assert first.equals(second)


@pytest.mark.parametrize("n", [0, 1, 3])
def test_events_with_almost_nothing(n):
    store = EventStore()
    store.add("hits", Hits(np.arange(n), np.arange(n) + 1.0, np.zeros(n), np.zeros(n)))
    store.add("hit_parameters", HitParameters(np.zeros((n, 2)), np.array(["a", "b"]), np.ones(2)))
    for step in (HDBSCAN(), BuildTracks(), FitKalman(**ALONE), TrackQuality(min_quality=0.5)):
        step.execute(store)
    assert len(store.get("tracks", Tracks)) == 0


def test_scales_define_what_is_close(event, run):
    """Tracks apart along the first parameter merge when its scale says that this does not matter."""
    values = np.repeat([[0.0, 0.0], [1.0, 0.0], [0.0, 30.0], [1.0, 30.0]], 8, axis=0)
    values = values + np.random.default_rng(1).normal(0, 0.01, values.shape)
    for scale, expected in ((1.0, 4), (1e6, 2)):
        parameters = HitParameters(values, np.array(["a", "b"]), np.array([scale, 1.0]))
        store = run(HDBSCAN(min_cluster_size=6, min_samples=4), hit_parameters=parameters)
        assert len(store.get("proto_tracks", ProtoTracks)) == expected


def test_build_tracks_applies_its_requirements(run):
    candidates = ProtoTracks(
        offsets=[0, 3, 5, 10],
        hit_indices=[0, 2, 9, 1, 3, 4, 5, 6, 7, 8],
        membership=[0.1, 0.9, 0.9, 1, 1, 1, 1, 1, 1, 1],
    )

    def built(**settings):
        tracks = run(BuildTracks(**settings), proto_tracks=candidates).get("candidate_tracks", Tracks)
        return [tracks.hits_of(i).tolist() for i in range(len(tracks))]

    assert built() == [[0, 2, 9], [4, 5, 6, 7, 8]]
    assert built(min_hits=1, max_hits=3) == [[0, 2, 9], [1, 3]]
    # Without its first hit the first candidate starts at row 2, behind the second: canonical order again.
    assert built(min_membership=0.5, min_hits=2) == [[1, 3], [2, 9], [4, 5, 6, 7, 8]]
    assert built(min_hits=6) == []


def test_build_tracks_keeps_memberships_with_their_hits(run):
    candidates = ProtoTracks([0, 3, 5], [0, 2, 9, 1, 3], [0.1, 0.2, 0.9, 0.6, 0.7])
    tracks = run(BuildTracks(min_membership=0.15, min_hits=2), proto_tracks=candidates).get(
        "candidate_tracks", Tracks
    )
    assert tracks.hit_indices.tolist() == [1, 3, 2, 9]
    assert tracks.membership == pytest.approx([0.6, 0.7, 0.2, 0.9])


def test_fit_kalman_uses_the_resolution_of_the_volume(event, run):
    tracks = Tracks(*true_tracks(event).arrays().values())
    coarse = {"rphi": 1.0, "r": 1.0, "z": 1.0}
    one = run(FitKalman(**(ALONE | {"resolution": coarse})), hits=event.hits, candidate_tracks=tracks)
    both = run(FitKalman(**ALONE, volumes={8: coarse, 13: coarse}), hits=event.hits, candidate_tracks=tracks)
    inner = run(FitKalman(**ALONE, volumes={8: coarse}), hits=event.hits, candidate_tracks=tracks)
    fits = [store.get("fitted_tracks", Tracks) for store in (one, both, inner)]
    assert fits[0].equals(fits[1])
    assert (fits[2].covariance[:, 4, 4] < fits[0].covariance[:, 4, 4]).all()


def test_fit_kalman_says_when_it_cannot_tell_volumes_apart(event, run, caplog):
    bare = Hits(event.hits.hit_id, event.hits.x, event.hits.y, event.hits.z)
    tracks = Tracks(*true_tracks(event).arrays().values())
    settings = {"volumes": {8: {"rphi": 1.0, "z": 1.0}}}
    with_default = run(FitKalman(**ALONE), hits=bare, candidate_tracks=tracks).get("fitted_tracks", Tracks)
    assert "volume_id" not in caplog.text
    result = run(FitKalman(**ALONE, **settings), hits=bare, candidate_tracks=tracks).get(
        "fitted_tracks", Tracks
    )
    assert result.equals(with_default)
    assert "the hits of 1 events have no volume_id" in caplog.text


def test_fit_kalman_knows_scattering(event, run):
    tracks = Tracks(*true_tracks(event).arrays().values())
    errors = [
        run(FitKalman(**(ALONE | {"thickness": t})), hits=event.hits, candidate_tracks=tracks)
        .get("fitted_tracks", Tracks)
        .covariance[:, 4, 4]
        for t in (0.0, 0.02)
    ]
    assert (errors[1] > 1.5 * errors[0]).all()


def test_quality_singles_out_the_wrong_hit_and_the_bad_track(event, run):
    candidates = true_tracks(event)
    x = event.hits.x.copy()
    wrong = candidates.hits_of(5)[4]
    x[wrong] += 0.6
    hits = Hits(event.hits.hit_id, x, event.hits.y, event.hits.z)
    tracks = Tracks(*candidates.arrays().values(), membership=np.ones(len(candidates.hit_indices)))
    fitted = run(FitKalman(**ALONE), hits=hits, candidate_tracks=tracks).get("fitted_tracks", Tracks)
    result = run(TrackQuality(), fitted_tracks=fitted).get("tracks", Tracks)
    assert result.hit_indices[np.argmin(result.membership)] == wrong
    assert result.membership.min() < 1e-3
    assert np.flatnonzero(result.quality < 0.5).tolist() == [5]

    good = run(TrackQuality(min_quality=0.5), fitted_tracks=fitted).get("tracks", Tracks)
    assert len(good) == len(candidates) - 1
    assert wrong not in good.hit_indices
    assert good.d0.tolist() == np.delete(result.d0, 5).tolist()
    assert good.covariance.shape == (len(good), 5, 5)


@pytest.mark.parametrize(
    ("algorithm", "settings", "named"),
    [
        (HDBSCAN, {"min_cluster_size": 1}, "min_cluster_size"),
        (HDBSCAN, {"min_cluster_sise": 5}, "min_cluster_size"),
        (BuildTracks, {"min_membership": 2}, "min_membership"),
        (FitKalman, {"field_z": 0}, "leave this algorithm out"),
        (FitKalman, {"resolution": {"rphi": 0.1}}, "r or z"),
        (TrackQuality, {"min_quality": -1}, "min_quality"),
    ],
)
def test_wrong_settings_are_named(algorithm, settings, named):
    with pytest.raises(ConfigurationError, match=named):
        algorithm(**settings)
