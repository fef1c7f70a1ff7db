"""Arrays of an ACTS event, without ACTS."""

import logging

import numpy as np

from mltrack_plugin.simulation.acts_chain import detector_event


def columns(n):
    hits = {name: np.arange(n, dtype=np.float64) for name in ("x", "y", "z", "time")}
    hits |= {name: np.full(n, 7) for name in ("volume_id", "layer_id", "surface_id")}
    hits["particle_id"] = np.arange(n) % 2
    names = ("vx", "vy", "vz", "px", "py", "pz", "charge", "pdg_id")
    return hits, {name: np.arange(3.0) for name in names}


def test_particles_without_hits_are_left_out():
    event = detector_event(*columns(4))
    assert len(event.position) == 4
    np.testing.assert_array_equal(event.particle, [0, 1, 0, 1])
    np.testing.assert_array_equal(event.charge, [0.0, 1.0])


def test_hits_without_a_position_are_no_hits(caplog):
    hits, particles = columns(4)
    hits["y"][1] = np.nan
    hits["z"][3] = np.inf
    with caplog.at_level(logging.WARNING):
        event = detector_event(hits, particles)
    np.testing.assert_array_equal(event.position[:, 0], [0.0, 2.0])
    # Particle 1 had only these two hits.
    np.testing.assert_array_equal(event.charge, [0.0])
    assert "2 of 4" in caplog.text
