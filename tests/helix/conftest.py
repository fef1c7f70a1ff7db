"""Helices drawn at random and their hits, with the truth known exactly."""

from types import SimpleNamespace

import numpy as np
import pytest
from helix_oracle import fit_helices

from mltrack_plugin.helix import GEV_PER_TESLA_MM, helix_positions

FIELD = 2.0


def draw_helices(rng, n, pt=(0.1, 100.0), eta=3.0):
    """(n, 5) d0, z0, phi, theta, q/p: both charges, log-uniform pT, flat eta, 1 mm beam spot."""
    theta = 2 * np.arctan(np.exp(-rng.uniform(-eta, eta, n)))
    transverse = np.exp(rng.uniform(*np.log(pt), n))
    qop = rng.choice([-1.0, 1.0], n) * np.sin(theta) / transverse
    return np.stack(
        [rng.normal(0, 1, n), rng.normal(0, 50, n), rng.uniform(-np.pi, np.pi, n), theta, qop], axis=1
    )


def draw_hits(helices, hits_per_track, field=FIELD):
    """Hits evenly along each helix, from 3% to all of 1 m of path, or less than half a turn."""
    radius = np.abs(np.sin(helices[:, 3]) / helices[:, 4]) / (GEV_PER_TESLA_MM * abs(field))
    reach = np.minimum(1000.0, 2.8 * radius)
    s = np.linspace(0.03, 1.0, hits_per_track) * reach[:, None]
    return helix_positions(np.repeat(helices, hits_per_track, axis=0), field, s.ravel())


def smear(rng, positions, rphi, r, z):
    """Gaussian measurement errors along r-phi, r and z."""
    phi = np.arctan2(positions[:, 1], positions[:, 0])
    along, radial, axial = rng.normal(size=(3, len(positions))) * np.array([[rphi], [r], [z]])
    shift = [radial * np.cos(phi) - along * np.sin(phi), radial * np.sin(phi) + along * np.cos(phi), axial]
    return positions + np.stack(shift, axis=1)


def fit(positions, hits_per_track, resolution, field=FIELD):
    """Fit tracks of equal length that follow each other in ``positions``."""
    n = len(positions)
    return fit_helices(positions, np.arange(n), np.arange(0, n + 1, hits_per_track), resolution, field)


def difference(parameters, truth):
    """Parameters minus truth, the angle phi wrapped."""
    result = parameters - truth
    result[:, 2] = (result[:, 2] + np.pi) % (2 * np.pi) - np.pi
    return result


@pytest.fixture(scope="session")
def toy():
    """The functions above, and the field in T."""
    return SimpleNamespace(
        field=FIELD,
        draw_helices=draw_helices,
        draw_hits=draw_hits,
        smear=smear,
        fit=fit,
        difference=difference,
    )
