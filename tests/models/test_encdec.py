"""The EncDec network: masks, order, one step at a time equals all at once, greedy decoding, seeds, export."""

import numpy as np
import pytest
import torch

from mltrack_plugin.archives.archive import load_model, save_torchscript
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.models.encdec import EncDec, EncDecConfig, distance_order
from mltrack_plugin.models.encreg import EncRegConfig

OWN = torch.zeros(1, 0, 0, dtype=torch.int64)
HALF = torch.tensor(0.5)


def settings(**changes):
    encoder = {"d_model": 16, "n_heads": 2, "d_ff": 32, "n_layers": 1, "norm_first": True}
    return EncDecConfig(
        encoder=EncRegConfig(**(encoder | {"input_scale": (10.0,) * 3})), decoder_layers=2, **changes
    )


@pytest.fixture
def network():
    torch.manual_seed(1)
    return EncDec(settings()).eval()


def event(n, seed=0):
    """(1, n, 3) random hits and their mask."""
    generator = torch.Generator().manual_seed(seed)
    return 5 * torch.randn(1, n, 3, generator=generator), torch.ones(1, n, dtype=torch.bool)


def rows(tracks):
    """Lists of hits without what is beyond the end."""
    return [[int(hit) for hit in track if hit >= 0] for track in tracks[0, :, :, 0]]


def test_padding_does_not_matter(network):
    features, mask, seeds, limit = network.example_inputs()
    with torch.no_grad():
        both = network(features, mask, seeds, limit)
        alone = network(features[1:, :13], mask[1:, :13], seeds[1:, :2], limit)
    length = alone.shape[2]
    torch.testing.assert_close(both[1:, :2, :length], alone)
    # A padding seed is no track, and padding hits are on none.
    assert (both[1, 2, :, 0] == -1).all()
    assert (both[1, 2, :, 1] == 0).all()
    assert both[1, :, :, 0].max() < 13
    assert rows(both)[0][:2] == [h for h in distance_order(features, mask)[0].tolist() if h in (0, 5)]


def test_order_of_hits_does_not_matter(network):
    features, mask = event(20)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(5))
    place = torch.argsort(order)
    seeds = torch.tensor([[[4, 9], [1, -1]]])
    moved = torch.where(seeds >= 0, place[seeds.clamp(min=0)], -1)
    with torch.no_grad():
        here, there = network(features, mask, seeds, HALF), network(features[:, order], mask, moved, HALF)
    assert rows(here) == [[int(order[hit]) for hit in track] for track in rows(there)]
    torch.testing.assert_close(here[..., 1], there[..., 1], rtol=1e-4, atol=1e-5)


def test_later_hits_of_a_track_never_change_what_was_said_before(network):
    features, mask = event(30)
    features = torch.gather(features, 1, distance_order(features, mask)[..., None].expand(-1, -1, 3))
    track = torch.arange(30)[None] % 4
    changed = track.clone()
    changed[:, 15:] = (track[:, 15:] + 1) % 4
    with torch.no_grad():
        before, _ = network.next_logits(features, mask, track)
        after, _ = network.next_logits(features, mask, changed)
    torch.testing.assert_close(before[:, :15], after[:, :15])
    assert not torch.allclose(before[:, 15:, -1], after[:, 15:, -1])


def test_only_hits_further_out_can_be_next(network):
    features, mask = event(30)
    with torch.no_grad():
        logits, _ = network.next_logits(features, mask, torch.arange(30)[None] % 4)
        found = network(features, mask, torch.arange(30)[None, :, None], HALF)
    forbidden = torch.isinf(logits[0, :, :30])
    assert (forbidden == torch.ones(30, 30, dtype=torch.bool).tril()).all()
    distance = features[0].norm(dim=1)
    assert max(len(track) for track in rows(found)) > 2
    for track in rows(found):
        assert (distance[track].diff() > 0).all()


def test_one_step_at_a_time_equals_all_at_once(network):
    features, mask = event(24)
    features = torch.gather(features, 1, distance_order(features, mask)[..., None].expand(-1, -1, 3))
    with torch.no_grad():
        found = network(features, mask, torch.tensor([[[0]]]), HALF)
        track = torch.full((1, 24), -1)
        track[0, rows(found)[0]] = 0
        logits, _ = network.next_logits(features, mask, track)
    hits = rows(found)[0]
    assert len(hits) > 3
    following = [*hits[1:], 24]
    probability = torch.softmax(logits[0, hits], dim=1)
    # The last hit of the largest number is followed by no step.
    ended = len(hits) < network.max_hits
    assert probability.argmax(dim=1).tolist()[: len(hits) - 1 + ended] == following[: len(hits) - 1 + ended]
    torch.testing.assert_close(
        found[0, 0, 1 : len(hits), 1], probability.max(dim=1).values[: len(hits) - 1], rtol=1e-4, atol=1e-5
    )


class ByHand(EncDec):
    """Points to the nearest hit further out in the same direction, whose logit is 1; the end has 0."""

    def __init__(self):
        super().__init__(settings(max_hits=6))
        self.blocks = torch.nn.ModuleList()
        self.pointer_key = torch.nn.Identity()
        self.number.weight.data.zero_()

    def hits(self, features, mask):
        return torch.cat([features, torch.zeros(*features.shape[:2], 13)], dim=2)

    def pointer(self, state, keys, allowed):
        here, there = state[..., :3], keys[..., :3]
        cosine = torch.nn.functional.normalize(here, dim=2) @ torch.nn.functional.normalize(
            there, dim=2
        ).transpose(1, 2)
        beyond = there.norm(dim=2)[:, None] - here.norm(dim=2)[..., None]
        logits = torch.where(cosine > 0.999, 2.0 - beyond, -50.0).masked_fill(~allowed, -torch.inf)
        return torch.cat([logits, torch.zeros(*state.shape[:2], 1)], dim=2)


def test_greedy_decoding_follows_the_pointer_until_the_end():
    """Three lines of hits at distance 1, 2, 3, ... with one, four and nine hits; the last is cut at six."""
    network = ByHand().eval()
    directions = (
        [torch.tensor([1.0, 0, 0])] + [torch.tensor([0, 1.0, 0])] * 4 + [torch.tensor([0, 0, 1.0])] * 9
    )
    numbers = torch.tensor([1, *range(1, 5), *range(1, 10)])
    features = (torch.stack(directions) * numbers[:, None])[None]
    mask = torch.ones(1, 14, dtype=torch.bool)
    with torch.no_grad():
        found = network(features, mask, torch.tensor([[[0], [1], [5], [3]]]), HALF)
    assert rows(found) == [[0], [1, 2, 3, 4], [5, 6, 7, 8, 9, 10], [3, 4]]
    # exp(1) for the next, exp(0) for the hit behind it and for the end, exp(-1) ..: four candidates.
    expected = np.e / (np.e + 1 + 1 / np.e + 1)
    assert float(found[0, 1, 1, 1]) == pytest.approx(expected, rel=1e-5)
    assert float(found[0, 3, 1, 1]) == pytest.approx(np.e / (np.e + 1), rel=1e-5)


def test_given_hits_of_a_seed_are_kept(network):
    features, mask = event(20)
    order = distance_order(features, mask)[0].tolist()
    chosen = [order[2], order[8], order[5]]
    with torch.no_grad():
        found = network(features, mask, torch.tensor([[chosen, [order[0], -1, -1]]]), HALF)
    assert rows(found)[0][:3] == [order[2], order[5], order[8]]
    assert (found[0, 0, :3, 1] == 1).all()
    assert rows(found)[1][0] == order[0]
    assert found[0, 1, 1, 1] < 1


def test_own_seeds_are_the_probable_first_hits(network):
    features, mask = event(40)
    with torch.no_grad():
        every = network(features, mask, OWN, torch.tensor(0.0))
        probability = every[0, :, 0, 1]
        limit = probability.median()
        found = network(features, mask, OWN, limit)
        none = network(features, mask, OWN, torch.tensor(1.0))
    assert len(probability) == 40
    assert [track[0] for track in rows(found)] == [
        int(hit) for hit, p in zip(every[0, :, 0, 0], probability, strict=True) if p >= limit
    ]
    assert none.shape[1] == 0


def test_event_with_one_hit(network):
    features, mask = event(1)
    with torch.no_grad():
        assert rows(network(features, mask, torch.tensor([[[0]]]), HALF)) == [[0]]
        assert rows(network(features, mask, OWN, torch.tensor(0.0))) == [[0]]


def test_exported_network_gives_the_same(network, tmp_path):
    card = ModelCard(
        name="tiny-encdec",
        architecture="encdec",
        kind="sequence",
        features=("x", "y", "z"),
        units=dict.fromkeys(("x", "y", "z"), "mm"),
        coordinate_system="cartesian",
        detectors=("generic",),
        outputs=("hit", "probability"),
    )
    model = load_model(save_torchscript(network, card, tmp_path / "tiny-encdec.pt"))
    for n in (1, 2, 37):
        features, mask = event(n, seed=n)
        for seeds in (OWN, torch.tensor([[[0]]]), torch.arange(n - n % 2).view(1, -1, 2)):
            limit = torch.tensor(0.3)
            with torch.no_grad():
                expected = network(features, mask, seeds, limit)
            found = model.apply(features.numpy(), mask.numpy(), seeds.numpy(), limit.numpy())
            np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-6)


def test_kernel_start_points_along_the_same_direction():
    torch.manual_seed(4)
    frequencies = {"phi_frequencies": (1, 2, 4, 8), "eta_frequencies": (1.0, 2.0, 4.0, 8.0)}
    encoder = EncRegConfig(d_model=64, n_heads=4, norm_first=True, input_scale=(10.0,) * 3, **frequencies)
    network = EncDec(EncDecConfig(encoder=encoder)).eval()
    network.start_as_kernel(1.5)
    phi, slope = torch.tensor([0.3, 0.9, -2.0]), torch.tensor([0.2, 0.25, 1.0])
    z = torch.arange(2.0, 8.0)
    r = slope[:, None] * z
    hits = torch.stack([r * phi.cos()[:, None], r * phi.sin()[:, None], z.expand(3, 6)], dim=-1).view(
        1, 18, 3
    )
    mask = torch.ones(1, 18, dtype=torch.bool)
    order = distance_order(hits, mask)
    track = torch.arange(3).repeat_interleave(6)[order[0]]
    with torch.no_grad():
        logits, _ = network.next_logits(hits[:, order[0]], mask, track[None])
    best = logits[0, :, :18].argmax(dim=1)
    inner = torch.tensor([bool((track[i + 1 :] == track[i]).any()) for i in range(18)])
    # Without preference a third of the hits would point to one of their own track.
    assert (track[best] == track)[inner].float().mean() > 0.8
