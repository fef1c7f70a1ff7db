"""Events of helices in a toy detector of barrels and discs, for the tests of the repair."""

from types import SimpleNamespace

import numpy as np

from mltrack_plugin.event_data import Hits
from mltrack_plugin.helix import helix_positions

BARRELS = np.array([32.0, 72.0, 116.0, 172.0, 260.0, 360.0, 500.0, 660.0])
DISCS = np.array([600.0, 700.0, 820.0, 960.0, 1100.0, 1300.0])
SIGMA = 0.02
FIELD = 2.0


def crossings(perigee, max_z=1000.0):
    """Hits of one helix: (n, 3) positions and (n,) layers, barrels from 0, discs from 100 (+z) and 200 (-z)."""
    s = np.linspace(1, 2000, 40_001)
    points = helix_positions(np.repeat([perigee], len(s), axis=0), FIELD, s)
    r, z = np.hypot(points[:, 0], points[:, 1]), points[:, 2]
    found = []

    def add(values, target, layer, inside):
        later = np.flatnonzero((values[:-1] < target) & (values[1:] >= target))
        if len(later):
            i = later[0]
            at = s[i] + (target - values[i]) / (values[i + 1] - values[i]) * (s[1] - s[0])
            point = helix_positions([perigee], FIELD, [at])[0]
            if inside(point):
                found.append((at, point, layer))

    for number, radius in enumerate(BARRELS):
        add(r, radius, number, lambda p: abs(p[2]) < 550)
    for number, position in enumerate(DISCS):
        for sign, first in ((1, 100), (-1, 200)):
            add(sign * z, position, first + number, lambda p: 30 < np.hypot(p[0], p[1]) < 180)
    found.sort(key=lambda entry: entry[0])
    return np.array([p for _, p, _ in found]), np.array([layer for _, _, layer in found])


def perigees(n, seed, eta=1.0, pt=(0.7, 5.0)):
    """(n, 5) parameters of prompt tracks, well apart in azimuth."""
    rng = np.random.default_rng(seed)
    phi = -3.1 + 6.2 * (np.arange(n) + rng.uniform(0.2, 0.8, n)) / n
    theta = 2 * np.arctan(np.exp(-rng.uniform(-eta, eta, n)))
    qop = np.sin(theta) / rng.uniform(*pt, n) * rng.choice([-1, 1], n)
    return np.stack([np.zeros(n), rng.normal(0, 30, n), phi, theta, qop], axis=1)


def make(parameters, seed=0, noise=0, smear=SIGMA):
    """Hits, owner (-1 = noise) and order along the track of each hit, in shuffled order, and their errors."""
    rng = np.random.default_rng(seed)
    parts = [crossings(p) for p in parameters]
    position = np.concatenate([p for p, _ in parts])
    layer = np.concatenate([layer for _, layer in parts])
    owner = np.repeat(np.arange(len(parts)), [len(p) for p, _ in parts])
    step = np.concatenate([np.arange(len(p)) for p, _ in parts])
    radius = BARRELS[rng.integers(len(BARRELS), size=noise)]
    phi, z = rng.uniform(-np.pi, np.pi, noise), rng.uniform(-550, 550, noise)
    position = np.concatenate([position, np.stack([radius * np.cos(phi), radius * np.sin(phi), z], axis=1)])
    layer = np.concatenate([layer, np.searchsorted(BARRELS, radius)])
    owner, step = (np.concatenate([x, np.full(noise, -1)]) for x in (owner, step))
    return finish(position, layer, owner, step, rng.permutation(len(owner)), rng, smear)


def finish(position, layer, owner, step, order, rng, smear=SIGMA):
    """The event with smeared positions, along the measured directions of each layer."""
    position, layer, owner, step = position[order], layer[order], owner[order], step[order]
    disc = layer >= 100
    r, phi = np.hypot(position[:, 0], position[:, 1]), np.arctan2(position[:, 1], position[:, 0])
    across, along = rng.normal(0, 1, (2, len(r))) * smear
    phi = phi + across / r
    r, z = r + np.where(disc, along, 0), position[:, 2] + np.where(disc, 0, along)
    hits = Hits(
        np.arange(len(r)),
        r * np.cos(phi),
        r * np.sin(phi),
        z,
        volume_id=np.ones(len(r), dtype=np.int32) + disc,
        layer_id=layer,
    )
    sigmas = np.stack([np.full(len(r), SIGMA), np.where(disc, SIGMA, 0), np.where(disc, 0, SIGMA)], axis=1)
    return SimpleNamespace(hits=hits, owner=owner, step=step, layer=layer, sigmas=sigmas)
