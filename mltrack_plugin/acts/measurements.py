"""Hits of an event as measurements of ACTS, track candidates as its proto tracks, truth links as its truth maps.

Hits of the GenericDetector lie on its modules. Those of turned events do not (``augment`` of the trackml-*
data sets turns an event by any angle around the beam, which the modules are not symmetric under; their noise
hits are turned one by one), so no fit on modules is possible with them, and they are refused.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.acts.whiteboard import ActsEvent
from mltrack_plugin.detectors.acts_geometry import PITCH, ModuleTable, module_table, require_acts
from mltrack_plugin.detectors.geometry_ids import join_geometry_id, split_geometry_id
from mltrack_plugin.errors import EventDataError, InputError
from mltrack_plugin.event_data import Hits, Particles, ProtoTracks, TruthLinks

Array = npt.NDArray[Any]

#: Names on the whiteboard, as the helpers of ACTS have them.
MEASUREMENTS, SUBSET = "measurements", "measurement_subset"
PARTICLES = "particles"
MEASUREMENT_PARTICLES, PARTICLE_MEASUREMENTS = "measurement_particles_map", "particle_measurements_map"

#: A hit may be this many standard deviations outside the edge of its module: smearing does not stop there.
_EDGE_SIGMAS = 7.0
_ADVICE = (
    "Are the events of this detector? Turned events (trackml-* data sets with augment, or with their noise) have "
    "hits off the modules and cannot be used; simulate with --split test --augment never, or acts-gun"
)


@dataclasses.dataclass(frozen=True)
class Measurements:
    """Measurements of one event in the order of ACTS: by ascending geometry id, else as the hits.

    Attributes:
        hit_rows: (n,) int64: measurement i is hit ``hit_rows[i]``.
        measurement_of_hit: (n,) int64, the inverse.
        module: (n,) int64, rows of the module table.
        local: (n, 2) float64, mm, on the module.
        variance: (n, 2) float64, mm^2.
        distance: (n,) float64, mm, of the hits from the origin.
    """

    hit_rows: Array
    measurement_of_hit: Array
    module: Array
    local: Array
    variance: Array
    distance: Array

    def __len__(self) -> int:
        return len(self.hit_rows)


def measurements_of(hits: Hits, *, tolerance: float = 0.05, resolution: float = 1.0) -> Measurements:
    """Hits in the frames of their modules, with the variances of the modules' pitch.

    Args:
        hits: with ``geometry_id``, or with volume, layer and module ids.
        tolerance: mm, largest distance of a hit from the plane of its module.
        resolution: standard deviation in units of the pitch / sqrt(12), as in the simulation.

    Raises:
        InputError: if the hits do not say which module they are on.
        EventDataError: if a hit is on no module of the GenericDetector, or off its own.
    """
    table = module_table()
    geometry_id = _geometry_id(hits)
    rows, known = table.rows_of(geometry_id)
    if not known.all():
        raise EventDataError(_unknown_module(hits, geometry_id, known))
    order = np.argsort(rows, kind="stable")
    module = rows[order]
    local, height = table.local(module, hits.positions[order])
    deviation = resolution * _standard_deviations()[split_geometry_id(table.geometry_id[module])[0]]
    outside = np.maximum(np.abs(local) - table.half[module] - _EDGE_SIGMAS * deviation, 0.0)
    off = np.sqrt(height**2 + (outside**2).sum(axis=1))
    if (off > tolerance).any():
        raise EventDataError(_off_module(hits, order, table, module, off, tolerance))
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return Measurements(
        hit_rows=order,
        measurement_of_hit=inverse,
        module=module,
        local=local,
        variance=deviation**2,
        distance=np.linalg.norm(hits.positions[order].astype(np.float64), axis=1),
    )


def put_measurements(event: ActsEvent, measurements: Measurements) -> None:
    """Write ``measurements`` and ``measurement_subset`` (all of them) to the whiteboard."""
    _, examples = require_acts()
    event.write(examples.MeasurementContainer, MEASUREMENTS, measurement_container(measurements))
    # A subset refers to its container where it lies, and that is the whiteboard from now on.
    stored = event.read(examples.MeasurementContainer, MEASUREMENTS)
    event.write(
        examples.MeasurementSubset, SUBSET, examples.MeasurementSubset(stored, range(len(measurements)))
    )


def measurement_container(measurements: Measurements) -> Any:
    """An ``acts.examples.MeasurementContainer``; measurement i has index i."""
    _, examples = require_acts()
    identifiers = module_table().identifiers
    container = examples.MeasurementContainer()
    container.reserve(len(measurements))
    axes = [0, 1]
    columns = (measurements.module.tolist(), measurements.local.tolist(), measurements.variance.tolist())
    for module, local, variance in zip(*columns, strict=True):
        container.emplaceMeasurement(identifiers[module], axes, local, variance)
    return container


def proto_track_container(measurements: Measurements, candidates: ProtoTracks) -> Any:
    """An ``acts.examples.ProtoTrackContainer`` of measurement indices, from the origin outwards in each track.

    Raises:
        EventDataError: if a candidate has a hit that the event does not have.
    """
    _, examples = require_acts()
    if len(candidates.hit_indices) and candidates.hit_indices.max() >= len(measurements):
        raise EventDataError(
            f"a track candidate has hit index {candidates.hit_indices.max()}, but the event has "
            f"{len(measurements)} hits: the candidates are of another event"
        )
    indices = measurements.measurement_of_hit[candidates.hit_indices]
    order = np.lexsort((measurements.distance[indices], candidates.track_of_entry()))
    flat, offsets = indices[order].tolist(), candidates.offsets.tolist()
    container = examples.ProtoTrackContainer()
    for first, last in itertools.pairwise(offsets):
        container.append(examples.ProtoTrack(flat[first:last]))
    return container


@dataclasses.dataclass(frozen=True)
class TruthMaps:
    """Truth of an event as ACTS has it.

    Attributes:
        particles: ``SimParticleContainer``.
        of_measurement: ``MeasurementParticlesMap``; noise is not in it.
        of_particle: ``ParticleMeasurementsMap``.
        numbers: particle id -> particle number of its barcode, the row in Particles + 1.
    """

    particles: Any
    of_measurement: Any
    of_particle: Any
    numbers: dict[int, int]


def truth_maps(
    measurements: Measurements, truth: TruthLinks | None, particles: Particles | None
) -> TruthMaps:
    """Particles and truth maps, as the matchers and performance writers of ACTS want them.

    The particle in row i of the collection has the barcode of primary vertex 1 and particle i + 1: 64-bit
    particle ids of other experiments do not fit into a barcode.

    Raises:
        InputError: if there is no truth.
        EventDataError: if hits are of particles that the event does not list.
    """
    if truth is None or particles is None:
        missing = "truth links" if truth is None else "particles"
        raise InputError(
            f"the events have no {missing}, and matching needs both truth links and particles; "
            "read a file with truth (simulated events have it)"
        )
    _, examples = require_acts()
    import acts.fatras

    truth_ids = truth.particle_id[measurements.hit_rows]
    numbers = {particle: row for row, particle in enumerate(particles.particle_id.tolist(), start=1)}
    absent = np.setdiff1d(truth_ids[truth_ids != 0], particles.particle_id)
    if len(absent):
        raise EventDataError(
            f"hits are of {len(absent)} particles that are not in the list of particles, "
            f"the first is particle_id {absent[0]}"
        )
    barcodes = [acts.fatras.Barcode() for _ in numbers]
    for row, barcode in enumerate(barcodes, start=1):
        barcode.vertexPrimary = 1
        barcode.particle = row
    forward, backward = examples.MeasurementParticlesMap(), examples.ParticleMeasurementsMap()
    for measurement, particle in enumerate(truth_ids.tolist()):
        if particle:
            barcode = barcodes[numbers[particle] - 1]
            forward.insert(measurement, barcode)
            backward.insert(barcode, measurement)
    return TruthMaps(_sim_particles(particles, barcodes), forward, backward, numbers)


def _sim_particles(particles: Particles, barcodes: list[Any]) -> Any:
    acts, examples = require_acts()
    vertex = np.stack([particles.vx, particles.vy, particles.vz], axis=1).astype(np.float64)
    momentum = np.stack([particles.px, particles.py, particles.pz], axis=1).astype(np.float64)
    absolute = np.linalg.norm(momentum, axis=1)
    direction = momentum / np.where(absolute > 0, absolute, 1.0)[:, None]
    # Without a PDG code a particle is taken for a pion, as the fits do.
    pdg = particles.pdg_id if particles.pdg_id is not None else np.where(particles.q < 0, -211, 211)
    columns = (barcodes, pdg.tolist(), particles.q.tolist(), vertex.tolist(), direction.tolist(), absolute)
    container = examples.SimParticleContainer()
    for barcode, code, charge, position, unit, p in zip(*columns, strict=True):
        particle = examples.SimParticle(barcode, acts.PdgParticle(code), charge, 0.13957039)
        particle.fourPosition = acts.Vector4(*position, 0.0)
        particle.direction = acts.Vector3(*unit)
        particle.absoluteMomentum = p
        container.insert(particle)
    return container


def _geometry_id(hits: Hits) -> Array:
    if hits.geometry_id is not None:
        return hits.geometry_id
    columns = {name: getattr(hits, name) for name in ("volume_id", "layer_id", "module_id")}
    missing = [name for name, values in columns.items() if values is None]
    if missing:
        raise InputError(
            f"the hits have neither geometry_id nor {', '.join(missing)}, so nobody knows which module they are "
            "on, and ACTS works on modules; map the branches in the reader's settings (--config), for example "
            "branches: {geometry_id: NAME}"
        )
    return join_geometry_id(*columns.values())


def _standard_deviations() -> Array:
    """(256, 2) float64, mm, by volume; 0 where there are no modules."""
    result = np.zeros((256, 2))
    for volume, pitch in PITCH.items():
        result[volume] = np.array(pitch) / 12**0.5
    return result


def _unknown_module(hits: Hits, geometry_id: Array, known: Array) -> str:
    first = int(np.argmin(known))
    volume, layer, module = (int(part[0]) for part in split_geometry_id(geometry_id[first : first + 1]))
    return (
        f"{int((~known).sum())} of {len(hits)} hits are on modules that the GenericDetector does not have; the first "
        f"is hit {first} (hit_id {hits.hit_id[first]}), volume {volume}, layer {layer}, module {module}. {_ADVICE}"
    )


def _off_module(
    hits: Hits, order: Array, table: ModuleTable, module: Array, off: Array, tolerance: float
) -> str:
    worst = int(np.argmax(off))
    row = int(order[worst])
    ids = table.geometry_id[module[worst : worst + 1]]
    volume, layer, number = (int(part[0]) for part in split_geometry_id(ids))
    return (
        f"{int((off > tolerance).sum())} of {len(hits)} hits are off their modules by more than {tolerance:g} mm; "
        f"hit {row} (hit_id {hits.hit_id[row]}) is {off[worst]:.3g} mm from volume {volume}, layer {layer}, "
        f"module {number}. {_ADVICE}"
    )
