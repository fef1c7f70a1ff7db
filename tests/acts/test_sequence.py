"""addTransformerTracks and addTransformerSeeds inside whole ACTS sequences."""

import numpy as np
import pytest

acts = pytest.importorskip("acts")

import acts.examples as examples  # noqa: E402
from acts.examples.reconstruction import (  # noqa: E402
    AmbiguityResolutionConfig,
    CkfConfig,
    VertexFinder,
    addAmbiguityResolution,
    addCKFTracks,
    addVertexFitting,
)
from acts_events import gun_event  # noqa: E402
from acts_sequences import Grouping, Spy, Truth, field, geometry, performance, sequencer, simulated  # noqa: E402

from mltrack_plugin.acts import addTransformerSeeds, addTransformerTracks  # noqa: E402
from mltrack_plugin.acts.injection import add_events  # noqa: E402
from mltrack_plugin.errors import ConfigurationError, ModelError  # noqa: E402

TRACKS = examples.ConstTrackContainer


def with_truth(**settings):
    s, truth = simulated(space_points=False, **settings), Truth()
    s.addAlgorithm(truth.spy)
    return s, truth


def perturbed(truth, drop, swap, seed=1):
    """True groupings of which hits are lost, and hits of which are given to another track."""
    rng = np.random.default_rng(seed)

    def labels(store, hits):
        found = truth.labels(store, hits)
        change = rng.random(len(found))
        other = rng.permutation(found)
        return np.where(change < drop, -1, np.where(change < drop + swap, other, found))

    return labels


def test_true_groupings_are_fitted_and_matched_completely():
    s, truth = with_truth(events=3, particles=20)
    addTransformerTracks(s, geometry(), field(), [Grouping(truth.labels)])
    momenta = Spy(
        lambda tracks: (np.array(tracks.parameters), np.array(tracks.nMeasurements)),
        transformer_tracks=TRACKS,
    )
    s.addAlgorithm(momenta)
    writer = performance(s, "transformer_tracks", "transformer_")
    s.run()
    stats = writer.stats()
    assert stats["nTotalTracks"] == 60
    assert stats["efficiencyParticles"] == 1.0
    assert stats["nTotalFakeTracks"] == stats["nTotalDuplicateTracks"] == 0
    assert stats["meanPurity"] == 1.0
    parameters, measurements = momenta.seen[0]
    pt = np.sin(parameters[:, 3]) / np.abs(parameters[:, 4])
    assert (pt > 0.4).all()
    assert (pt < 15).all()
    # The particles come from the origin.
    assert np.median(np.abs(parameters[:, 0])) < 0.05
    assert measurements.min() >= 7


def test_ambiguity_resolution_vertexing_and_performance_follow():
    s, truth = with_truth(events=2, particles=15)
    addTransformerTracks(s, geometry(), field(), [Grouping(truth.labels)])
    addAmbiguityResolution(s, AmbiguityResolutionConfig(maximumSharedHits=3, nMeasurementsMin=6))
    addVertexFitting(s, field(), vertexFinder=VertexFinder.Iterative, outputVertices="found_vertices")
    before = Spy(len, transformer_tracks=TRACKS)
    after = Spy(len, ambi_tracks=TRACKS)
    alias = Spy(len, tracks=TRACKS)
    for spy in (before, after, alias):
        s.addAlgorithm(spy)
    writer = performance(s, "tracks", "")
    s.run()
    assert before.seen == after.seen == alias.seen == {0: 15, 1: 15}
    assert writer.stats()["efficiencyParticles"] == 1.0


def test_the_shipped_model_finds_most_tracks():
    s = simulated(events=4, particles=12, space_points=False)
    finder = addTransformerTracks(s, geometry(), field())
    writer = performance(s, "transformer_tracks", "transformer_")
    s.run()
    stats = writer.stats()
    assert stats["efficiencyParticles"] > 0.85
    assert stats["fakeRatioTracks"] < 0.15
    assert finder.skipped == []


def test_name_of_the_tracks_prefix_and_alias_are_the_users_choice():
    s, truth = with_truth()
    addTransformerTracks(s, geometry(), field(), [Grouping(truth.labels)], outputTracks="mine", prefix="tf_")
    spies = [
        Spy(len, mine=TRACKS),
        Spy(len, tf_tracks=TRACKS),
        Spy(len, tf_transformer_proto_tracks=examples.ProtoTrackContainer),
        Spy(len, tf_transformer_spacepoints=acts.SpacePointContainer),
    ]
    for spy in spies:
        s.addAlgorithm(spy)
    s.run()
    assert [spy.seen[0] for spy in spies[:3]] == [8, 8, 8]
    assert spies[3].seen[0] > 64


def test_output_may_have_the_name_of_the_alias():
    s, truth = with_truth()
    addTransformerTracks(s, geometry(), field(), [Grouping(truth.labels)], outputTracks="tracks")
    spy = Spy(len, tracks=TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert spy.seen == {0: 8}


def test_candidates_as_seeds_let_the_ckf_repair_them():
    s, truth = with_truth(events=4, particles=30)
    chain = [Grouping(perturbed(truth, drop=0.1, swap=0.05))]
    addTransformerTracks(s, geometry(), field(), chain)
    addTransformerSeeds(
        s,
        geometry(),
        field(),
        inputProtoTracks="transformer_proto_tracks",
        inputSpacePoints="transformer_spacepoints",
        prefix="seeded_",
    )
    addCKFTracks(s, geometry(), field(), ckfConfig=CkfConfig(numMeasurementsCutOff=10), prefix="seeded_")
    addAmbiguityResolution(
        s, AmbiguityResolutionConfig(maximumSharedHits=1, nMeasurementsMin=6), prefix="seeded_"
    )
    fitted = performance(s, "transformer_tracks", "transformer_")
    repaired = performance(s, "seeded_ambi_tracks", "seeded_ambi_")
    s.run()
    before, after = fitted.stats(), repaired.stats()
    assert before["fakeRatioTracks"] > 0.02
    assert after["fakeRatioTracks"] == 0.0
    assert after["meanCompleteness"] > before["meanCompleteness"] + 0.1
    assert after["meanPurity"] > 0.995
    assert after["efficiencyParticles"] > 0.85


def test_seeds_stand_where_addSeeding_would():
    s, truth = with_truth(particles=20)
    finder = addTransformerSeeds(s, geometry(), field(), [Grouping(truth.labels)])
    addCKFTracks(s, geometry(), field(), ckfConfig=CkfConfig(seedDeduplication=True, stayOnSeed=True))
    writer = performance(s, "ckf_tracks", "ckf_")
    seeds = Spy(len, estimatedseeds=acts.SeedContainer)
    s.addAlgorithm(seeds)
    s.run()
    assert seeds.seen == {0: 20}
    assert finder.times[0].calls == 1
    assert writer.stats()["efficiencyParticles"] >= 0.95


@pytest.mark.parametrize("selection", ["spread", "innermost"])
def test_selections_of_space_points(selection):
    s, truth = with_truth(particles=20)
    addTransformerTracks(s, geometry(), field(), [Grouping(truth.labels)], spacePointSelection=selection)
    writer = performance(s, "transformer_tracks", "transformer_")
    s.run()
    assert writer.stats()["efficiencyParticles"] >= 0.95


@pytest.mark.parametrize("size", [0, 2, 300])
def test_candidates_that_cannot_be_fitted_leave_the_rest_of_the_sequence_alive(size):
    """No track at all, tracks of two hits, one candidate with hits of everything."""
    s = simulated(events=2, particles=40, space_points=False)

    def labels(store, hits):
        rows = np.arange(len(hits))
        return np.full(len(hits), -1) if size == 0 else rows // size

    addTransformerTracks(s, geometry(), field(), [Grouping(labels)], logLevel=acts.logging.FATAL)
    addAmbiguityResolution(s)
    addVertexFitting(s, field(), vertexFinder=VertexFinder.Iterative)
    spy = Spy(len, ambi_tracks=TRACKS)
    s.addAlgorithm(spy)
    writer = performance(s, "ambi_tracks", "ambi_")
    s.run()
    assert sorted(spy.seen) == [0, 1]
    if size < 3:
        assert spy.seen == {0: 0, 1: 0}
        assert writer.stats()["nTotalTracks"] == 0


def test_no_candidates_as_seeds_give_no_tracks():
    s = simulated(space_points=False)
    addTransformerSeeds(s, geometry(), field(), [Grouping(lambda store, hits: np.full(len(hits), -1))])
    addCKFTracks(s, geometry(), field(), ckfConfig=CkfConfig())
    spy = Spy(len, ckf_tracks=TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert spy.seen == {0: 0}


@pytest.mark.parametrize("helper", [addTransformerTracks, addTransformerSeeds])
@pytest.mark.parametrize(
    ("vector", "message"),
    [((0, 0, 0), "is 0 T: without curvature"), ((0, 0, 2), r"is 6.67e\+03 T; was the unit forgotten")],
)
def test_a_field_that_cannot_be_meant_is_refused(helper, vector, message):
    s = simulated(space_points=False)
    with pytest.raises(ConfigurationError, match=message):
        helper(s, geometry(), acts.ConstantBField(acts.Vector3(*vector)))
    with pytest.raises(ConfigurationError, match="is 0 T"):
        helper(s, geometry(), acts.NullBField())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inputMeasurementSubset": "missing"}, "SpacePointMaker cannot be added.*key 'missing'"),
        ({"inputSpacePoints": "missing"}, "TransformerTrackFinding cannot be added.*key 'missing'"),
        ({"inputMeasurements": "missing"}, "TransformerTrackFinding cannot be added.*key 'missing'"),
        ({"inputParticles": "missing"}, "TrackTruthMatcher cannot be added.*'missing'.*matchTruth=False"),
        ({"inputMeasurementParticlesMap": "missing"}, "TrackTruthMatcher cannot be added.*matchTruth=False"),
        ({"outputTracks": "transformer_seeds"}, "TrackFittingAlgorithm cannot be added.*outputs must be new"),
        ({"outputTracks": "measurements"}, "TrackFittingAlgorithm cannot be added.*outputs must be new"),
        ({"spacePointSelection": "spred"}, "no spacePointSelection 'spred'. Did you mean 'spread'"),
    ],
)
def test_keys_that_nothing_writes_or_that_are_taken_are_refused(settings, message):
    s = simulated(space_points=False)
    with pytest.raises(ConfigurationError, match=message):
        addTransformerTracks(s, geometry(), field(), [Grouping(lambda store, hits: [])], **settings)


def test_data_without_truth_is_fitted_without_matching():
    s, truth = with_truth()
    addTransformerTracks(
        s,
        geometry(),
        field(),
        [Grouping(truth.labels)],
        inputParticles="missing",
        inputMeasurementParticlesMap="missing",
        matchTruth=False,
    )
    spy = Spy(len, tracks=TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert spy.seen == {0: 8}


def test_unknown_model_names_the_nearest():
    s = simulated(space_points=False)
    with pytest.raises(ModelError, match="Did you mean 'encreg-trackml-10-50'"):
        addTransformerTracks(s, geometry(), field(), model="encreg-trackml-10-500")


def test_seeds_need_either_candidates_or_what_finds_them():
    s = simulated(space_points=False)
    with pytest.raises(ConfigurationError, match="either inputProtoTracks, or a chain"):
        addTransformerSeeds(s, geometry(), field(), model="encreg-trackml-10-50", inputProtoTracks="there")


def test_tracks_are_written_as_csv(tmp_path):
    s, truth = with_truth()
    addTransformerTracks(s, geometry(), field(), [Grouping(truth.labels)], outputDirCsv=tmp_path / "csv")
    s.run()
    (found,) = (tmp_path / "csv").glob("*tracks_transformer.csv")
    assert len(found.read_text().splitlines()) == 1 + 8


def test_events_of_a_file_with_noise_and_their_truth():
    events = [gun_event(25, noise=0.15, index=index) for index in range(2)]
    s = sequencer(events=2)
    add_events(s, [(event.hits, event.truth_links, event.particles) for event in events])

    def labels(store, hits):
        # Hits of the event in the order of the measurements: by module, then as they were.
        event = events[store.event_number]
        order = np.argsort(event.hits.geometry_id, kind="stable")
        assert (event.hits.geometry_id[order] == hits.geometry_id).all()
        np.testing.assert_allclose(event.hits.positions[order], hits.positions, atol=0.06)
        particle = event.truth_links.particle_id[order].astype(np.int64)
        return np.where(particle > 0, particle, -1)

    addTransformerTracks(s, geometry(), field(), [Grouping(labels)])
    fits = Spy(lambda tracks: int(np.sum(tracks.nMeasurements)), transformer_tracks=TRACKS)
    s.addAlgorithm(fits)
    s.run()
    for number, event in enumerate(events):
        noise = np.count_nonzero(event.truth_links.particle_id == 0)
        assert noise > 20
        assert 0.97 * (len(event.hits) - noise) < fits.seen[number] <= len(event.hits) - noise
