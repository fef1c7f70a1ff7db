"""Track parameters as regression targets, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.event_data import Particles, TruthLinks
from mltrack_plugin.event_data.base import Array


def _perigee_z0(particles: Particles) -> Array:
    """z at the point of the straight line closest to the beam axis; exact for particles from the axis, and for
    displaced ones up to the bending between axis and vertex."""
    along = (particles.vx * particles.px + particles.vy * particles.py) / particles.pt
    return np.asarray(particles.vz - along * particles.pz / particles.pt)


def _perigee_d0(particles: Particles) -> Array:
    """Transverse impact parameter of the straight line, signed as in ACTS (positive to the left of the momentum)."""
    return np.asarray((particles.vy * particles.px - particles.vx * particles.py) / particles.pt)


#: Name -> (unit, value per particle). REDVID: pt, pz, q are the radial, pitch and azimuthal coefficients.
PARAMETERS: dict[str, tuple[str, Callable[[Particles], Array]]] = {
    "phi": ("rad", lambda p: np.arctan2(p.py, p.px)),
    "sin_phi": ("1", lambda p: p.py / p.pt),
    "cos_phi": ("1", lambda p: p.px / p.pt),
    "theta": ("rad", lambda p: np.arctan2(p.pt, p.pz)),
    "eta": ("1", lambda p: np.clip(p.eta, -6.0, 6.0)),
    "pt": ("GeV", lambda p: p.pt),
    "log_pt": ("log(GeV)", lambda p: np.log(p.pt)),
    "p": ("GeV", lambda p: np.hypot(p.pt, p.pz)),
    "pz": ("GeV", lambda p: p.pz),
    "inverse_p": ("1/GeV", lambda p: 1.0 / np.hypot(p.pt, p.pz)),
    "q": ("e", lambda p: p.q),
    "q_over_pt": ("e/GeV", lambda p: p.q / p.pt),
    "q_over_p": ("e/GeV", lambda p: p.q / np.sqrt(p.pt**2 + p.pz**2)),
    "d0": ("mm", _perigee_d0),
    "z0": ("mm", _perigee_z0),
}


def hit_targets(particles: Particles, links: TruthLinks, names: Sequence[str]) -> tuple[Array, Array]:
    """Targets of every hit.

    Returns:
        (n_hits, K) float32 targets, zero for noise; (n_hits,) int64 row of the hit's particle, -1 for noise.

    Raises:
        ConfigurationError: if a name is unknown.
    """
    for name in names:
        if name not in PARAMETERS:
            raise ConfigurationError(f"no track parameter {name!r}. {did_you_mean(name, PARAMETERS)}")
    table = np.stack([np.asarray(PARAMETERS[name][1](particles), dtype=np.float32) for name in names], axis=1)
    if not len(particles):
        return np.zeros((len(links), len(names)), dtype=np.float32), np.full(len(links), -1)
    row = particles.rows(links.particle_id)
    return np.where(row[:, None] >= 0, table[row], np.float32(0.0)), row
