"""build-graph, gnn-segments, segments-to-tracks, gnn-hits: from hits to candidates, and what is refused."""

import numpy as np
import pytest
import torch
from barrel_events import event, lines

from mltrack_plugin.algorithms.heptrkx.build_graph import BuildGraph
from mltrack_plugin.algorithms.heptrkx.gnn_hits import GnnHits
from mltrack_plugin.algorithms.heptrkx.gnn_segments import GnnSegments
from mltrack_plugin.algorithms.heptrkx.segments_to_tracks import SegmentsToTracks
from mltrack_plugin.archives.archive import save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.errors import EventError, ModelError
from mltrack_plugin.event_data import HitGraph, Hits, HitSelection, ProtoTracks
from mltrack_plugin.framework.event_store import EventStore
from mltrack_plugin.models import build_network
from mltrack_plugin.published.heptrkx.graphs.construct import true_segments

FEATURES = {"gnn-segments": ("r", "phi", "z"), "gnn-hits": ("r", "phi", "z", "seed")}


@pytest.fixture(scope="module", params=["generic"])
def archives(request, tmp_path_factory):
    """Untrained networks as archives, by architecture."""
    found = {}
    for name, features in FEATURES.items():
        torch.manual_seed(2)
        network = build_network(name, {"hidden": 8, "iterations": 2}).eval()
        card = ModelCard(
            name=name,
            kind="graph",
            architecture=name,
            hyperparameters={"hidden": 8, "iterations": 2},
            features=features,
            units={"r": "mm", "phi": "rad", "z": "mm", "seed": "1"},
            coordinate_system="cylindrical",
            detectors=(request.param,),
            outputs=("score",),
        )
        found[name] = str(save_torchscript(network, card, tmp_path_factory.mktemp("models") / f"{name}.pt"))
    return found


def store_of(**collections):
    store = EventStore(0, "test")
    for key, value in collections.items():
        store.add(key, value)
    return store


def run(store, *algorithms):
    for algorithm in algorithms:
        algorithm.initialize()
        algorithm.execute(store)
    return store


def barrel_store(n):
    hits, truth = event(lines(n))
    return store_of(hits=hits), truth


def no_hits():
    none = np.zeros(0)
    return Hits(none.astype(int), none, none, none, volume_id=none.astype(int), layer_id=none.astype(int))


def endcap_hits():
    return Hits([1, 2], [50.0, 60.0], [0.0, 0.0], [600.0, 700.0], volume_id=[9, 9], layer_id=[2, 4])


def far_hits():
    """Two barrel hits with more than 300 mm between them."""
    return Hits([1, 2], [32.0, -72.0], [0.0, 0.0], [-300.0, 300.0], volume_id=[8, 8], layer_id=[2, 4])


def test_scores_of_all_segments_as_the_network_gives_them(archives):
    store, _ = barrel_store(6)
    run(store, BuildGraph(), GnnSegments(model=archives["gnn-segments"]))
    graph, scored = store.get("hit_graph", HitGraph), store.get("scored_graph", HitGraph)
    np.testing.assert_array_equal(graph.edges, scored.edges)
    torch.manual_seed(2)
    network = build_network("gnn-segments", {"hidden": 8, "iterations": 2}).eval()
    hits = store.get("hits", Hits)
    nodes = torch.from_numpy(np.stack([hits.r, hits.phi, hits.z], axis=1)[graph.rows])
    with torch.inference_mode():
        wanted = network(nodes, torch.from_numpy(graph.edges.copy()))[-1]
    np.testing.assert_allclose(scored.edge_score, wanted, rtol=1e-4)


@pytest.mark.parametrize("method", ["walk", "components"])
def test_true_segments_give_the_true_tracks(method):
    store, truth = barrel_store(15)
    run(store, BuildGraph())
    graph = store.get("hit_graph", HitGraph)
    true = true_segments(graph.edges, truth.particle_id[graph.rows])
    store.add("scored_graph", graph.with_scores(np.where(true, 0.9, 0.1)))
    run(store, SegmentsToTracks(method=method))
    tracks = store.get("proto_tracks", ProtoTracks)
    assert len(tracks) == 15
    for i in range(15):
        assert len(np.unique(truth.particle_id[tracks.hits_of(i)])) == 1
    np.testing.assert_array_equal(tracks.n_hits, 10)
    np.testing.assert_allclose(tracks.membership, 0.9)


def test_hits_that_preprocessing_left_out_take_no_part(archives):
    store, _ = barrel_store(4)
    store.add("selected_hits", HitSelection(np.arange(0, 40, 2), np.array([]), np.array([], dtype=int)))
    run(store, BuildGraph())
    np.testing.assert_array_equal(store.get("hit_graph", HitGraph).rows, np.arange(0, 40, 2))


@pytest.mark.parametrize(("hits", "nodes"), [(no_hits(), 0), (endcap_hits(), 0), (far_hits(), 2)])
@pytest.mark.parametrize("method", ["walk", "components"])
def test_events_without_barrel_hits_or_without_segments_have_no_tracks(archives, hits, nodes, method):
    store = store_of(hits=hits)
    run(store, BuildGraph(), GnnSegments(model=archives["gnn-segments"]), SegmentsToTracks(method=method))
    scored = store.get("scored_graph", HitGraph)
    assert (len(scored), scored.n_edges, len(scored.edge_score)) == (nodes, 0, 0)
    assert len(store.get("proto_tracks", ProtoTracks)) == 0


@pytest.mark.parametrize("hits", [no_hits(), endcap_hits(), far_hits()])
def test_events_without_seeds_have_no_candidates(archives, hits):
    store = run(store_of(hits=hits), GnnHits(model=archives["gnn-hits"]))
    assert len(store.get("proto_tracks", ProtoTracks)) == 0


@pytest.mark.parametrize("batch", [1, 256])
def test_seeds_and_all_the_hits_that_a_network_likes_are_the_tracks(archives, batch):
    # Every hit is good enough: on each layer the best one of the seed's graph is taken.
    store, _ = barrel_store(8)
    run(store, GnnHits(model=archives["gnn-hits"], min_score=0.0, batch=batch))
    tracks = store.get("proto_tracks", ProtoTracks)
    assert 1 <= len(tracks) <= 8
    assert tracks.n_hits.max() <= 10
    assert ((tracks.membership > 0) & (tracks.membership < 1)).all()


def test_batches_of_seeds_do_not_change_the_result(archives):
    found = []
    for batch in (1, 3, 256):
        store, _ = barrel_store(8)
        run(store, GnnHits(model=archives["gnn-hits"], min_score=0.0, batch=batch))
        found.append(store.get("proto_tracks", ProtoTracks))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].hit_indices, other.hit_indices)
        np.testing.assert_allclose(found[0].membership, other.membership, rtol=1e-5)


def test_a_network_of_another_architecture_is_refused(archives):
    with pytest.raises(ModelError, match=r"architecture 'gnn-hits'; gnn-segments understands gnn-segments"):
        GnnSegments(model=archives["gnn-hits"]).initialize()
    with pytest.raises(ModelError, match=r"architecture 'gnn-segments'; gnn-hits understands gnn-hits"):
        GnnHits(model=archives["gnn-segments"]).initialize()


def test_a_network_of_another_kind_is_refused():
    with pytest.raises(
        ModelError, match=r"reads the hits of an event, but gnn-segments needs .* graphs of hits"
    ):
        GnnSegments(model="encreg-trackml-10-50").initialize()


def test_another_detector_is_refused(archives):
    with pytest.raises(ModelError, match="was trained for generic"):
        GnnSegments(model=archives["gnn-segments"], detector="redvid").initialize()


def test_segments_without_scores_are_an_error():
    store, _ = barrel_store(2)
    run(store, BuildGraph())
    with pytest.raises(EventError, match="have no scores; run gnn-segments"):
        run(store, SegmentsToTracks(graph="hit_graph"))


def test_too_many_segments_are_an_error_that_says_what_to_change():
    store, _ = barrel_store(8)
    with pytest.raises(
        EventError, match=r"80 hits give \d+ segments, more than max_edges = 10.*smaller max_dphi"
    ):
        run(store, BuildGraph(max_edges=10))
