"""Transformer track finding in an ACTS sequence, from simulation to vertices.

python examples/acts_sequence.py --events 10 --particles 20

Everything but the marked line is plain ACTS: gun, Fatras and digitisation of the GenericDetector, then ambiguity
resolution, vertexing and ACTS's performance writer on the tracks that the Transformer found and ACTS fitted.
"""

import argparse
import json
import tempfile
from pathlib import Path

import acts
import acts.examples
from acts.examples.reconstruction import (
    AmbiguityResolutionConfig,
    VertexFinder,
    addAmbiguityResolution,
    addVertexFitting,
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

from mltrack_plugin.acts import addTransformerTracks
from mltrack_plugin.simulation.acts_chain import digitisation_config

u = acts.UnitConstants

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--events", type=int, default=10)
parser.add_argument("--particles", type=int, default=20, help="per event")
parser.add_argument("--model", help="shipped model (see: mltrack models) or path of a model archive")
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()

detector = acts.examples.GenericDetector()
trackingGeometry = detector.trackingGeometry()
field = acts.ConstantBField(acts.Vector3(0, 0, 2 * u.T))
rnd = acts.examples.RandomNumbers(seed=options.seed)
s = acts.examples.Sequencer(events=options.events, numThreads=1, logLevel=acts.logging.WARNING)

# Simulation.
addParticleGun(
    s,
    MomentumConfig(0.5 * u.GeV, 10 * u.GeV, transverse=True),
    EtaConfig(-2.5, 2.5, uniform=True),
    ParticleConfig(options.particles, acts.PdgParticle.ePionPlus, randomizeCharge=True),
    vtxGen=acts.examples.GaussianVertexGenerator(
        stddev=acts.Vector4(0.01 * u.mm, 0.01 * u.mm, 5 * u.mm, 0), mean=acts.Vector4(0, 0, 0, 0)
    ),
    rnd=rnd,
)
addFatras(s, trackingGeometry, field, rnd=rnd)
with tempfile.TemporaryDirectory() as folder:
    digitisation = Path(folder) / "digitisation.json"
    digitisation.write_text(json.dumps(digitisation_config()))
    addDigitization(s, trackingGeometry, field, digiConfigFile=digitisation, rnd=rnd)
addDigiParticleSelection(
    s, ParticleSelectorConfig(pt=(0.5 * u.GeV, None), measurements=(7, None), removeNeutral=True)
)

# Reconstruction. This one line finds and fits the tracks:
finder = addTransformerTracks(s, trackingGeometry, field, model=options.model)

addAmbiguityResolution(s, AmbiguityResolutionConfig(maximumSharedHits=3, nMeasurementsMin=6))
addVertexFitting(s, field, vertexFinder=VertexFinder.Iterative)
performance = acts.examples.PythonPatternRecognitionPerformanceWriter(
    config=acts.examples.PythonPatternRecognitionPerformanceWriter.Config(
        inputTracks="tracks",
        inputParticles="particles_selected",
        inputTrackParticleMatching="track_particle_matching",
        inputParticleTrackMatching="particle_track_matching",
        inputParticleMeasurementsMap="particle_measurements_map",
    ),
    level=acts.logging.WARNING,
)
s.addWriter(performance)
s.run()

found = performance.stats()
print(
    f"{found['nTotalTracks']} tracks of {found['nTotalParticles']} particles: "
    f"efficiency {found['efficiencyParticles']:.4f}, fakes {found['fakeRatioTracks']:.4f}, "
    f"duplicates {found['duplicateRatioTracks']:.4f}"
)
for step in finder.times:
    print(f"{step.name:<22} {step.cpu_ms_per_event:8.2f} ms per event")
