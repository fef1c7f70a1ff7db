"""What classifiers of hits do behind their encoder: the hits of a track agree, and the best classes are read off.

Shapes: B events, N hits (padded), K columns, C classes.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import torch
from torch import Tensor
from torch.nn import functional

#: Columns of the output of a classifier of hits.
OUTPUTS = ("class", "probability", "second_class", "second_probability")


def consensus(x: Tensor, log_width: Tensor, rounds: int, bias: Tensor | None) -> Tensor:
    """Each hit moves to the mean of the hits near it, round by round (mean shift).

    The weights are those of attention: a Gaussian of the distance.

    Args:
        x: (B, N, K) float32.
        log_width: (W,) logarithm of the Gaussian's width along each of the first W <= K columns; hits are near each
            other or not in these. All columns are averaged.
        rounds: how often.
        bias: (B, 1, 1, N), -inf at padded hits; None = no padding.

    Returns:
        (B, N, K).
    """
    if not torch.jit.is_scripting():  # type: ignore[attr-defined]
        eager = not torch.compiler.is_compiling()
        if eager:
            # Distances are differences of close numbers: not in half precision.
            with torch.autocast(x.device.type, enabled=False):
                return _rounds(x, log_width, rounds, bias)
    return _rounds(x, log_width, rounds, bias)


def _rounds(x: Tensor, log_width: Tensor, rounds: int, bias: Tensor | None) -> Tensor:
    one = torch.ones_like(x[..., :1])
    for _ in range(rounds):
        scaled = x[..., : log_width.shape[0]] * torch.exp(-log_width)
        # -|q - k|^2 / 2 = q k - k^2 / 2, but for a term that all keys share.
        key = torch.cat([scaled, -0.5 * scaled.square().sum(dim=-1, keepdim=True)], dim=-1)
        moved = functional.scaled_dot_product_attention(
            torch.cat([scaled, one], dim=-1)[:, None],
            key[:, None],
            torch.cat([x, one], dim=-1)[:, None],
            attn_mask=bias,
            scale=1.0,
        )
        x = moved[:, 0, :, :-1]
    return x


def best_two(logits: Tensor) -> Tensor:
    """(..., C) logits to (..., 4): most probable class (a whole number), its probability, the second class, its
    probability."""
    # In half precision the numbers of the classes would be rounded.
    logits = logits.float()
    best, number = logits.topk(2, dim=-1)
    probability = torch.exp(best - torch.logsumexp(logits, dim=-1, keepdim=True))
    return torch.stack(
        [
            number[..., 0].float(),
            probability[..., 0],
            number[..., 1].float(),
            probability[..., 1],
        ],
        dim=-1,
    )
