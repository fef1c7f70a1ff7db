"""A small event of known tracks in a solenoid field."""

from types import SimpleNamespace

import numpy as np
import pytest

from mltrack_plugin.event_data import Hits
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.helix import helix_positions

TRACKS = 12
HITS_PER_TRACK = 9


@pytest.fixture
def event():
    """12 tracks with 9 exact hits each, in shuffled order: hits, owner of each hit, parameters."""
    rng = np.random.default_rng(11)
    phi = np.linspace(-3, 3, TRACKS)
    theta = np.linspace(0.7, 2.4, TRACKS)
    qop = np.sin(theta) * np.resize([0.5, -1.0, 0.2], TRACKS)
    parameters = np.stack([np.full(TRACKS, 0.1), np.full(TRACKS, 5.0), phi, theta, qop], axis=1)
    owner = rng.permutation(np.repeat(np.arange(TRACKS), HITS_PER_TRACK))
    s = np.empty(len(owner))
    for track in range(TRACKS):
        s[owner == track] = np.linspace(30, 900, HITS_PER_TRACK)
    x, y, z = helix_positions(parameters[owner], 2.0, s).T
    volume = np.where(np.hypot(x, y) < 300, 8, 13)
    hits = Hits(np.arange(len(x)), x, y, z, volume_id=volume)
    return SimpleNamespace(hits=hits, owner=owner, parameters=parameters)


@pytest.fixture
def run():
    """``run(algorithm, key=value, ...)``: initialize, execute on a new store, finalize; returns the store."""

    def _run(algorithm, **collections):
        store = EventStore(3, "test")
        for key, value in collections.items():
            store.add(key, value)
        algorithm.initialize()
        assert algorithm.execute(store).name == "SUCCESS"
        algorithm.finalize()
        return store

    return _run
