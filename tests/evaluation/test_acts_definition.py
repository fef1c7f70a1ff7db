"""Our counts of the ACTS definition equal those of ACTS's own performance writer, as integers."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("acts")

import acts
from acts import examples

from mltrack_plugin.detectors.acts_geometry import SEEDING_LAYERS, generic_detector
from mltrack_plugin.evaluation.definitions import ActsCounts, acts_counts, evaluate
from mltrack_plugin.evaluation.matching import Matching, match_hit_lists
from mltrack_plugin.simulation.acts_chain import digitisation_config, new_sequencer

#: Names of ACTS for the fields of `ActsCounts`.
ACTS_NAMES = {
    "tracks": "nTotalTracks",
    "matched_tracks": "nTotalMatchedTracks",
    "fake_tracks": "nTotalFakeTracks",
    "duplicate_tracks": "nTotalDuplicateTracks",
    "particles": "nTotalParticles",
    "matched_particles": "nTotalMatchedParticles",
    "duplicate_particles": "nTotalDuplicateParticles",
    "fake_particles": "nTotalFakeParticles",
}
#: Cut of the selected particles, GeV; the gun goes down to 0.5.
MIN_PT = 0.8


def add_simulation(sequencer, folder, n_particles, n_vertices, seed):
    """Pions from several vertices, Fatras, digitisation, particles above MIN_PT; returns the field."""
    from acts import UnitConstants as u
    from acts.examples.simulation import (
        EtaConfig,
        MomentumConfig,
        ParticleConfig,
        PhiConfig,
        addDigitization,
        addFatras,
        addParticleGun,
    )

    geometry = generic_detector()[1]
    field = acts.ConstantBField(acts.Vector3(0, 0, 2 * u.T))
    numbers = examples.RandomNumbers(seed=seed)
    addParticleGun(
        sequencer,
        MomentumConfig(0.5 * u.GeV, 10 * u.GeV, transverse=True, logUniform=True),
        EtaConfig(-3.0, 3.0, uniform=True),
        PhiConfig(0.0, 360.0 * u.degree),
        ParticleConfig(n_particles // n_vertices, acts.PdgParticle.ePionPlus, randomizeCharge=True),
        multiplicity=n_vertices,
        vtxGen=examples.GaussianVertexGenerator(
            mean=acts.Vector4(0, 0, 0, 0), stddev=acts.Vector4(0.0125, 0.0125, 55.5, 0)
        ),
        rnd=numbers,
    )
    addFatras(sequencer, geometry, field, rnd=numbers, outputDirRoot=None)
    digitisation = folder / "digitisation.json"
    digitisation.write_text(json.dumps(digitisation_config()))
    # Without merging: a hit has one particle here.
    addDigitization(sequencer, geometry, field, digiConfigFile=digitisation, rnd=numbers, doMerge=False)
    sequencer.addAlgorithm(
        examples.ParticleSelector(
            level=acts.logging.WARNING,
            inputParticles="particles_simulated",
            inputParticleMeasurementsMap="particle_measurements_map",
            inputMeasurements="measurements",
            outputParticles="particles_asked_for",
            ptMin=MIN_PT * u.GeV,
            measurementsMin=4,
        )
    )
    return field


def add_performance(sequencer, tracks, *, double_matching):
    """ACTS's truth matching of some tracks and its writer."""
    name = f"{tracks}_{double_matching}"
    matcher = examples.TrackTruthMatcher(
        level=acts.logging.WARNING,
        inputTracks=tracks,
        inputParticles="particles_simulated",
        inputMeasurementParticlesMap="measurement_particles_map",
        outputTrackParticleMatching=f"{name}_track_particle_matching",
        outputParticleTrackMatching=f"{name}_particle_track_matching",
        doubleMatching=double_matching,
    )
    sequencer.addAlgorithm(matcher)
    config = examples.PythonPatternRecognitionPerformanceWriter.Config()
    config.inputTracks = tracks
    config.inputParticles = "particles_asked_for"
    config.inputTrackParticleMatching = matcher.config.outputTrackParticleMatching
    config.inputParticleTrackMatching = matcher.config.outputParticleTrackMatching
    config.inputParticleMeasurementsMap = "particle_measurements_map"
    writer = examples.PythonPatternRecognitionPerformanceWriter(config, acts.logging.WARNING)
    sequencer.addWriter(writer)
    return writer


def barcode(value):
    return (
        value.vertexPrimary,
        value.vertexSecondary,
        value.particle,
        value.generation,
        value.subParticle,
    )


class Truth:
    """Reads the particle of every measurement, and which particles are asked for, from the whiteboard."""

    def __init__(self, algorithm):
        self.handles = {}
        for key, kind in (
            ("measurement_particles_map", examples.MeasurementParticlesMap),
            ("particles_asked_for", examples.SimParticleContainer),
        ):
            self.handles[key] = examples.ReadDataHandle(algorithm, kind, key)
            self.handles[key].initialize(key)

    def read(self, context):
        """(n_hits,) particle number of each measurement from 1 on, and the numbers that are asked for."""
        particles = self.handles["measurement_particles_map"](context.eventStore)
        numbers, of_hit = {}, []
        while values := particles.valuesFor(len(of_hit)):
            (value,) = values
            of_hit.append(numbers.setdefault(barcode(value), len(numbers) + 1))
        asked = self.handles["particles_asked_for"](context.eventStore)
        return np.array(of_hit), {numbers[barcode(particle.particleId)] for particle in asked}


class Groupings(examples.IAlgorithm):
    """Writes perturbed true groupings as ACTS tracks: split, merged, shortened, with noise, noise alone."""

    def __init__(self, output, seed):
        super().__init__("Groupings", acts.logging.WARNING)
        self.truth = Truth(self)
        self.rng = np.random.default_rng(seed)
        self.output = examples.WriteDataHandle(self, examples.ConstTrackContainer, "tracks")
        self.output.initialize(output)
        self.events = []

    def execute(self, context):
        of_hit, asked = self.truth.read(context)
        n_noise = len(of_hit) // 4
        of_hit = np.append(of_hit, np.zeros(n_noise, dtype=int))
        lists = self.perturb(of_hit)
        self.events.append((lists, of_hit, asked))
        perigee = acts.Surface.createPerigee(acts.Vector3(0, 0, 0))
        somewhere = acts.GeometryIdentifier(volume=8, layer=2, sensitive=1)
        container = examples.TrackContainer()
        for hits in lists:
            track = container.makeTrack()
            track.referenceSurface = perigee
            track.parameters = acts.BoundVector(0.1, 0.1, 0.5, 1.0, 0.5, 0.0)
            track.nMeasurements = len(hits)
            track.chi2 = float(self.rng.uniform(1, 20))
            for hit in hits:
                state = track.appendTrackState()
                state.typeFlags.setIsMeasurement()
                # A measurement that the truth map does not know is noise.
                link = examples.IndexSourceLink(somewhere, int(hit))
                state.uncalibratedSourceLink = link.toSourceLink()
        self.output(context, container.makeConst())
        return examples.ProcessCode.SUCCESS

    def perturb(self, of_hit):
        rng = self.rng
        noise = np.flatnonzero(of_hit == 0)
        true = [np.flatnonzero(of_hit == particle) for particle in range(1, of_hit.max() + 1)]
        lists = []
        for hits in true:
            other = true[rng.integers(len(true))]
            half = min(len(hits), len(other)) // 2
            middle = len(hits) // 2
            lists += {
                0: [hits],
                1: [hits[:middle], hits[middle:]],
                # Exactly one half from each, in any order: the tie that decides which particle is found.
                2: [rng.permutation(np.concatenate([hits[:half], other[:half]]))],
                3: [np.concatenate([hits[: middle + 2], other[middle:]])],
                4: [np.append(hits[:3], rng.choice(noise, int(rng.integers(1, 8))))],
                5: [rng.permutation(np.concatenate([t[:2] for t in (hits, *true[:3])]))],
                6: [hits, hits[1:]],
                7: [rng.choice(noise, 5)],
            }[int(rng.integers(8))]
        return [list(hits) for hits in lists if len(hits)]


class FittedTracks(examples.IAlgorithm):
    """Keeps the measurements of every fitted track, from the innermost to the outermost."""

    def __init__(self, name):
        super().__init__(f"FittedTracks_{name}", acts.logging.WARNING)
        self.truth = Truth(self)
        self.tracks = examples.ReadDataHandle(self, examples.ConstTrackContainer, "tracks")
        self.tracks.initialize(name)
        self.events = []

    def execute(self, context):
        of_hit, asked = self.truth.read(context)
        lists = []
        tracks = self.tracks(context.eventStore)
        container = examples.TrackContainer()
        container.ensureDynamicColumns(tracks)
        for track in tracks:
            # Only a track that knows its first state can be walked through; this makes a copy that does.
            copy = container.makeTrack()
            copy.copyFrom(track)
            copy.linkForward()
            states = [s for s in copy.trackStates if s.typeFlags.isMeasurement and not s.typeFlags.isOutlier]
            links = [examples.IndexSourceLink.fromSourceLink(s.uncalibratedSourceLink) for s in states]
            lists.append([link.index() for link in links])
        self.events.append((lists, of_hit, asked))
        return examples.ProcessCode.SUCCESS


def matched(lists, of_hit, asked, ties="last-hit"):
    """Matching of one event's tracks, and which of its particles ACTS's writer is given."""
    offsets = np.cumsum([0, *map(len, lists)])
    rows = np.concatenate([np.array([], dtype=int), *(np.array(hits, dtype=int) for hits in lists)])
    matching = match_hit_lists(offsets, rows, of_hit, ties=ties)
    return matching, np.isin(matching.particle_ids.astype(int), list(asked))


def our_counts(events, *, double_matching, ties="last-hit"):
    """Sum over events, under the names of ACTS."""
    total = np.zeros(len(ActsCounts._fields), dtype=int)
    for event in events:
        total += acts_counts(*matched(*event, ties), double_matching=double_matching)
    return dict(zip(ACTS_NAMES.values(), total.tolist(), strict=True))


def check_ratios(events, stats, *, double_matching):
    """The fractions of `evaluate` are the ratios that ACTS prints."""
    matching, selected = zip(*(matched(*event) for event in events), strict=True)
    everything = np.ones(sum(map(len, selected)), dtype=bool)
    result = evaluate(Matching.join(matching), np.concatenate(selected), everything)
    ours = result["acts-double" if double_matching else "acts"]
    assert ours["efficiency"].value == stats["efficiencyParticles"]
    assert ours["fake_rate"].value == stats["fakeRatioTracks"]
    assert ours["duplicate_rate"].value == stats["duplicateRatioTracks"]


def counts_of(stats):
    """The counts among ACTS's statistics, which also hold their ratios."""
    return {name: stats[name] for name in ACTS_NAMES.values()}


def test_perturbed_groupings(tmp_path):
    """Tracks of every kind: fakes, duplicates, merged tracks with ties, noise."""
    sequencer = new_sequencer(6)
    add_simulation(sequencer, tmp_path, 80, 4, seed=3)
    groupings = Groupings("groupings", seed=5)
    sequencer.addAlgorithm(groupings)
    writers = {
        double: add_performance(sequencer, "groupings", double_matching=double) for double in (False, True)
    }
    sequencer.run()
    for double, writer in writers.items():
        stats = writer.stats()
        assert our_counts(groupings.events, double_matching=double) == counts_of(stats)
        check_ratios(groupings.events, stats, double_matching=double)
        # Only who knows the order of the hits can credit the particle that ACTS credits.
        assert our_counts(groupings.events, double_matching=double, ties="completeness") != counts_of(stats)
        # The events hold enough of everything for the equality to mean something.
        assert all(count > 15 for count in counts_of(stats).values())
        assert stats["nTotalMatchedParticles"] < stats["nTotalParticles"]


def test_ckf_tracks(tmp_path):
    """The CKF's tracks before and after ambiguity resolution; they share hits."""
    from acts import UnitConstants as u
    from acts.examples.reconstruction import (
        AmbiguityResolutionConfig,
        CkfConfig,
        SeedFinderConfigArg,
        SeedFinderOptionsArg,
        TrackSelectorConfig,
        addAmbiguityResolution,
        addCKFTracks,
        addSeeding,
    )

    sequencer = new_sequencer(2)
    field = add_simulation(sequencer, tmp_path, 400, 20, seed=4)
    geometry = generic_detector()[1]
    layers = tmp_path / "layers.json"
    layers.write_text(json.dumps([{"volume": volume} for volume in SEEDING_LAYERS]))
    addSeeding(
        sequencer,
        geometry,
        field,
        seedFinderConfigArg=SeedFinderConfigArg(
            r=(None, 200 * u.mm),
            deltaR=(1 * u.mm, 60 * u.mm),
            collisionRegion=(-250 * u.mm, 250 * u.mm),
            z=(-2000 * u.mm, 2000 * u.mm),
            maxSeedsPerSpM=1,
            sigmaScattering=5,
            radLengthPerSeed=0.1,
            minPt=450 * u.MeV,
            impactMax=3 * u.mm,
        ),
        seedFinderOptionsArg=SeedFinderOptionsArg(bFieldInZ=2 * u.T, beamPos=(0.0, 0.0)),
        geoSelectionConfigFile=layers,
        initialSigmas=[1 * u.mm, 1 * u.mm, 1 * u.degree, 1 * u.degree, 0, 1 * u.ns],
        initialSigmaQoverPt=0.1 * u.e / u.GeV,
        initialSigmaPtRel=0.1,
        initialVarInflation=[1.0] * 6,
        selectedParticles="particles_asked_for",
        outputDirRoot=None,
    )
    addCKFTracks(
        sequencer,
        geometry,
        field,
        TrackSelectorConfig(nMeasurementsMin=4),
        CkfConfig(chi2CutOffMeasurement=15.0, chi2CutOffOutlier=25.0, numMeasurementsCutOff=10),
        outputDirRoot=None,
    )
    addAmbiguityResolution(sequencer, AmbiguityResolutionConfig(maximumSharedHits=3), outputDirRoot=None)
    collections = {name: FittedTracks(name) for name in ("ckf_tracks", "ambi_tracks")}
    writers = {}
    for name, collector in collections.items():
        sequencer.addAlgorithm(collector)
        for double in (False, True):
            writers[name, double] = add_performance(sequencer, name, double_matching=double)
    sequencer.run()
    for (name, double), writer in writers.items():
        stats, events = writer.stats(), collections[name].events
        assert our_counts(events, double_matching=double) == counts_of(stats)
        check_ratios(events, stats, double_matching=double)
    # Seeds of one particle give several tracks, until the ambiguities are resolved.
    before, after = (writers[name, False].stats() for name in collections)
    assert before["nTotalDuplicateTracks"] > 20 > after["nTotalDuplicateTracks"]
    assert after["nTotalMatchedParticles"] > 0.9 * after["nTotalParticles"]
