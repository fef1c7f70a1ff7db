"""Transformer track finding beside the CKF of ACTS in one Sequencer: the same hits, both results side by side.

python examples/acts_beside_ckf.py --events 10 --particles 20

Three chains see each event: grid triplet seeding and CKF (with tuned settings), the Transformer with ACTS's Kalman
fit, and the Transformer's candidates as seeds of the CKF. All end in the same ambiguity resolution and are
counted by ACTS's own performance writer with the same matching.
"""

import argparse
import csv
import json
import tempfile
from pathlib import Path

import acts
import acts.examples
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
from acts.examples.simulation import (
    EtaConfig,
    MomentumConfig,
    ParticleConfig,
    ParticleSelectorConfig,
    addDigiParticleSelection,
    addDigitization,
    addFatras,
    addParticleGun,
)
from rich.console import Console
from rich.table import Table

from mltrack_plugin.acts import addTransformerSeeds, addTransformerTracks
from mltrack_plugin.acts.ckf import PRESETS
from mltrack_plugin.detectors.acts_geometry import SEEDING_LAYERS
from mltrack_plugin.simulation.acts_chain import digitisation_config

u = acts.UnitConstants

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--events", type=int, default=10)
parser.add_argument("--particles", type=int, default=20, help="per event")
parser.add_argument("--model", help="shipped model (see: mltrack models) or path of a model archive")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

folder = tempfile.TemporaryDirectory()
digitisation, pixels = Path(folder.name) / "digitisation.json", Path(folder.name) / "pixels.json"
digitisation.write_text(json.dumps(digitisation_config()))
pixels.write_text(
    json.dumps(
        [{"volume": volume, "layer": layer} for volume, found in SEEDING_LAYERS.items() for layer in found]
    )
)

detector = acts.examples.GenericDetector()
trackingGeometry = detector.trackingGeometry()
field = acts.ConstantBField(acts.Vector3(0, 0, 2 * u.T))
rnd = acts.examples.RandomNumbers(seed=options.seed)
s = acts.examples.Sequencer(
    events=options.events, numThreads=1, logLevel=acts.logging.WARNING, outputDir=folder.name
)

# Simulation.
addParticleGun(
    s,
    MomentumConfig(0.5 * u.GeV, 10 * u.GeV, transverse=True),
    EtaConfig(-2.5, 2.5, uniform=True),
    ParticleConfig(options.particles, acts.PdgParticle.ePionPlus, randomizeCharge=True),
    vtxGen=acts.examples.GaussianVertexGenerator(
        stddev=acts.Vector4(0.01 * u.mm, 0.01 * u.mm, 5.5 * u.mm, 0), mean=acts.Vector4(0, 0, 0, 0)
    ),
    rnd=rnd,
)
addFatras(s, trackingGeometry, field, rnd=rnd)
addDigitization(s, trackingGeometry, field, digiConfigFile=digitisation, rnd=rnd)
addDigiParticleSelection(
    s, ParticleSelectorConfig(pt=(0.5 * u.GeV, None), measurements=(7, None), removeNeutral=True)
)

# The CKF with the settings that suit these events best.
tuned = PRESETS["tuned"]
selection = TrackSelectorConfig(
    pt=(tuned.min_pt * u.GeV, None),
    absEta=(None, tuned.max_eta),
    loc0=(-tuned.max_d0 * u.mm, tuned.max_d0 * u.mm),
    nMeasurementsMin=tuned.min_measurements,
    maxHoles=tuned.max_holes,
    maxOutliers=tuned.max_outliers,
)
ckf = CkfConfig(
    chi2CutOffMeasurement=tuned.chi2_measurement,
    chi2CutOffOutlier=tuned.chi2_outlier,
    numMeasurementsCutOff=tuned.branches,
    seedDeduplication=True,
    stayOnSeed=True,
)
addSeeding(
    s,
    trackingGeometry,
    field,
    pixels,
    seedFinderConfigArg=SeedFinderConfigArg(
        r=(None, tuned.r_max * u.mm),
        z=(-tuned.z_max * u.mm, tuned.z_max * u.mm),
        deltaR=(tuned.delta_r[0] * u.mm, tuned.delta_r[1] * u.mm),
        collisionRegion=(-tuned.collision_region * u.mm, tuned.collision_region * u.mm),
        maxSeedsPerSpM=tuned.max_seeds_per_middle,
        sigmaScattering=tuned.sigma_scattering,
        radLengthPerSeed=tuned.radiation_length_per_seed,
        minPt=tuned.min_pt * u.GeV,
        impactMax=tuned.impact_max * u.mm,
    ),
    seedFinderOptionsArg=SeedFinderOptionsArg(bFieldInZ=2 * u.T, beamPos=(0.0, 0.0)),
)
addCKFTracks(s, trackingGeometry, field, selection, ckf)

# The Transformer with the Kalman fit.
addTransformerTracks(s, trackingGeometry, field, model=options.model, prefix="tf_")

# Its candidates as seeds of the CKF; the network has run already. Seeds of ten hits share none to deduplicate.
addTransformerSeeds(
    s,
    trackingGeometry,
    field,
    inputProtoTracks="tf_transformer_proto_tracks",
    inputSpacePoints="tf_transformer_spacepoints",
    prefix="tfseed_",
)
addCKFTracks(s, trackingGeometry, field, selection, CkfConfig(*ckf[:3]), prefix="tfseed_")

writers = {}
chains = {"": "CKF", "tf_": "Transformer + KF", "tfseed_": "Transformer + CKF"}
for prefix, name in chains.items():
    addAmbiguityResolution(
        s,
        AmbiguityResolutionConfig(
            maximumSharedHits=tuned.max_shared_hits, nMeasurementsMin=tuned.min_measurements
        ),
        prefix=prefix,
    )
    config = acts.examples.PythonPatternRecognitionPerformanceWriter.Config(
        inputTracks=f"{prefix}ambi_tracks",
        inputParticles="particles_selected",
        inputTrackParticleMatching=f"{prefix}ambi_track_particle_matching",
        inputParticleTrackMatching=f"{prefix}ambi_particle_track_matching",
        inputParticleMeasurementsMap="particle_measurements_map",
    )
    writers[name] = acts.examples.PythonPatternRecognitionPerformanceWriter(
        config=config, level=acts.logging.WARNING
    )
    s.addWriter(writers[name])
s.run()

table = Table(title=f"{options.events} events of {options.particles} particles")
for heading in ("", "tracks", "eff.", "fakes", "dupl.", "purity", "compl."):
    table.add_column(heading, justify="right" if heading else "left", no_wrap=True)
for name, writer in writers.items():
    found = writer.stats()
    shares = (
        "efficiencyParticles",
        "fakeRatioTracks",
        "duplicateRatioTracks",
        "meanPurity",
        "meanCompleteness",
    )
    table.add_row(name, str(found["nTotalTracks"]), *(f"{found[share]:.4f}" for share in shares))
console = Console()
console.print(table)

timing = Table(title="Wall time per event, one thread")
timing.add_column("step")
timing.add_column("ms", justify="right")
with (Path(folder.name) / "timing.csv").open(newline="") as file:
    for row in csv.DictReader(file):
        if float(row["time_perevent_s"]) > 1e-4:
            timing.add_row(row["identifier"], f"{1e3 * float(row['time_perevent_s']):.2f}")
console.print(timing)
folder.cleanup()
