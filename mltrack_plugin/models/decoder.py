"""Decoder block of a Transformer that reads hits: attention within a track, then to all hits of its event.

Written so that a step with the keys and values of earlier steps and all steps at once are the same code.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.models.encreg import EncRegConfig


class DecoderBlock(nn.Module):
    """Attention to the earlier hits of the track, then to all hits of the event, then a feed-forward network.

    Args:
        config: sizes; ``norm_first`` has no effect.
    """

    def __init__(self, config: EncRegConfig) -> None:
        super().__init__()
        d = config.d_model
        self.n_heads = config.n_heads
        self.dropout = config.dropout
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.query = nn.Linear(d, d)
        self.key_value = nn.Linear(d, 2 * d)
        self.cross_out = nn.Linear(d, d)
        self.up = nn.Linear(d, config.d_ff)
        self.down = nn.Linear(config.d_ff, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)
        self.norm3 = nn.LayerNorm(d)

    def heads(self, x: Tensor) -> Tensor:
        """(B, M, d) -> (B, h, M, d/h)."""
        b, m, d = x.shape
        return x.view(b, m, self.n_heads, d // self.n_heads).transpose(1, 2)

    def joined(self, x: Tensor) -> Tensor:
        """(B, h, M, d/h) -> (B, M, d)."""
        return x.transpose(1, 2).reshape(x.shape[0], x.shape[2], -1)

    def memory(self, hits: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, h, N, d/h) of the hits (B, N, d)."""
        key, value = self.key_value(hits).chunk(2, dim=2)
        return self.heads(key), self.heads(value)

    def own(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value (B, h, M, d/h) of the track's hits (B, M, d) for attention among them."""
        query, key, value = self.qkv(self.norm1(x)).chunk(3, dim=2)
        return self.heads(query), self.heads(key), self.heads(value)

    def within_track(
        self, x: Tensor, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None
    ) -> Tensor:
        """(B, M, d) plus what attention to the keys (B, h, L, d/h) finds; bias broadcasts to (B, h, M, L)."""
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return x + functional.dropout(self.out(self.joined(found)), self.dropout, self.training)

    def within_event(self, x: Tensor, key: Tensor, value: Tensor, bias: Tensor | None) -> Tensor:
        """(B, M, d) after attention to the hits of the event and the feed-forward network."""
        query = self.heads(self.query(self.norm2(x)))
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + functional.dropout(self.cross_out(self.joined(found)), self.dropout, self.training)
        y = functional.dropout(functional.relu(self.up(self.norm3(x))), self.dropout, self.training)
        return x + functional.dropout(self.down(y), self.dropout, self.training)
