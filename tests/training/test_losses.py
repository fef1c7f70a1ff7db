"""Losses against hand-computed values."""

import math

import pytest

torch = pytest.importorskip("torch")

from mltrack_plugin.training.losses import contrastive_loss, regression_loss  # noqa: E402


def test_regression_ignores_noise_and_is_smooth_l1():
    output = torch.tensor([[[0.0], [1.0], [5.0]]])
    target = torch.tensor([[[0.05], [0.0], [0.0]]])
    particle = torch.tensor([[0, 1, -1]])
    # beta 0.1: quadratic 0.5 * 0.05^2 / 0.1 = 0.0125, linear 1 - 0.05 = 0.95; mean 0.48125.
    assert regression_loss(output, target, particle).item() == pytest.approx(0.48125)


def test_contrastive_by_hand():
    # Hits at 0, 0 (one particle) and 2 (another, alone): logits of the first two anchors are 0 and -2.
    points = torch.tensor([[[0.0], [0.0], [2.0]]])
    particle = torch.tensor([[0, 0, 1]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    expected = math.log(1.0 + math.exp(-2.0))
    assert contrastive_loss(points, particle, mask, max_anchors=3).item() == pytest.approx(expected, rel=1e-6)


def test_padding_and_noise_do_not_pull():
    points = torch.tensor([[[0.0], [0.0], [2.0]]])
    particle = torch.tensor([[0, 0, 1]])
    mask = torch.ones(1, 3, dtype=torch.bool)
    alone = contrastive_loss(points, particle, mask, 3)
    padded = contrastive_loss(
        torch.cat([points, torch.zeros(1, 2, 1)], 1),
        torch.tensor([[0, 0, 1, -1, -1]]),
        torch.tensor([[True, True, True, False, False]]),
        5,
    )
    assert padded.item() == pytest.approx(alone.item())
    only_noise = contrastive_loss(points, torch.full((1, 3), -1), mask, 3)
    assert only_noise.item() == 0.0


def test_contrastive_falls_when_tracks_separate():
    generator = torch.Generator().manual_seed(1)
    particle = torch.arange(8).repeat_interleave(5)[None]
    centres = torch.randn(8, 3, generator=generator)
    noise = torch.randn(40, 3, generator=generator)
    mask = torch.ones(1, 40, dtype=torch.bool)
    losses = [
        contrastive_loss(
            (centres.repeat_interleave(5, 0) * 5 + noise * width)[None], particle, mask, 40
        ).item()
        for width in (3.0, 1.0, 0.1)
    ]
    assert losses[0] > losses[1] > losses[2]
    # Four equal positives share the probability: the floor is log 4.
    assert losses[2] == pytest.approx(math.log(4.0), abs=0.05)
