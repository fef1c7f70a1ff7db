"""repair-tracks in a sequence: what it reads and writes, its settings, its errors."""

import subprocess
import sys

import numpy as np
import pytest
from layered_tracks import SIGMA, make, perigees

from mltrack_plugin.algorithms.repair_tracks import RepairTracks
from mltrack_plugin.errors import ConfigurationError, EventDataError
from mltrack_plugin.event_data import Hits, ProtoTracks

VOLUMES = {1: {"rphi": SIGMA, "z": SIGMA}, 2: {"rphi": SIGMA, "r": SIGMA}}

#: Settings that stand for a detector.
ALONE = {"field_z": 2.0, "resolution": VOLUMES[1], "thickness": 0.04}


@pytest.fixture(scope="module")
def broken():
    """Ten tracks whose groups lack a hit each, and one group of two tracks."""
    event = make(perigees(10, seed=2, eta=2.0), seed=3)
    event.labels = np.where(event.step == 3, -1, event.owner)
    event.labels[event.owner == 1] = 0
    return event


def groups_of(store):
    tracks = store.get("repaired_tracks", ProtoTracks)
    return {frozenset(tracks.hits_of(i).tolist()) for i in range(len(tracks))}


def test_broken_groups_become_tracks(broken, run):
    algorithm = RepairTracks(detector="generic", volumes=VOLUMES, thickness=0.005)
    groups = ProtoTracks.from_labels(broken.labels)
    store = run(algorithm, hits=broken.hits, proto_tracks=groups)
    expected = ProtoTracks.from_labels(broken.owner)
    assert groups_of(store) == {frozenset(expected.hits_of(i).tolist()) for i in range(len(expected))}
    membership = store.get("repaired_tracks", ProtoTracks).membership
    assert ((membership >= 0) & (membership <= 1)).all()
    assert membership.mean() > 0.95


def test_keys_can_be_chosen(broken, run):
    algorithm = RepairTracks(
        detector="generic", volumes=VOLUMES, hits="h", proto_tracks="in", repaired_tracks="out"
    )
    store = run(algorithm, **{"h": broken.hits, "in": ProtoTracks.from_labels(broken.labels)})
    assert len(store.get("out", ProtoTracks)) == 10


def test_volumes_may_come_from_geometry_ids(broken, run):
    columns = {name: getattr(broken.hits, name) for name in ("hit_id", "x", "y", "z")}
    volume, layer = (getattr(broken.hits, name).astype(np.uint64) for name in ("volume_id", "layer_id"))
    hits = Hits(
        **columns,
        geometry_id=(volume << np.uint64(56))
        | (layer << np.uint64(36))
        | np.arange(len(volume), dtype=np.uint64),
    )
    groups = ProtoTracks.from_labels(broken.labels)
    algorithm = RepairTracks(detector="generic", volumes=VOLUMES)
    stores = [run(algorithm, hits=h, proto_tracks=groups) for h in (hits, broken.hits)]
    assert groups_of(stores[0]) == groups_of(stores[1])


def test_settings_reach_the_kernels(broken, run):
    groups = ProtoTracks.from_labels(broken.labels)
    algorithm = RepairTracks(detector="generic", volumes=VOLUMES, min_hits=30, seeds=None)
    few = run(algorithm, hits=broken.hits, proto_tracks=groups)
    assert groups_of(few) == set()


def test_tracks_that_are_found_already_stay_as_they_are(broken, run):
    """Their hits are taken out of the groups, even if they would fit another track better."""
    owner = broken.owner
    mine = np.flatnonzero((owner == 4) & (broken.step < 5))
    found = ProtoTracks.from_lists([mine.tolist()])
    groups = ProtoTracks.from_labels(broken.labels)
    algorithm = RepairTracks(detector="generic", volumes=VOLUMES, thickness=0.005, seeds=None)
    store = run(algorithm, hits=broken.hits, proto_tracks=groups, followed_tracks=found)
    tracks = groups_of(store)
    assert frozenset(mine.tolist()) in tracks
    others = {frozenset(np.flatnonzero(owner == k).tolist()) for k in range(10) if k != 4}
    assert others <= tracks


def test_hits_without_layers_or_volumes_are_refused(broken, run):
    bare = Hits(*(getattr(broken.hits, name) for name in ("hit_id", "x", "y", "z")))
    groups = ProtoTracks.from_labels(broken.labels)
    with pytest.raises(EventDataError, match="no volume_id and no geometry_id"):
        run(RepairTracks(**ALONE), hits=bare, proto_tracks=groups)
    with pytest.raises(EventDataError, match="column volume_id"):
        run(RepairTracks(**ALONE, volumes=VOLUMES), hits=bare, proto_tracks=groups)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"field_z": 0}, "leave this algorithm out"),
        ({"min_hits": 2}, "min_hits"),
        ({"attach_chi": 9}, "attach_chi2"),
        ({"thickness": 1}, "thickness"),
    ],
)
def test_wrong_settings_are_named(settings, named):
    with pytest.raises(ConfigurationError, match=named):
        RepairTracks(**settings)


def test_numba_is_imported_by_jobs_only():
    code = (
        "import sys; from mltrack_plugin.cli.main import main\n"
        "from mltrack_plugin.algorithms.repair_tracks import RepairTracks\n"
        "RepairTracks(); print('numba' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "False\n"
    )
