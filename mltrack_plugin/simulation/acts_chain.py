"""Detector simulation with ACTS: primary particles -> Fatras -> smearing digitisation -> arrays.

The detector is the GenericDetector of the ACTS examples, from which the TrackML detector was derived, in a
homogeneous solenoid field. Fatras simulates multiple scattering, ionisation and radiation losses and photon
conversions (its default processes); it has no nuclear interactions and decays nothing, so decay products
must be among the primaries. Every simulated hit becomes one measurement (nothing is merged), with a Gaussian
resolution of pitch / sqrt(12) along both local axes of its module.

ACTS is imported inside the functions only: this module can be imported without it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.detectors.acts_geometry import PITCH, generic_detector
from mltrack_plugin.detectors.geometry_ids import join_geometry_id
from mltrack_plugin.errors import require_extra

_log = logging.getLogger(__name__)
Array = npt.NDArray[Any]

#: Momentum below which Fatras stops following a particle, GeV.
STOP_MOMENTUM = 0.05
#: What a missing extra is needed for, in its message.
PURPOSE = "simulating detector events with Fatras"


@dataclasses.dataclass(frozen=True)
class Primaries:
    """Particles handed to the detector simulation.

    Attributes:
        pdg: (n,) int64, PDG code.
        charge: (n,) float64, e.
        mass: (n,) float64, GeV.
        position: (n, 4) float64, mm: x, y, z, c t of the production point.
        momentum: (n, 3) float64, GeV.
    """

    pdg: Array
    charge: Array
    mass: Array
    position: Array
    momentum: Array

    def __len__(self) -> int:
        return len(self.pdg)


@dataclasses.dataclass(frozen=True)
class DetectorEvent:
    """What comes out of the simulation of one event: hits and all charged particles that made them.

    Attributes:
        position: (n_hits, 3) float32, mm, digitised.
        time: (n_hits,) float32, mm (c = 1), true.
        geometry_id: (n_hits,) uint64.
        particle: (n_hits,) int64, row in the particle columns.
        vertex: (n_particles, 3) float32, mm.
        momentum: (n_particles, 3) float32, GeV, at production.
        charge: (n_particles,) float32, e.
        pdg: (n_particles,) int32.
    """

    position: Array
    time: Array
    geometry_id: Array
    particle: Array
    vertex: Array
    momentum: Array
    charge: Array
    pdg: Array

    @property
    def n_particles(self) -> int:
        return len(self.charge)


def require_acts() -> ModuleType:
    """The ``acts`` module.

    Raises:
        MissingExtraError: with the install line.
    """
    return require_extra("acts", "acts", PURPOSE)


def digitisation_config(resolution: float = 1.0) -> dict[str, Any]:
    """Smearing digitisation of the GenericDetector in the JSON layout of ACTS.

    Args:
        resolution: factor on the standard deviations (pitch / sqrt(12)).
    """

    def smear(axis: int, pitch: float) -> dict[str, Any]:
        return {"index": axis, "mean": 0.0, "stddev": resolution * pitch / 12**0.5, "type": "Gauss"}

    entries = [
        {"volume": volume, "value": {"smearing": [smear(axis, p) for axis, p in enumerate(pitch)]}}
        for volume, pitch in PITCH.items()
    ]
    header = {
        "acts-geometry-hierarchy-map": {"format-version": 0, "value-identifier": "digitization-configuration"}
    }
    return {**header, "entries": entries}


@functools.cache
def _digitisation(resolution: float) -> Any:
    """The digitisation configuration as ACTS reads it (only from a file)."""
    acts_json = require_extra("acts.examples.json", "acts", PURPOSE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digitisation.json"
        path.write_text(json.dumps(digitisation_config(resolution)))
        return acts_json.readDigiConfigFromJson(str(path))


def new_sequencer(n_events: int, skip: int = 0) -> Any:
    """A quiet single-threaded ACTS sequencer that does not trap floating point exceptions."""
    acts = require_acts()
    examples = require_extra("acts.examples", "acts", PURPOSE)
    return examples.Sequencer(
        events=n_events, skip=skip, numThreads=1, trackFpes=False, logLevel=acts.logging.WARNING
    )


def simulate_primaries(
    primaries: Primaries, seed: int, *, field: float = 2.0, resolution: float = 1.0
) -> DetectorEvent:
    """One event from arrays of primary particles.

    Args:
        primaries: what the collisions produce, decay products included.
        seed: of Fatras and of the digitisation, below 2**63; the same seed gives the same event.
        field: solenoid field along z, T.
        resolution: factor on the hit resolutions.

    Raises:
        MissingExtraError: without pyacts.
    """
    return simulate_many([primaries], seed, field=field, resolution=resolution)[0]


def simulate_many(
    events: Sequence[Primaries], seed: int, *, field: float = 2.0, resolution: float = 1.0
) -> list[DetectorEvent]:
    """Several events in one ACTS job, which saves setting one up for each; otherwise as :func:`simulate_primaries`."""
    sequencer = new_sequencer(len(events))
    sequencer.addAlgorithm(_primary_source(events))
    return run_detector(sequencer, seed, field=field, resolution=resolution)


def run_detector(
    sequencer: Any, seed: int, *, field: float = 2.0, resolution: float = 1.0
) -> list[DetectorEvent]:
    """Append Fatras and the digitisation to a sequencer that provides ``particles_generated``, and run it."""
    acts = require_acts()
    examples = require_extra("acts.examples", "acts", PURPOSE)
    arrow = require_extra("acts.examples.arrow", "acts", PURPOSE)
    _, geometry, surfaces = generic_detector()
    numbers = examples.RandomNumbers(seed=seed)
    quiet = acts.logging.ERROR
    particles, hits, clusters, hit_map = (
        "particles_simulated",
        "simhits",
        "clusters",
        "simhit_measurements_map",
    )
    sequencer.addAlgorithm(
        examples.FatrasSimulation(
            # A particle that cannot be propagated (it starts on a volume boundary) is no error of the event.
            level=acts.logging.FATAL,
            inputParticles="particles_generated",
            outputParticles=particles,
            outputSimHits=hits,
            randomNumbers=numbers,
            trackingGeometry=geometry,
            magneticField=acts.ConstantBField(acts.Vector3(0, 0, field * acts.UnitConstants.T)),
            generateHitsOnSensitive=True,
            emScattering=True,
            emEnergyLossIonisation=True,
            emEnergyLossRadiation=True,
            emPhotonConversion=True,
            pMin=STOP_MOMENTUM * acts.UnitConstants.GeV,
        )
    )
    digitisation = examples.DigitizationAlgorithm.Config(
        digitizationConfigs=_digitisation(resolution),
        surfaceByIdentifier=surfaces,
        randomNumbers=numbers,
        inputSimHits=hits,
        outputMeasurements="measurements",
        outputClusters=clusters,
        outputMeasurementParticlesMap="measurement_particles_map",
        outputMeasurementSimHitsMap="measurement_simhits_map",
        outputParticleMeasurementsMap="particle_measurements_map",
        outputSimHitMeasurementsMap=hit_map,
        # Merging would fuse hits of different particles: a hit would have several true particles.
        doMerge=False,
    )
    sequencer.addAlgorithm(examples.DigitizationAlgorithm(digitisation, quiet))
    sequencer.addAlgorithm(
        arrow.ArrowParticleOutputConverter(
            level=quiet, inputParticles=particles, outputTable="particle_table"
        )
    )
    sequencer.addAlgorithm(
        arrow.ArrowSimHitOutputConverter(
            level=quiet,
            inputSimHits=hits,
            inputParticles=particles,
            inputClusters=clusters,
            inputSimHitMeasurementsMap=hit_map,
            outputTable="hit_table",
        )
    )
    collector = _collector()
    sequencer.addAlgorithm(collector)
    sequencer.run()
    return [detector_event(hit, particle) for hit, particle in collector.events]


def detector_event(hits: dict[str, Array], particles: dict[str, Array]) -> DetectorEvent:
    """Arrow columns of one ACTS event as a :class:`DetectorEvent`; particles without hits are left out.

    A few in ten million hits come out of the smearing without a position (NaN): the detector has not measured them,
    so they are no hits; their number is logged.
    """
    measured = np.isfinite(hits["x"]) & np.isfinite(hits["y"]) & np.isfinite(hits["z"])
    if not measured.all():
        _log.warning(
            "%d of %d simulated hits have no position and are left out", (~measured).sum(), len(measured)
        )
        hits = {name: values[measured] for name, values in hits.items()}
    rows, particle = np.unique(hits["particle_id"].astype(np.int64), return_inverse=True)
    f = np.float32
    geometry_id = join_geometry_id(hits["volume_id"], hits["layer_id"], hits["surface_id"])
    return DetectorEvent(
        position=np.stack([hits["x"], hits["y"], hits["z"]], axis=1).astype(f),
        time=hits["time"].astype(f),
        geometry_id=geometry_id,
        particle=particle.reshape(-1),
        vertex=np.stack([particles[name][rows] for name in ("vx", "vy", "vz")], axis=1).astype(f),
        momentum=np.stack([particles[name][rows] for name in ("px", "py", "pz")], axis=1).astype(f),
        charge=particles["charge"][rows].astype(f),
        pdg=particles["pdg_id"][rows].astype(np.int32),
    )


def _primary_source(events: Sequence[Primaries]) -> Any:
    """An ACTS algorithm that puts the primaries of each event on the whiteboard as ``particles_generated``."""
    import acts
    import acts.examples as examples
    import acts.fatras

    class PrimarySource(examples.IAlgorithm):  # type: ignore[misc]
        def __init__(self) -> None:
            examples.IAlgorithm.__init__(self, "PrimarySource", acts.logging.ERROR)
            self.output = examples.WriteDataHandle(self, examples.SimParticleContainer, "OutputParticles")
            self.output.initialize("particles_generated")

        def execute(self, context: Any) -> Any:
            container = examples.SimParticleContainer()
            for row, (pdg, charge, mass, position, unit, p) in enumerate(
                _primary_rows(events[context.eventNumber]), start=1
            ):
                barcode = acts.fatras.Barcode()
                barcode.vertexPrimary = 1
                barcode.particle = row
                particle = examples.SimParticle(barcode, acts.PdgParticle(pdg), charge, mass)
                particle.fourPosition = acts.Vector4(*position)
                particle.direction = acts.Vector3(*unit)
                particle.absoluteMomentum = p
                container.insert(particle)
            self.output(context, container)
            return examples.ProcessCode.SUCCESS

    return PrimarySource()


def _primary_rows(primaries: Primaries) -> Iterator[tuple[Any, ...]]:
    """PDG code, charge, mass, position, direction and momentum of each particle as Python numbers."""
    momentum = np.linalg.norm(primaries.momentum, axis=1)
    return zip(
        primaries.pdg.tolist(),
        primaries.charge.tolist(),
        primaries.mass.tolist(),
        primaries.position.tolist(),
        (primaries.momentum / momentum[:, None]).tolist(),
        momentum.tolist(),
        strict=True,
    )


def _collector() -> Any:
    """An ACTS algorithm that copies the Arrow tables of each event into NumPy arrays."""
    import acts
    import acts.arrow
    import acts.examples as examples
    import pyarrow

    class Collector(examples.IAlgorithm):  # type: ignore[misc]
        def __init__(self) -> None:
            examples.IAlgorithm.__init__(self, "Collector", acts.logging.ERROR)
            self.events: list[tuple[dict[str, Array], dict[str, Array]]] = []
            self.tables = []
            for name in ("hit_table", "particle_table"):
                handle = examples.ReadDataHandle(self, acts.arrow.ArrowTable, name)
                handle.initialize(name)
                self.tables.append(handle)

        def execute(self, context: Any) -> Any:
            columns = []
            for handle in self.tables:
                batch = pyarrow.record_batch(handle(context.eventStore))
                # The whiteboard is cleared after the event: copy.
                columns.append({n: np.array(batch.column(n).values) for n in batch.schema.names})
            self.events.append((columns[0], columns[1]))
            return examples.ProcessCode.SUCCESS

    return Collector()
