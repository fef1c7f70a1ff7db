"""Full events of the GenericDetector: detector simulation and noise as collections."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.detectors.acts_geometry import modules
from mltrack_plugin.simulation.acts_chain import DetectorEvent
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.simulation.measured_event import measured_event

Array = npt.NDArray[Any]


def noise_hits(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Noise: every module is equally likely, and every point on it.

    Returns:
        (n, 3) float32 positions in mm, (n,) uint64 geometry ids.
    """
    table = modules()
    row = rng.integers(len(table.half), size=n)
    low, high, length = table.half[row].T
    # Along the length the density of a trapezoid is proportional to its width there: inverse of its integral.
    fraction = rng.random(n)
    slope = (high - low) / np.maximum(high + low, 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        curved = (np.sqrt((1 - slope) ** 2 + 4 * slope * fraction) - 1) / slope
    v = np.where(np.abs(slope) < 1e-6, 2 * fraction - 1, curved)
    u = rng.uniform(-1, 1, n) * (low + (high - low) * (v + 1) / 2)
    axes = table.axes[row]
    position = table.center[row] + u[:, None] * axes[:, 0] + (v * length)[:, None] * axes[:, 1]
    return position.astype(np.float32), table.geometry_id[row]


def full_event(event: DetectorEvent, noise: float, rng: np.random.Generator) -> SimulatedEvent:
    """All hits of an event, with noise, ordered by module; all charged particles that left hits.

    Args:
        event: as simulated.
        noise: noise hits as a fraction of the particles' hits.
        rng: source of the noise.
    """
    position, geometry_id = event.position, event.geometry_id
    # A row of the particle columns is a particle; id 0 is noise.
    truth = (event.particle + 1).astype(np.uint64)
    if n_noise := round(noise * len(truth)):
        noise_position, noise_id = noise_hits(n_noise, rng)
        position, geometry_id = np.concatenate([position, noise_position]), np.append(geometry_id, noise_id)
        truth = np.append(truth, np.zeros(n_noise, dtype=np.uint64))
    sort = np.argsort(geometry_id, kind="stable")
    position, geometry_id, truth = position[sort], geometry_id[sort], truth[sort]
    counts = np.bincount(event.particle, minlength=event.n_particles)
    seen = np.flatnonzero(counts)
    return measured_event(
        position=position,
        geometry_id=geometry_id,
        truth=truth,
        particle_id=(seen + 1).astype(np.uint64),
        vertex=event.vertex[seen],
        momentum=event.momentum[seen],
        charge=event.charge[seen],
        pdg=event.pdg[seen],
        nhits=counts[seen],
    )
