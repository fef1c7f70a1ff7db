"""A stand-in for flash-attn on the CPU: checks its arguments as flash-attn does, computes by the reference."""

from __future__ import annotations

import sys
import types

import pytest
import torch
from torch import Tensor

from mltrack_plugin.models import attention


def install(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Make ``import flash_attn`` find the stand-in, on the CPU; returns the event lengths of each call to come."""
    calls: list[tuple[int, ...]] = []

    def flash_attn_varlen_func(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        cu_seqlens_q: Tensor,
        cu_seqlens_k: Tensor,
        max_seqlen_q: int,
        max_seqlen_k: int,
    ) -> Tensor:
        assert q.dtype in (torch.float16, torch.bfloat16)
        assert q.dtype == k.dtype == v.dtype
        assert q.ndim == 3
        assert q.shape == k.shape == v.shape
        assert q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
        for offsets in (cu_seqlens_q, cu_seqlens_k):
            assert offsets.dtype == torch.int32
            assert offsets[0] == 0
            assert offsets[-1] == len(q)
        lengths = cu_seqlens_q.diff()
        assert (lengths >= 0).all()
        assert isinstance(max_seqlen_q, int)
        assert max_seqlen_q == max_seqlen_k == int(lengths.max())
        calls.append(tuple(lengths.tolist()))
        packing = attention.Packing.of(lengths.tolist())
        return attention.packed_attention(q.float(), k.float(), v.float(), packing, "math").to(q.dtype)

    module = types.ModuleType("flash_attn")
    vars(module)["flash_attn_varlen_func"] = flash_attn_varlen_func
    monkeypatch.setitem(sys.modules, "flash_attn", module)
    monkeypatch.setattr(attention, "FLASH_DEVICES", ("cpu",))
    return calls
