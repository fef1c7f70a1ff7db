"""TransformerTrackFinding: from space points to proto tracks of measurements, and what the user gets of it."""

import numpy as np
import pytest

acts = pytest.importorskip("acts")

import acts.examples as examples  # noqa: E402
from acts_sequences import Grouping, Put, Spy, Truth, geometry, lists, simulated, space_points_of  # noqa: E402

from mltrack_plugin.acts import TransformerTrackFinding  # noqa: E402
from mltrack_plugin.acts.space_points import MeasurementLinks, acts_proto_tracks, hits_of  # noqa: E402
from mltrack_plugin.errors import EventError  # noqa: E402
from mltrack_plugin.event_data import Hits, ProtoTracks, Tracks  # noqa: E402

PROTO_TRACKS = {"transformer_proto_tracks": examples.ProtoTrackContainer}


def true_lists(truth, event):
    particles = truth.spy.seen[event]
    return {
        frozenset(m for m, p in particles.items() if p == particle) for particle in set(particles.values())
    }


def test_proto_tracks_are_the_measurements_of_each_track():
    s, truth = simulated(events=2), Truth()
    s.addAlgorithm(truth.spy)
    s.addAlgorithm(TransformerTrackFinding([Grouping(truth.labels)]))
    spy = Spy(lists, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    for event in (0, 1):
        assert {frozenset(entry) for entry in spy.seen[event]} == true_lists(truth, event)
        assert len(spy.seen[event]) == 8


def test_space_points_in_another_order_lead_to_their_measurements_and_noise_to_none():
    s, truth = simulated(), Truth()
    s.addAlgorithm(truth.spy)
    # Every second hit of the last particle, say, is noise: it is a space point, but on no track.
    order, noise = [], set()

    def permuted(source):
        order.extend(np.random.default_rng(1).permutation(len(source)).tolist())
        return space_points_of(source, [[i] for i in order])

    def labels(store, hits):
        particles = truth.spy.seen[0]
        noise.update([m for m, p in particles.items() if p == 8][::2])
        return [-1 if m in noise else particles[m] for m in order]

    s.addAlgorithm(Put(permuted, acts.SpacePointContainer, "spacepoints", "permuted"))
    stores = []
    s.addAlgorithm(
        TransformerTrackFinding([Grouping(labels)], inputSpacePoints="permuted", onEvent=stores.append)
    )
    spy = Spy(lists, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    assert order != sorted(order)
    assert noise
    assert stores[0].get("measurement_links", MeasurementLinks).indices.tolist() == order
    assert {frozenset(entry) for entry in spy.seen[0]} == {t - noise for t in true_lists(truth, 0)}


def test_geometry_ids_of_hits_are_those_of_their_measurements():
    s = simulated()
    s.addAlgorithm(
        Put(
            lambda source: space_points_of(source, [[i] for i in reversed(range(len(source)))]),
            acts.SpacePointContainer,
            "spacepoints",
            "reversed",
        )
    )
    ids = Spy(lambda found: [m.geometryId.value for m in found], measurements=examples.MeasurementContainer)
    s.addAlgorithm(ids)
    stores = []
    grouping = Grouping(lambda store, hits: np.full(len(hits), -1))
    s.addAlgorithm(
        TransformerTrackFinding(
            [grouping], inputSpacePoints="reversed", onEvent=stores.append, trackingGeometry=geometry()
        )
    )
    s.run()
    hits = stores[0].get("hits", Hits)
    assert hits.geometry_id.tolist() == ids.seen[0][::-1]
    assert (hits.volume_id == hits.geometry_id >> np.uint64(56)).all()


def test_strip_space_points_carry_all_their_measurements_each_once():
    s = simulated()
    groups = [[0, 1], [1, 2], [3], [4, 5]]
    s.addAlgorithm(
        Put(
            lambda source: space_points_of(source, groups),
            acts.SpacePointContainer,
            "spacepoints",
            "strips",
        )
    )
    stores = []
    grouping = Grouping(lambda store, hits: [7, 7, -1, 7])
    s.addAlgorithm(TransformerTrackFinding([grouping], inputSpacePoints="strips", onEvent=stores.append))
    spy = Spy(lists, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    links = stores[0].get("measurement_links", MeasurementLinks)
    assert links.offsets.tolist() == [0, 2, 4, 5, 7]
    assert not links.one_to_one
    assert [sorted(entry) for entry in spy.seen[0]] == [[0, 1, 2, 4, 5]]


def test_measurements_are_listed_from_the_inside_out():
    r = np.array([50.0, 10.0, 30.0, 20.0, 40.0])
    hits = Hits(hit_id=np.arange(5), x=r, y=np.zeros(5), z=np.zeros(5))
    links = MeasurementLinks(np.arange(6), np.array([9, 8, 7, 6, 5]))
    container, too_long = acts_proto_tracks(ProtoTracks.from_lists([[0, 1, 2], [3, 4]]), hits, links)
    assert lists(container) == [[8, 7, 9], [6, 5]]
    assert too_long == 0


def test_candidates_that_acts_would_miscount_are_left_out(caplog):
    s = simulated(particles=30)
    s.addAlgorithm(
        TransformerTrackFinding([Grouping(lambda store, hits: (np.arange(len(hits)) < 256).astype(int))])
    )
    spy = Spy(lists, **PROTO_TRACKS)
    s.addAlgorithm(spy)
    s.run()
    (only,) = spy.seen[0]
    assert set(only).isdisjoint(range(256))
    assert "1 candidates of more than 255 space points are left out" in caplog.text


def test_what_onEvent_receives_outlives_the_run():
    s = simulated(events=4)
    sums = Spy(lambda points: float(np.sum(points.x, dtype=np.float64)), spacepoints=acts.SpacePointContainer)
    s.addAlgorithm(sums)
    stores = []
    finder = TransformerTrackFinding(model="encreg-trackml-10-50", onEvent=stores.append)
    s.addAlgorithm(finder)
    s.run()
    assert [store.event_number for store in stores] == [0, 1, 2, 3]
    for store in stores:
        hits, tracks = store.get("hits", Hits), store.get("tracks", Tracks)
        assert hits.x.sum(dtype=np.float64) == sums.seen[store.event_number]
        assert 4 <= len(tracks) <= 12
        assert tracks.quality is not None
        assert tracks.fitted.any()
    assert [step.calls for step in finder.times] == [4] * len(finder.times)
    assert [finder.times[0].name, finder.times[-1].name] == ["read the whiteboard", "write the whiteboard"]
    assert "encreg" in [step.name for step in finder.times]


def test_algorithms_after_the_wanted_tracks_do_not_run():
    finder = TransformerTrackFinding(tracks="candidate_tracks")
    names = [step.name for step in finder.times]
    assert "build-tracks" in names
    assert "fit-kalman" not in names


def test_more_threads_of_the_sequencer_give_the_same_tracks():
    seen = []
    for threads in (1, 3):
        s = simulated(events=6, threads=threads)
        s.addAlgorithm(TransformerTrackFinding())
        spy = Spy(lists, **PROTO_TRACKS)
        s.addAlgorithm(spy)
        s.run()
        seen.append(spy.seen)
    assert seen[0] == seen[1]
    assert sorted(seen[0]) == list(range(6))
    assert all(seen[0].values())


def test_torch_threads_of_the_user_stay(monkeypatch):
    import torch

    used = []
    before = torch.get_num_threads()

    def labels(store, hits):
        used.append(torch.get_num_threads())
        return np.full(len(hits), -1)

    try:
        torch.set_num_threads(2)
        s = simulated()
        s.addAlgorithm(TransformerTrackFinding([Grouping(labels)], threads=1))
        s.run()
        assert used == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("layout", "column", "width"), [("PackedXYZ", "xyzColumn", 3), ("PackedXYZR", "xyzrColumn", 4)]
)
def test_packed_coordinates_are_read_too(layout, column, width):
    container = acts.SpacePointContainer(getattr(acts.SpacePointColumns, layout))
    for _ in range(2):
        container.createSpacePoint()
    values = getattr(container, column)
    assert values.shape == (2, width)
    # Python cannot fill packed columns; a stand-in with the container's attributes can be.
    filled = np.arange(2 * width, dtype=np.float32).reshape(2, width)

    class Packed:
        def __len__(self):
            return 2

    setattr(Packed, column, filled)
    links = MeasurementLinks(np.arange(3), np.arange(2))
    for given, expected in ((container, values), (Packed(), filled)):
        assert (hits_of(given, links, None).positions == expected[:, :3]).all()


def test_space_points_without_positions_are_refused():
    def bare(source):
        made = acts.SpacePointContainer(acts.SpacePointColumns.SourceLinks)
        for point in source:
            made.createSpacePoint().assignSourceLinks(list(point.sourceLinks))
        return made

    s = simulated()
    s.addAlgorithm(Put(bare, acts.SpacePointContainer, "spacepoints", "bare"))
    s.addAlgorithm(TransformerTrackFinding(inputSpacePoints="bare"))
    with pytest.raises(EventError, match="no x, y, z columns"):
        s.run()
