"""The graph networks: published sizes, the published matrix formulation, TorchScript, graphs without edges."""

import pytest
import torch
from torch import nn

from mltrack_plugin.models import build_network
from mltrack_plugin.models.gnn_layers import incidence, weighted_sum

NETWORKS = ("gnn-segments", "gnn-hits")


def network(name, seed=1, **settings):
    torch.manual_seed(seed)
    return build_network(name, settings).eval()


def shapes(net):
    return {name: tuple(p.shape) for name, p in net.named_parameters() if name.endswith("weight")}


def test_segment_classifier_has_the_published_layers():
    net = network("gnn-segments")
    assert sum(p.numel() for p in net.parameters()) == 6881
    assert net.iterations == 4
    assert shapes(net) == {
        "input.weight": (32, 3),
        "edge.up.weight": (32, 70),
        "edge.down.weight": (1, 32),
        "node.up.weight": (32, 105),
        "node.down.weight": (32, 32),
    }


def test_hit_classifier_has_the_published_layers():
    net = network("gnn-hits")
    assert sum(p.numel() for p in net.parameters()) == 26502
    assert net.iterations == 7
    assert shapes(net) == {
        "input.weight": (64, 4),
        "edge.up.weight": (64, 136),
        "edge.down.weight": (1, 64),
        "node.up.weight": (64, 204),
        "node.down.weight": (64, 64),
        "output.weight": (1, 68),
    }


def reference(net, nodes, edges, hits):
    """The published formulation: dense association matrices (n, m) of nodes to incoming and outgoing edges."""
    n, m = len(nodes), edges.shape[1]
    outgoing, incoming = torch.zeros(n, m), torch.zeros(n, m)
    outgoing[edges[0], torch.arange(m)] = 1.0
    incoming[edges[1], torch.arange(m)] = 1.0
    edge_network = nn.Sequential(net.edge.up, nn.Tanh(), net.edge.down, nn.Sigmoid())
    node_network = nn.Sequential(net.node.up, nn.Tanh(), net.node.down, nn.Tanh())

    def edge_weights(h):
        return edge_network(torch.cat([outgoing.T @ h, incoming.T @ h], dim=1)).squeeze(1)

    x = nodes / net.input_scale
    h = torch.cat([torch.tanh(net.input(x)), x], dim=1)
    weights = []
    for _ in range(net.iterations):
        weights.append(edge_weights(h))
        from_inner = (incoming * weights[-1]) @ (outgoing.T @ h)
        from_outer = (outgoing * weights[-1]) @ (incoming.T @ h)
        h = torch.cat([node_network(torch.cat([from_inner, from_outer, h], dim=1)), x], dim=1)
    if hits:
        return torch.sigmoid(net.output(h)).squeeze(1)
    return torch.stack([*weights, edge_weights(h)])


@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_published_formulation(name):
    net = network(name)
    nodes, edges = net.example_inputs(3)
    with torch.inference_mode():
        torch.testing.assert_close(net(nodes, edges), reference(net, nodes, edges, name == "gnn-hits"))


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_are_those_of_the_published_formulation(name):
    net = network(name)
    nodes, edges = net.example_inputs(4)
    ours = torch.autograd.grad(net(nodes, edges).sum(), list(net.parameters()))
    theirs = torch.autograd.grad(
        reference(net, nodes, edges, name == "gnn-hits").sum(), list(net.parameters())
    )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_order_of_segments_does_not_matter(name):
    net = network(name)
    nodes, edges = net.example_inputs(5)
    order = torch.randperm(edges.shape[1])
    with torch.inference_mode():
        first, second = net(nodes, edges), net(nodes, edges[:, order])
    torch.testing.assert_close(first if name == "gnn-hits" else first[:, order], second)


@pytest.mark.parametrize("name", NETWORKS)
def test_joined_graphs_do_not_see_each_other(name):
    net = network(name)
    parts = [net.example_inputs(seed) for seed in (6, 7)]
    nodes = torch.cat([part[0] for part in parts])
    edges = torch.cat([parts[0][1], parts[1][1] + len(parts[0][0])], dim=1)
    with torch.inference_mode():
        torch.testing.assert_close(net(nodes, edges), torch.cat([net(*part) for part in parts], dim=-1))


@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_without_edges_and_without_hits(name):
    net = network(name)
    nodes, none = net.example_inputs(8)[0], torch.zeros(2, 0, dtype=torch.int64)
    with torch.inference_mode():
        for hits in (nodes, nodes[:0]):
            result = net(hits, none)
            assert result.shape == ((len(hits),) if name == "gnn-hits" else (5, 0))
            assert torch.isfinite(result).all()


def test_mirror_images_get_the_same_scores_of_the_same_weights():
    plain, mirrored = network("gnn-hits"), network("gnn-hits", mirrors=True)
    assert sum(p.numel() for p in mirrored.parameters()) == 26502
    nodes, edges = plain.example_inputs(8)
    nodes[:, 1:3] *= torch.where(torch.arange(len(nodes)) % 3 == 0, -1.0, 1.0)[:, None]
    with torch.inference_mode():
        scores, logits = mirrored(nodes, edges), []
        for signs in ([1.0, 1.0], [-1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]):
            image = nodes * torch.tensor([1.0, *signs, 1.0])
            torch.testing.assert_close(mirrored(image, edges), scores)
            logits.append(plain.logits(image, edges)[0])
    assert not torch.allclose(logits[0], logits[1], atol=1e-2)
    torch.testing.assert_close(scores, torch.sigmoid(torch.stack(logits).mean(dim=0)))


def test_weighted_sum_by_hand():
    h = torch.tensor([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    edges = torch.tensor([[1, 0, 0], [2, 2, 1]])
    into = incidence(edges[1], 3)
    result = weighted_sum(h, torch.tensor([0.5, 1.0, 2.0]), edges[0], into)
    torch.testing.assert_close(result, torch.tensor([[0.0, 0.0], [2.0, 20.0], [2.0, 20.0]]))


def test_start_from_differences_ignores_a_common_shift_of_both_hits():
    net = network("gnn-segments")
    net.edge.start_from_differences([10.0, 40.0, 10.0])
    weight = net.edge.up.weight[:16]
    torch.testing.assert_close(weight[:, 32:35], -weight[:, 67:70])
    assert weight[:, 33].std() > 20
