"""The recurrent assignment to track slots."""

import pytest
import torch

from mltrack_plugin.models import build_network


@pytest.fixture
def network():
    torch.manual_seed(2)
    return build_network("gru-assignment", {"slots": 5, "hidden": 8}).eval()


def test_three_bidirectional_layers_and_a_softmax_over_slots(network):
    assert network.gru.num_layers == 3
    assert network.gru.bidirectional
    assert network.fc.out_features == 6
    hits, mask = network.example_inputs(1)
    probability = network(hits, mask)
    assert probability.shape == (2, 12, 6)
    torch.testing.assert_close(probability.sum(2), torch.ones(2, 12))


def test_padding_never_changes_real_hits(network):
    hits, mask = network.example_inputs(2)
    together = network(hits, mask)
    alone = network(hits[1:2, :9], mask[1:2, :9])
    torch.testing.assert_close(together[1, :9], alone[0])
    changed = hits.clone()
    changed[1, 9:] = 77.0
    torch.testing.assert_close(network(changed, mask)[1, :9], alone[0])


def test_every_hit_sees_the_whole_event(network):
    hits, mask = network.example_inputs(3)
    before = network(hits, mask)
    changed = hits.clone()
    changed[0, 6, 2] += 300.0
    difference = (network(changed, mask) - before).abs().sum(2)
    assert (difference[0] > 0).all()
    assert (difference[1] == 0).all()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_scripted_network_gives_the_same_with_and_without_padding(network):
    scripted = torch.jit.script(network)
    hits, mask = network.example_inputs(4)
    torch.testing.assert_close(scripted(hits, mask), network(hits, mask))
    torch.testing.assert_close(scripted(hits[:1], mask[:1]), network(hits[:1], mask[:1]))
