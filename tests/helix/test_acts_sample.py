"""True groups of hits of an event that ACTS simulated: the fit gives the generated parameters."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from helix_oracle import HitResolution, fit_helices

from mltrack_plugin.event_data import ProtoTracks
from mltrack_plugin.helix import GEV_PER_TESLA_MM

SAMPLE = (
    Path(os.environ.get("MLTRACK_SAMPLE_DATA", Path(__file__).parents[3] / "shared" / "data")) / "acts_csv"
)


def columns(name, wanted):
    with (SAMPLE / f"event000000000-{name}.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {c: np.array([row[c] for row in rows]) for c in wanted}


def perigee_of(vertex, momentum, q, field):
    """Perigee parameters of particles that start at a vertex, straight from the definition."""
    p = np.linalg.norm(momentum, axis=1)
    phi = np.arctan2(momentum[:, 1], momentum[:, 0])
    theta = np.arccos(momentum[:, 2] / p)
    omega = -GEV_PER_TESLA_MM * field * q / np.hypot(momentum[:, 0], momentum[:, 1])
    centre = vertex[:, :2] + np.stack([-np.sin(phi), np.cos(phi)], axis=1) / omega[:, None]
    distance = np.hypot(*centre.T)
    closest = centre * (1 - np.abs(1 / omega) / distance)[:, None]
    left = -(closest - centre) * omega[:, None]
    phi0 = np.arctan2(-left[:, 0], left[:, 1])
    d0 = np.sum(closest * left, axis=1)
    s = ((phi - phi0 + np.pi) % (2 * np.pi) - np.pi) / omega
    return np.stack([d0, vertex[:, 2] - s / np.tan(theta), phi0, theta, q / p], axis=1)


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the ACTS sample event is not there (MLTRACK_SAMPLE_DATA)")
def test_generated_parameters_of_an_acts_event_are_restored(toy):
    hits = columns("hits", ("particle_id", "tx", "ty", "tz"))
    particles = columns("particles_initial", ("particle_id", "vx", "vy", "vz", "px", "py", "pz", "q"))
    ids, labels = np.unique(hits["particle_id"].astype(np.uint64), return_inverse=True)
    tracks = ProtoTracks.from_labels(labels.astype(np.int64), min_hits=5)
    positions = np.stack([hits[c].astype(float) for c in ("tx", "ty", "tz")], axis=1)
    result = fit_helices(
        positions, tracks.hit_indices, tracks.offsets, HitResolution(0.05, 0.05, 0.05), toy.field
    )

    of_track = ids[labels[tracks.hit_indices[tracks.offsets[:-1]]]]
    particle_ids = particles["particle_id"].astype(np.uint64)
    order = np.argsort(particle_ids)
    row = order[np.searchsorted(particle_ids, of_track, sorter=order)]
    vertex, momentum = (
        np.stack([particles[c].astype(float)[row] for c in names], axis=1)
        for names in (("vx", "vy", "vz"), ("px", "py", "pz"))
    )
    truth = perigee_of(vertex, momentum, particles["q"].astype(float)[row], toy.field)

    assert len(tracks) > 900
    assert (result.ndf > 0).all()
    assert (np.sign(result.parameters[:, 4]) == np.sign(truth[:, 4])).all()
    # True positions in single precision, no material: what remains is rounding.
    residual = np.abs(toy.difference(result.parameters, truth))
    assert np.quantile(residual, 0.95, axis=0) == pytest.approx(0, abs=1e-3)
    assert np.quantile(residual[:, 4] / np.abs(truth[:, 4]), 0.95) < 1e-4
