"""The Kalman fit of ACTS on our track candidates, against the truth and against the helix fit."""

import logging

import numpy as np
import pytest
from acts_events import TrueGroups, generated, gun_event, true_candidates

pytest.importorskip("acts")

from mltrack_plugin.acts.kalman import KalmanFitter
from mltrack_plugin.acts.measurements import measurements_of
from mltrack_plugin.algorithms.acts_kalman_fit import ActsKalmanFit
from mltrack_plugin.algorithms.fit_kalman import FitKalman
from mltrack_plugin.errors import ConfigurationError, InputError
from mltrack_plugin.event_data import Hits, ProtoTracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.sequencer import Sequencer
from mltrack_plugin.io import open_events
from mltrack_plugin.jobs.config import load_job

PARAMETERS = ("d0", "z0", "phi", "theta", "qop")


@pytest.fixture(scope="module")
def fits():
    """Tracks of some events (true groups): fitted by ACTS, by fit-kalman, and as generated."""
    fitter, found = KalmanFitter(2.0), []
    fit_settings = next(
        s.settings for s in load_job("encreg-trackml-10-50").sequence if s.name == "fit-kalman"
    )
    for index in range(3):
        event = gun_event(120, index=index)
        candidates = true_candidates(event.truth_links)
        kalman = fitter.fit(measurements_of(event.hits), candidates)
        particle = event.truth_links.particle_id[candidates.hit_indices[candidates.offsets[:-1]]]
        truth = generated(event, np.searchsorted(event.particles.particle_id, particle))
        store = EventStore()
        store.add("hits", event.hits)
        store.add("candidate_tracks", type(kalman).from_candidates(candidates))
        algorithm = FitKalman({"detector": "generic", **fit_settings})
        algorithm.initialize()
        algorithm.execute(store)
        found.append((kalman, store.get("fitted_tracks", type(kalman)), truth))
    return found


def width(values):
    """Half the 68% interval."""
    return float(np.diff(np.quantile(values, [0.16, 0.84]))[0] / 2)


def test_every_true_group_is_fitted(fits):
    assert all(kalman.fitted.all() and (kalman.ndf > 0).all() for kalman, _, _ in fits)


def test_chi2_per_degree_of_freedom_is_about_one(fits):
    ratio = np.concatenate([kalman.chi2 / kalman.ndf for kalman, _, _ in fits])
    assert 0.6 < np.median(ratio) < 1.1


@pytest.mark.parametrize("name", ["theta", "qop", "z0"])
def test_pulls_have_unit_width(fits, name):
    i = PARAMETERS.index(name)
    pulls = np.concatenate(
        [(getattr(k, name) - truth[name]) / np.sqrt(k.covariance[:, i, i]) for k, _, truth in fits]
    )
    # 360 tracks: 5% statistical uncertainty. A start that is too narrow gives 5 for theta and z0.
    assert 0.8 < width(pulls) < 1.25
    assert abs(np.median(pulls)) < 0.3


@pytest.mark.parametrize("i", range(5), ids=PARAMETERS)
def test_both_fits_agree_within_their_errors(fits, i):
    """Same hits, so the difference is smaller than either error; material differs, so it is not zero."""
    name = PARAMETERS[i]
    difference = np.concatenate([getattr(k, name) - getattr(h, name) for k, h, _ in fits])
    if name == "phi":
        difference = (difference + np.pi) % (2 * np.pi) - np.pi
    kalman, helix = (
        np.sqrt(np.concatenate([pair[which].covariance[:, i, i] for pair in fits])) for which in (0, 1)
    )
    assert width(difference / kalman) < 1.0
    assert 0.5 < np.median(kalman / helix) < 1.5


def store_of(event, candidates):
    store = EventStore(7, "test")
    store.add("hits", event.hits)
    store.add("candidate_tracks", candidates)
    return store


def test_candidates_that_cannot_be_fitted_stay_with_nan_and_are_counted(caplog):
    event = gun_event(20)
    good = true_candidates(event.truth_links)
    noise = np.flatnonzero(event.truth_links.particle_id == 0)
    # Two hits determine no helix.
    lists = [good.hits_of(i).tolist() for i in range(len(good))] + [noise[:2].tolist()]
    algorithm, store = ActsKalmanFit(), store_of(event, ProtoTracks.from_lists(lists))
    algorithm.initialize()
    algorithm.execute(store)
    tracks = store.get("fitted_tracks", ProtoTracks)
    bad = [i for i in range(len(tracks)) if len(tracks.hits_of(i)) == 2]
    assert len(tracks) == len(good) + 1
    assert np.flatnonzero(~tracks.fitted).tolist() == bad
    assert np.isnan(tracks.covariance[bad]).all()
    assert np.isnan(tracks.chi2[bad]).all()
    assert tracks.ndf[bad].tolist() == [0]
    with caplog.at_level(logging.WARNING):
        algorithm.finalize()
    assert f"1 of {len(tracks)} tracks could not be fitted" in caplog.text


def test_an_event_without_candidates_gives_no_tracks():
    event, nothing = gun_event(20), np.zeros(0, dtype=np.int64)
    tracks = KalmanFitter(2.0).fit(
        measurements_of(event.hits), ProtoTracks(np.zeros(1, dtype=np.int64), nothing)
    )
    assert len(tracks) == 0


def test_memberships_stay():
    event = gun_event(20)
    labels = event.truth_links.particle_id.astype(np.int64) - 1
    candidates = ProtoTracks.from_labels(labels, membership=np.linspace(0, 1, len(labels)), min_hits=5)
    tracks = KalmanFitter(2.0).fit(measurements_of(event.hits), candidates)
    assert np.array_equal(tracks.membership, candidates.membership)


def test_the_same_input_gives_the_same_bits():
    event = gun_event(50)
    measurements, candidates = measurements_of(event.hits), true_candidates(event.truth_links)
    assert (
        KalmanFitter(2.0)
        .fit(measurements, candidates)
        .equals(KalmanFitter(2.0).fit(measurements, candidates))
    )


def test_a_field_of_zero_is_refused():
    with pytest.raises(ConfigurationError, match="field_z must not be 0"):
        ActsKalmanFit(field_z=0.0)
    with pytest.raises(ConfigurationError, match="other than 0"):
        KalmanFitter(0.0)


def test_another_detector_is_refused():
    with pytest.raises(ConfigurationError, match=r"'redvid'.*GenericDetector"):
        ActsKalmanFit(detector="redvid").initialize()


def test_hits_without_modules_are_refused():
    event = gun_event(20)
    bare = Hits(event.hits.hit_id, event.hits.x, event.hits.y, event.hits.z)
    store = EventStore()
    store.add("hits", bare)
    store.add("candidate_tracks", true_candidates(event.truth_links))
    algorithm = ActsKalmanFit()
    algorithm.initialize()
    with pytest.raises(InputError, match="neither geometry_id nor"):
        algorithm.execute(store)


def test_it_runs_on_events_of_a_file_in_our_sequencer(tmp_path):
    from mltrack_plugin.cli.main import main
    from mltrack_plugin.io.root_tracks import RootTracksWriter, read_tracks

    path, output = tmp_path / "events.root", tmp_path / "tracks.root"
    options = ["--events", "2", "--tracks", "20-20", "--noise", "0.15", "--seed", "8", "--split", "test"]
    assert main(["simulate", "acts-gun", *options, "--output", str(path)]) == 0
    summary = (
        Sequencer()
        .add_reader(open_events(str(path)))
        .add_algorithm(TrueGroups())
        .add_algorithm(ActsKalmanFit(tracks="tracks"))
        .add_writer(RootTracksWriter(path=str(output)))
        .run()
    )
    assert summary.events == 2
    for _, tracks in read_tracks(str(output)):
        assert len(tracks) > 15
        assert tracks.fitted.all()
