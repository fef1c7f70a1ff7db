"""Arrays of an event in the GenericDetector as a SimulatedEvent."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.detectors.geometry_ids import split_geometry_id
from mltrack_plugin.evaluation.trackml_weights import trackml_weights
from mltrack_plugin.event_data import Hits, Particles, TruthLinks
from mltrack_plugin.simulation.event import SimulatedEvent

Array = npt.NDArray[Any]


def measured_event(
    *,
    position: Array,
    geometry_id: Array,
    truth: Array,
    particle_id: Array,
    vertex: Array,
    momentum: Array,
    charge: Array,
    pdg: Array,
    nhits: Array,
) -> SimulatedEvent:
    """Hits numbered from 1 with volume, layer and module, true particles, TrackML weights.

    Args:
        position: (n_hits, 3), mm.
        geometry_id: (n_hits,) uint64.
        truth: (n_hits,) uint64 particle ids, 0 = noise.
        particle_id: (n_particles,) uint64.
        vertex: (n_particles, 3), mm.
        momentum: (n_particles, 3), GeV.
        charge: (n_particles,), e.
        pdg: (n_particles,) int32.
        nhits: (n_particles,) hits of each particle.
    """
    x, y, z = position.T
    vx, vy, vz = vertex.T
    px, py, pz = momentum.T
    volume, layer, module = split_geometry_id(geometry_id)
    hits = Hits(
        hit_id=np.arange(1, len(truth) + 1, dtype=np.uint64),
        x=x,
        y=y,
        z=z,
        volume_id=volume,
        layer_id=layer,
        module_id=module,
        geometry_id=geometry_id,
    )
    particles = Particles(
        particle_id=particle_id,
        vx=vx,
        vy=vy,
        vz=vz,
        px=px,
        py=py,
        pz=pz,
        q=charge,
        nhits=nhits,
        pdg_id=pdg,
    )
    weight = trackml_weights(truth, z, particles.particle_id, vz, particles.pt)
    return SimulatedEvent(hits, TruthLinks(truth, weight), particles)
