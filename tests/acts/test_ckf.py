"""The CKF of ACTS as a reference: what it finds, what it is configured with, what its time covers."""

import json
import logging

import numpy as np
import pytest
from acts_events import gun_event, shuffled

pytest.importorskip("acts")

import acts
import acts.examples
import acts.examples.reconstruction as recipes

from mltrack_plugin.acts.ckf import PRESETS, RECONSTRUCTION_STEPS, CkfChain, CkfSettings, preset
from mltrack_plugin.acts.injection import add_events
from mltrack_plugin.acts.measurements import measurements_of
from mltrack_plugin.algorithms.acts_ckf import ActsCkf, step_times
from mltrack_plugin.detectors.acts_geometry import SEEDING_LAYERS, constant_field, tracking_geometry
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data import Hits, Tracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.framework.timing import StepTimes
from mltrack_plugin.simulation.acts_chain import new_sequencer

u = acts.UnitConstants


def efficiency(name, particles, events, noise=0.15):
    """Share of particles (9 hits, 0.5 GeV) that own most hits of a track, and share of tracks that are nobody's."""
    chain, found, asked, fakes, tracks = CkfChain(preset(name), 2.0), 0, 0, 0, 0
    for index in range(events):
        event = gun_event(particles, noise, index, vertices=(5, 5))
        result = chain.find(measurements_of(event.hits)).found.tracks
        truth = event.truth_links.particle_id.astype(np.int64)
        shares = np.zeros((len(result), truth.max() + 1))
        np.add.at(shares, (result.track_of_entry(), truth[result.hit_indices]), 1)
        best = shares[:, 1:].argmax(axis=1) + 1
        good = shares[np.arange(len(result)), best] > 0.5 * result.n_hits
        particle = event.particles
        wanted = particle.particle_id[(particle.pt > 0.5) & (abs(particle.eta) < 3) & (particle.nhits >= 9)]
        found += np.isin(wanted.astype(np.int64), best[good]).sum()
        asked, fakes, tracks = asked + len(wanted), fakes + (~good).sum(), tracks + len(result)
    return found / asked, fakes / tracks


@pytest.mark.parametrize("name", ["tuned", "standard"])
def test_nearly_every_particle_is_found_and_nothing_else(name):
    """Measured with ACTS alone: 0.997 (tuned) and 0.993 (standard) at 50 particles, no fakes."""
    found, fakes = efficiency(name, particles=50, events=6)
    assert found > 0.985
    assert fakes < 0.01


class Collect(acts.examples.IAlgorithm):
    """Copies the parameters of the tracks."""

    def __init__(self):
        acts.examples.IAlgorithm.__init__(self, "Collect", acts.logging.ERROR)
        self.input = acts.examples.ReadDataHandle(self, acts.examples.ConstTrackContainer, "Input")
        self.input.initialize("ambi_tracks")

    def execute(self, context):
        tracks = self.input(context.eventStore)
        self.parameters, self.chi2 = np.array(tracks.parameters), np.array(tracks.chi2)
        return acts.examples.ProcessCode.SUCCESS


def performance_writer():
    """ACTS's own performance of the tracks."""
    config = acts.examples.PythonPatternRecognitionPerformanceWriter.Config()
    config.inputTracks, config.inputParticles = "ambi_tracks", "particles"
    config.inputTrackParticleMatching = "ambi_track_particle_matching"
    config.inputParticleTrackMatching = "ambi_particle_track_matching"
    config.inputParticleMeasurementsMap = "particle_measurements_map"
    return acts.examples.PythonPatternRecognitionPerformanceWriter(config, acts.logging.WARNING)


def test_standard_settings_are_those_of_the_script_of_acts(tmp_path):
    """The same event through the helpers of ACTS with the arguments of ckf_tracks.py, in a Sequencer of ACTS."""
    event = gun_event(100)
    measurements = measurements_of(event.hits)
    selection = tmp_path / "layers.json"
    layers = [{"volume": v, "layer": layer} for v, found in SEEDING_LAYERS.items() for layer in found]
    selection.write_text(json.dumps(layers))
    geometry, field = tracking_geometry(), constant_field(2.0)
    sequencer, collect = new_sequencer(1), Collect()
    add_events(sequencer, [(event.hits, event.truth_links, event.particles)])
    quiet = {"logLevel": acts.logging.FATAL}
    recipes.addSeeding(
        sequencer,
        geometry,
        field,
        recipes.SeedFinderConfigArg(
            r=(None, 200 * u.mm),
            deltaR=(1 * u.mm, 300 * u.mm),
            collisionRegion=(-250 * u.mm, 250 * u.mm),
            z=(-2000 * u.mm, 2000 * u.mm),
            maxSeedsPerSpM=1,
            sigmaScattering=5,
            radLengthPerSeed=0.1,
            minPt=500 * u.MeV,
            impactMax=3 * u.mm,
        ),
        recipes.SeedFinderOptionsArg(bFieldInZ=2 * u.T, beamPos=(0.0, 0.0)),
        seedingAlgorithm=recipes.SeedingAlgorithm.GridTriplet,
        initialSigmas=[1 * u.mm, 1 * u.mm, 1 * u.degree, 1 * u.degree, 0 * u.e / u.GeV, 1 * u.ns],
        initialSigmaQoverPt=0.1 * u.e / u.GeV,
        initialSigmaPtRel=0.1,
        initialVarInflation=[1.0] * 6,
        geoSelectionConfigFile=str(selection),
        selectedParticles="particles",
        outputDirRoot=None,
        **quiet,
    )
    recipes.addCKFTracks(
        sequencer,
        geometry,
        field,
        recipes.TrackSelectorConfig(
            pt=(500 * u.MeV, None),
            absEta=(None, 3.0),
            loc0=(-4.0 * u.mm, 4.0 * u.mm),
            nMeasurementsMin=7,
            maxHoles=2,
            maxOutliers=2,
        ),
        recipes.CkfConfig(
            chi2CutOffMeasurement=15.0,
            chi2CutOffOutlier=25.0,
            numMeasurementsCutOff=10,
            seedDeduplication=True,
            stayOnSeed=True,
        ),
        outputDirRoot=None,
        **quiet,
    )
    recipes.addAmbiguityResolution(sequencer, outputDirRoot=None, **quiet)
    writer = performance_writer()
    sequencer.addWriter(writer)
    sequencer.addAlgorithm(collect)
    sequencer.run()

    found = CkfChain(PRESETS["standard"], 2.0).find(measurements).found
    assert len(found.tracks) == len(collect.parameters) > 90
    ours = np.stack([getattr(found.tracks, n) for n in ("d0", "z0", "phi", "theta", "qop")], axis=1)
    assert np.array_equal(ours, collect.parameters[found.source, :5])
    assert np.array_equal(found.tracks.chi2, collect.chi2[found.source].astype(float))
    # The truth went along, so ACTS can judge its tracks itself.
    stats = writer.stats()
    assert stats["nTotalTracks"] == stats["nTotalMatchedTracks"] == len(found.tracks)
    assert stats["nTotalParticles"] == len(event.particles)


def test_tuned_differs_from_standard_where_it_says():
    standard, tuned = (PRESETS[name].model_dump() for name in ("standard", "tuned"))
    changed = {name: tuned[name] for name in tuned if tuned[name] != standard[name]}
    assert changed == {
        "min_pt": pytest.approx(0.9 * standard["min_pt"]),
        "impact_max": 0.5,
        "sigma_scattering": 3.0,
        "max_seeds_per_middle": 2,
        "collision_region": 200.0,
    }


def test_the_same_event_gives_the_same_bits():
    measurements = measurements_of(gun_event(50).hits)
    first, second = (CkfChain(PRESETS["tuned"], 2.0).find(measurements) for _ in range(2))
    assert first.found.tracks.equals(second.found.tracks)


def test_tracks_do_not_depend_on_the_order_of_hits():
    """The order of hits on one module is the only one that is left to chance, and noise is rare on any."""
    event, (other, rows) = gun_event(30), shuffled(gun_event(30))
    chain = CkfChain(PRESETS["tuned"], 2.0)
    plain, mixed = (chain.find(measurements_of(e.hits)).found.tracks for e in (event, other))
    tracks = [{frozenset(t.hits_of(i).tolist()) for i in range(len(t))} for t in (plain, mixed)]
    assert tracks[0] == {frozenset(rows[list(hits)].tolist()) for hits in tracks[1]}


def store_of(hits):
    store = EventStore(3, "test")
    store.add("hits", hits)
    return store


@pytest.fixture
def algorithm():
    made = ActsCkf()
    made.initialize()
    return made


def test_times_are_those_of_the_steps_and_conversion_is_not_counted(algorithm):
    store = store_of(gun_event(50).hits)
    algorithm.execute(store)
    times = store.get("ckf_times", StepTimes)
    counted = times.names[times.counted].tolist()
    assert counted == list(RECONSTRUCTION_STEPS)
    assert sorted(times.names[~times.counted]) == ["conversion", "space points"]
    assert (times.cpu_s[times.counted] > 0).all()
    ckf = times.cpu_s[times.names == "ckf"][0]
    # The filter takes most of it.
    assert ckf > 0.5 * times.cpu_s[times.counted].sum()


def test_what_no_step_took_is_conversion():
    times = step_times({"space points": 0.1, "ckf": 0.5}, 1.0)
    assert times.names.tolist() == ["space points", "ckf", "conversion"]
    assert times.cpu_s == pytest.approx([0.1, 0.5, 0.4])
    assert times.counted.tolist() == [False, True, False]


def test_an_event_without_hits_gives_no_tracks(algorithm):
    nothing = np.zeros(0)
    ids = nothing.astype(np.uint64)
    store = store_of(Hits(ids, nothing, nothing, nothing, geometry_id=ids))
    algorithm.execute(store)
    assert len(store.get("tracks", Tracks)) == 0


def test_events_without_seeds_are_stated(algorithm, caplog):
    hits = gun_event(20).hits
    # Without the pixels there is nothing to seed from.
    store = store_of(hits.take(np.flatnonzero(hits.volume_id > 9)))
    algorithm.execute(store)
    assert len(store.get("tracks", Tracks)) == 0
    with caplog.at_level(logging.WARNING):
        algorithm.finalize()
    assert "no tracks in 1 events, 1 of them have no seeds" in caplog.text


def test_single_settings_can_differ():
    made = ActsCkf(settings="standard", changes={"min_pt": 5.0})
    made.initialize()
    store = store_of(gun_event(50).hits)
    made.execute(store)
    tracks = store.get("tracks", Tracks)
    assert 0 < len(tracks) < 25
    assert (tracks.pt > 5.0).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"changes": {"min_p": 1}}, "no setting 'min_p'. Did you mean 'min_pt'"),
        ({"changes": {"delta_r": (5.0, 1.0)}}, "two rising numbers"),
        ({"detector": "redvid"}, "'redvid'.*GenericDetector"),
    ],
)
def test_wrong_settings_are_named_before_the_first_event(settings, message):
    with pytest.raises(ConfigurationError, match=message):
        ActsCkf(**settings).initialize()


def test_a_field_of_zero_is_refused():
    with pytest.raises(ConfigurationError, match="field_z must not be 0"):
        ActsCkf(field_z=0)
    with pytest.raises(ConfigurationError, match="other than 0"):
        CkfChain(CkfSettings(), 0.0)


def test_unknown_settings_name_the_known_ones():
    with pytest.raises(ConfigurationError, match="Did you mean 'tuned'"):
        preset("tund")
