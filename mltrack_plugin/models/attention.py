"""Attention of the dense encoders: padded batches or packed events, three backends, and the encoder block.

    sdpa    ``torch.nn.functional.scaled_dot_product_attention``: the default, and what every exported model holds.
            On a GPU in half precision torch picks its own FlashAttention kernel if there is no mask.
    flash   ``flash_attn_varlen_func`` of the package flash-attn: packed events without padding, on a GPU in half
            precision. It cannot be scripted, so it is chosen at run time (:func:`use_backend`) and never exported.
    math    the softmax written out: the reference that the others are compared with.

Two layouts of a batch. Padded: (B, N, d) and a bias that is -inf at the padded hits. Packed: the hits of all events
behind one another, (M, d), and a :class:`Packing` that says where each event begins; without flash-attn the packed
form runs event by event, which on a CPU is the fastest anyway. Both give the same numbers.

Shapes: B events, N hits (padded), M hits of all events, d = ``d_model``, h heads, w = d / h.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mltrack_plugin.errors import ConfigurationError, NetworkSettingsError, did_you_mean, require_extra
from mltrack_plugin.settings import Config

Backend = Literal["sdpa", "flash", "math"]
BACKENDS: tuple[str, ...] = get_args(Backend)

#: What flash-attn computes on and with.
FLASH_DEVICES = ("cuda",)
FLASH_TYPES = (torch.float16, torch.bfloat16)


class EncoderConfig(Config):
    """Sizes of a dense encoder; its architecture adds inputs and outputs."""

    d_model: int = Field(32, ge=1)
    """Width of the residual stream."""
    n_heads: int = Field(4, ge=1)
    """Attention heads."""
    d_ff: int = Field(128, ge=1)
    """Hidden width of the feed-forward layers."""
    n_layers: int = Field(6, ge=1)
    """Encoder blocks."""
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Dropout during training."""
    norm_first: bool = False
    """Normalisation before (True) or after (False, as published) attention and feed-forward."""


class Packing(NamedTuple):
    """Where each event of a packed batch lies; events may be empty."""

    #: (B + 1,) int32: event i owns the hits ``offsets[i]:offsets[i + 1]``.
    offsets: Tensor
    #: Hits of each event.
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device | str = "cpu") -> "Packing":
        """The packing of events with so many hits."""
        counts = torch.tensor([0, *lengths], dtype=torch.int32)
        return cls(counts.cumsum(0, dtype=torch.int32).to(device), tuple(int(n) for n in lengths))


def math_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """softmax(q k^T / sqrt(w) + bias) v, the softmax in float32 at least.

    Args:
        q, k, v: (B, h, N, w).
        bias: added to the logits, broadcast to (B, h, N, N); -inf hides a hit.

    Returns:
        (B, h, N, w), of the type of ``v``.
    """
    logits = torch.matmul(q, k.transpose(-1, -2)) * (q.shape[-1] ** -0.5)
    if logits.dtype == torch.float16 or logits.dtype == torch.bfloat16:
        logits = logits.float()
    if bias is not None:
        logits = logits + bias
    return torch.matmul(torch.softmax(logits, dim=-1).to(v.dtype), v)


def packed_attention(q: Tensor, k: Tensor, v: Tensor, packing: Packing, backend: str = "sdpa") -> Tensor:
    """Attention within each event of a packed batch.

    Args:
        q, k, v: (M, h, w).
        packing: of the M hits.
        backend: one of ``BACKENDS``.

    Returns:
        (M, h, w).

    Raises:
        MissingExtraError, ConfigurationError: see :func:`flash_function` and :func:`check_flash`.
    """
    if backend == "flash":
        check_flash(q.device, q.dtype)
        longest = max(packing.lengths, default=0)
        function = flash_function()
        out: Tensor = function(q, k, v, packing.offsets, packing.offsets, longest, longest)
        return out
    lengths = list(packing.lengths)
    events = zip(*(torch.split(part, lengths) for part in (q, k, v)), strict=True)
    outputs = []
    for event in events:
        one, two, three = (part.transpose(0, 1)[None] for part in event)
        if backend == "math":
            y = math_attention(one, two, three, None)
        else:
            y = functional.scaled_dot_product_attention(one, two, three)
        outputs.append(y[0].transpose(0, 1))
    return torch.cat(outputs) if outputs else q


def padded_flash(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Tensor:
    """A padded batch through the packed kernel: (B, h, N, w) -> (B, h, N, w), zero at the padded hits.

    Args:
        q, k, v: (B, h, N, w).
        bias: (B, 1, 1, N), 0 at hits; anything else hides a hit.
    """
    b, h, n, w = q.shape
    hidden = torch.zeros(b, n, device=q.device) if bias is None else bias[:, 0, 0, :]
    keep = hidden == 0
    packing = Packing.of(keep.sum(dim=1).tolist(), q.device)
    one, two, three = (part.transpose(1, 2)[keep] for part in (q, k, v))
    out = torch.zeros(b, n, h, w, dtype=q.dtype, device=q.device)
    out[keep] = packed_attention(one, two, three, packing, "flash")
    return out.transpose(1, 2)


def flash_function() -> Callable[..., Any]:
    """``flash_attn_varlen_func`` (q, k, v, cumulative lengths of queries and keys, longest of both).

    Raises:
        MissingExtraError: with the install line.
    """
    package = require_extra(
        "flash_attn", "flash", "the attention backend 'flash'", options="--no-build-isolation"
    )
    function: Callable[..., Any] = package.flash_attn_varlen_func
    return function


def check_flash(device: torch.device, dtype: torch.dtype) -> None:
    """Refuse tensors that flash-attn cannot take.

    Raises:
        ConfigurationError: with what to do.
    """
    if device.type not in FLASH_DEVICES:
        raise ConfigurationError(
            f"the attention backend 'flash' runs on a GPU, the tensors are on {device.type!r}: "
            "choose device 'cuda', or the backend 'sdpa'"
        )
    if dtype not in FLASH_TYPES:
        raise ConfigurationError(
            f"the attention backend 'flash' needs half precision, the tensors are {str(dtype).split('.')[-1]}: "
            "choose bfloat16 or float16, or the backend 'sdpa'"
        )


def check_flash_ready(device: str, half: bool) -> None:
    """Check before any work whether a run with flash-attn can start.

    Args:
        device: "auto", "cpu" or "cuda".
        half: whether the run computes in half precision.

    Raises:
        ConfigurationError: naming everything that is missing but the package.
        MissingExtraError: with the install line.
    """
    missing = []
    if device == "cpu":
        missing.append("a GPU (the device is set to 'cpu')")
    elif not torch.cuda.is_available():
        missing.append("a CUDA GPU and a torch built for it (torch.cuda.is_available() is False)")
    elif torch.cuda.get_device_capability() < (8, 0):
        major, minor = torch.cuda.get_device_capability()
        missing.append(
            f"a GPU of compute capability 8.0 or newer ({torch.cuda.get_device_name()}: {major}.{minor})"
        )
    if not half:
        missing.append("half precision (the setting precision)")
    if missing:
        raise ConfigurationError(
            f"the attention backend 'flash' needs {' and '.join(missing)}; 'sdpa' runs everywhere "
            "(attention: sdpa)"
        )
    flash_function()


def use_backend(network: nn.Module, backend: str) -> None:
    """Let all encoder blocks of a network compute attention with a backend; exported models have sdpa regardless.

    Raises:
        ConfigurationError: if there is no such backend, or the network has no encoder blocks.
        MissingExtraError: for "flash" without flash-attn.
    """
    if backend not in BACKENDS:
        raise ConfigurationError(f"no attention backend {backend!r}. {did_you_mean(backend, BACKENDS)}")
    if backend == "flash":
        flash_function()
    blocks = [module for module in network.modules() if isinstance(module, EncoderBlock)]
    if not blocks:
        raise ConfigurationError(
            f"{type(network).__name__} has no encoder blocks with a choice of attention backends"
        )
    for block in blocks:
        block.backend = backend


class EncoderBlock(nn.Module):
    """Self-attention over the hits of an event, then a feed-forward network; residual around both.

    That of ``torch.nn.TransformerEncoderLayer`` (post-norm, ReLU) unless ``norm_first``.

    Args:
        config: sizes.

    Raises:
        NetworkSettingsError: if the heads do not divide the width.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        d = config.d_model
        if d % config.n_heads:
            raise NetworkSettingsError(f"d_model {d} is not a multiple of n_heads {config.n_heads}")
        self.n_heads = config.n_heads
        self.norm_first = config.norm_first
        self.dropout = config.dropout
        #: See :func:`use_backend`; without a meaning in scripted and exported networks.
        self.backend = "sdpa"
        self.qkv = nn.Linear(d, 3 * d)
        self.out = nn.Linear(d, d)
        self.up = nn.Linear(d, config.d_ff)
        self.down = nn.Linear(config.d_ff, d)
        self.norm1 = nn.LayerNorm(d)
        self.norm2 = nn.LayerNorm(d)

    def attend(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, N, d) -> (B, N, d); bias (B, 1, 1, N) is -inf at padded hits."""
        b, n, d = x.shape
        qkv = (
            self.qkv(x).view(b, n, 3, self.n_heads, d // self.n_heads).permute(2, 0, 3, 1, 4)
        )  # (3, B, h, N, w)
        backend = "sdpa"
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            if not torch.compiler.is_compiling():
                backend = self.backend
            if backend == "flash":
                return self._leave(
                    padded_flash(qkv[0], qkv[1], qkv[2], bias).transpose(1, 2).reshape(b, n, d)
                )
        if backend == "math":
            y = math_attention(qkv[0], qkv[1], qkv[2], bias)
        else:
            y = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], attn_mask=bias)
        return self._leave(y.transpose(1, 2).reshape(b, n, d))

    def _leave(self, y: Tensor) -> Tensor:
        return functional.dropout(self.out(y), self.dropout, self.training)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(..., d) -> (..., d)."""
        y = functional.dropout(functional.relu(self.up(x)), self.dropout, self.training)
        return functional.dropout(self.down(y), self.dropout, self.training)

    def forward(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, N, d) -> (B, N, d); bias (B, 1, 1, N) is -inf at padded hits, None without padding."""
        if self.norm_first:
            x = x + self.attend(self.norm1(x), bias)
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + self.attend(x, bias))
        return self.norm2(x + self.feed_forward(x))  # type: ignore[no-any-return]

    @torch.jit.unused
    def packed(self, x: Tensor, packing: Packing) -> Tensor:
        """(M, d) -> (M, d): as :meth:`forward`, on a packed batch."""
        qkv = self.qkv(self.norm1(x) if self.norm_first else x)
        q, k, v = qkv.view(len(x), 3, self.n_heads, -1).unbind(1)
        attended = self._leave(packed_attention(q, k, v, packing, self.backend).reshape(x.shape))
        if self.norm_first:
            x = x + attended
            return x + self.feed_forward(self.norm2(x))
        x = self.norm1(x + attended)
        return self.norm2(x + self.feed_forward(x))  # type: ignore[no-any-return]


def key_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """(B, N) mask (True = hit) -> (B, 1, 1, N) bias, -inf at padded hits."""
    return torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, -math.inf)[:, None, None, :]
