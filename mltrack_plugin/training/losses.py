"""Losses of the per-hit regression.

Shapes: B events, N hits (padded), K parameters. ``particle`` holds the row of each hit's particle, -1 for noise and
padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def regression_loss(output: Tensor, target: Tensor, particle: Tensor, beta: float = 0.1) -> Tensor:
    """Smooth L1 between normalised outputs and targets (..., K), over hits of particles; quadratic below ``beta``.

    0 where there are none.
    """
    real = particle >= 0
    if not bool(real.any()):
        return output.sum() * 0.0
    return functional.smooth_l1_loss(output[real], target[real], beta=beta)


def contrastive_loss(
    points: Tensor, particle: Tensor, mask: Tensor, max_anchors: int, background: float = 0.0
) -> Tensor:
    """Supervised contrastive loss with half the negative squared distance as logit.

    Khosla et al. 2020, with the positives outside the logarithm: every hit must be nearer to the other hits of its
    particle than to the rest of the event, which is what clustering needs and what the regression alone does not ask.

    Args:
        points: (B, N, K) outputs in the clustering space.
        particle: (B, N).
        mask: (B, N), True = hit.
        max_anchors: about this many hits of each event, evenly spaced, are compared with all others.
        background: imagined hits of other particles at distance 0 of each anchor; see :func:`anchor_loss`.
    """
    n = points.shape[1]
    step = max(1, n // max_anchors)
    anchor_points, anchor_particle = points[:, ::step], particle[:, ::step]
    distance = torch.cdist(anchor_points, points, compute_mode="donot_use_mm_for_euclid_dist").square()
    index = torch.arange(n, device=points.device)
    other = index[None, ::step, None] != index[None, None, :]
    allowed = other & mask[:, None, :]
    logits = (-0.5 * distance).masked_fill(~allowed, float("-inf"))
    total = torch.logsumexp(logits, dim=2, keepdim=True)
    if background > 0:
        total = torch.logaddexp(total, torch.full_like(total, math.log(background)))
    log_probability = logits - total
    positive = (
        allowed & (anchor_particle[:, :, None] == particle[:, None, :]) & (anchor_particle[:, :, None] >= 0)
    )
    count = positive.sum(dim=2)
    per_anchor = -log_probability.masked_fill(~positive, 0.0).sum(dim=2) / count.clamp(min=1)
    return per_anchor.sum() / (count > 0).sum().clamp(min=1)


def anchor_loss(
    points: Tensor,
    particle: Tensor,
    max_anchors: int,
    background: float = 0.0,
    chosen: Tensor | None = None,
) -> tuple[Tensor, int]:
    """Sum of the contrastive losses of one event's anchors; see :func:`contrastive_loss`.

    Args:
        points: (N, K).
        particle: (N,), -1 for noise.
        max_anchors: about this many hits, evenly spaced, are compared with all others.
        chosen: (N,) bool: hits that may be anchors; None = all.
        background: number of imagined hits of other particles at distance 0 of each anchor. They give distances a
            scale of their own: hits of a particle attract each other even where no other particle is near.

    Returns:
        the sum over anchors that have another hit of their particle, and the number of these anchors.
    """
    n = len(points)
    rows = torch.arange(n, device=points.device)
    if chosen is not None:
        rows = rows[chosen]
    # Rounded up, so that memory stays bounded whatever the number of hits.
    anchors = rows[:: max(1, -(-len(rows) // max_anchors))]
    # |a - b|^2 = |a|^2 + |b|^2 - 2 a b on centred points: one matrix product instead of a distance per pair.
    centred = points - points.detach().mean(dim=0)
    mine = centred[anchors]
    logits = mine @ centred.T - 0.5 * centred.square().sum(dim=1)
    itself = anchors[:, None] == torch.arange(n, device=points.device)
    logits = logits.masked_fill(itself, float("-inf"))
    positive = (particle[anchors][:, None] == particle) & (particle[anchors] >= 0)[:, None] & ~itself
    count = positive.sum(dim=1)
    mean = logits.masked_fill(~positive, 0.0).sum(dim=1) / count.clamp(min=1)
    total = torch.logsumexp(logits, dim=1)
    if background > 0:
        total = torch.logaddexp(total, 0.5 * mine.square().sum(dim=1) + math.log(background))
    loss = total - mean
    used = count > 0
    return loss[used].sum(), int(used.sum())


def class_loss(log_probability: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """Cross entropy with shared labels.

    Args:
        log_probability: (M, C), predicted.
        classes: (M, S) classes among which each hit's label is shared.
        weights: (M, S), of sum 1 for hits of particles, 0 for others.
    """
    return -(log_probability.gather(1, classes) * weights).sum() / weights.sum().clamp(min=1)


def agreement_loss(
    factors: Sequence[Tensor], particle: Tensor, lengths: Sequence[int], max_anchors: int
) -> tuple[Tensor, Tensor]:
    """Do the hits of a particle agree on a class that no other particle uses?

    Two hits that draw their classes from the predicted probabilities share a class with probability p . p'. Which class
    it is does not matter to the tracks, so a particle near a border may take either side, and two particles of one bin
    may part.

    Args:
        factors: (M, V, C_k) each, predicted, of packed events: a class is one of V and one of each C_k, and has the
            product of their probabilities. A single factor (M, 1, C) holds the probabilities themselves.
        particle: (M,) row of the hit's particle in its event, -1 for noise.
        lengths: hits of each event.
        max_anchors: about this many hits of each event, evenly spaced, are compared with all others.

    Returns:
        mean over anchors of -log p . p' averaged over the other hits of the particle; and mean over anchors of
        -log(1 - p . p') summed over the hits of other particles. Noise is left out.
    """
    together, apart, n_together, n_anchors = [], [], 0, 0
    events = zip(*(torch.split(factor, list(lengths)) for factor in factors), strict=True)
    for parts, row in zip(events, torch.split(particle, list(lengths)), strict=True):
        anchors = torch.arange(0, len(row), max(1, -(-len(row) // max_anchors)), device=row.device)
        anchors = anchors[row[anchors] >= 0]
        product = torch.ones((), device=row.device)
        for p in parts:
            product = product * torch.einsum("avc,nvc->van", p[anchors], p)
        shared = product.sum(dim=0).clamp(1e-6, 1.0 - 1e-6)
        same = row[anchors][:, None] == row
        different = ~same & (row >= 0)
        same[torch.arange(len(anchors), device=row.device), anchors] = False
        count = same.sum(dim=1)
        together.append(-((shared.log() * same).sum(dim=1) / count.clamp(min=1)).sum())
        apart.append(-(torch.log1p(-shared) * different).sum())
        n_together += int((count > 0).sum())
        n_anchors += len(anchors)
    return torch.stack(together).sum() / max(1, n_together), torch.stack(apart).sum() / max(1, n_anchors)
