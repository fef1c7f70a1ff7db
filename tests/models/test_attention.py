"""Backends and layouts of attention give the same numbers; flash-attn is called as it wants to be."""

import sys

import flash_stub
import pytest
import torch

from mltrack_plugin.errors import ConfigurationError, MissingExtraError
from mltrack_plugin.models import attention
from mltrack_plugin.models.attention import (
    EncoderBlock,
    EncoderConfig,
    Packing,
    packed_attention,
    use_backend,
)
from mltrack_plugin.models.encreg import EncReg, EncRegConfig

LENGTHS = (7, 1, 30, 0, 12)


def heads(seed=1, dtype=torch.float32):
    """q, k, v of a packed batch: (M, 4, 8) each."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(sum(LENGTHS), 4, 8, generator=generator).to(dtype) for _ in range(3)]


def padded(part):
    """(M, h, w) -> (B, h, N, w), and the mask (B, N)."""
    out = torch.full((len(LENGTHS), max(LENGTHS), *part.shape[1:]), 9.0, dtype=part.dtype)
    mask = torch.arange(max(LENGTHS))[None] < torch.tensor(LENGTHS)[:, None]
    out[mask] = part
    return out.transpose(1, 2), mask


@pytest.fixture
def flash_attn(monkeypatch):
    """Lengths of the events of each call of a stand-in for flash-attn."""
    return flash_stub.install(monkeypatch)


@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_packed_equals_padded(backend):
    q, k, v = heads()
    packed = packed_attention(q, k, v, Packing.of(LENGTHS), backend)
    (pq, mask), (pk, _), (pv, _) = padded(q), padded(k), padded(v)
    bias = attention.key_bias(mask, torch.float32)
    bias[3] = 0.0  # an event without hits: whatever it attends to is not looked at
    if backend == "math":
        whole = attention.math_attention(pq, pk, pv, bias)
    else:
        whole = torch.nn.functional.scaled_dot_product_attention(pq, pk, pv, attn_mask=bias)
    torch.testing.assert_close(packed, whole.transpose(1, 2)[mask], rtol=1e-6, atol=1e-6)


def test_math_is_the_definition():
    q, k, v = (torch.randn(1, 1, 3, 2, dtype=torch.float64) for _ in range(3))
    weights = torch.exp(q[0, 0] @ k[0, 0].T / 2**0.5)
    expected = weights @ v[0, 0] / weights.sum(dim=1, keepdim=True)
    torch.testing.assert_close(
        attention.math_attention(q, k, v, None)[0, 0], expected, rtol=1e-12, atol=1e-12
    )


def test_backends_agree_and_so_do_their_gradients():
    found = {}
    for backend in ("sdpa", "math"):
        parts = [part.requires_grad_() for part in heads()]
        out = packed_attention(*parts, Packing.of(LENGTHS), backend)
        out.square().sum().backward()
        found[backend] = [out.detach(), *(part.grad for part in parts)]
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_flash_gets_what_it_wants_and_equals_the_reference(flash_attn, dtype):
    parts = heads(dtype=dtype)
    packing = Packing.of(LENGTHS)
    found = packed_attention(*parts, packing, "flash")
    assert flash_attn == [LENGTHS]
    assert found.dtype == dtype
    expected = packed_attention(*(part.float() for part in parts), packing, "math")
    torch.testing.assert_close(found.float(), expected, rtol=0.02, atol=0.02)


def test_flash_leaves_padding_out(flash_attn):
    q, k, v = heads(dtype=torch.bfloat16)
    (pq, mask), (pk, _), (pv, _) = padded(q), padded(k), padded(v)
    found = attention.padded_flash(pq, pk, pv, attention.key_bias(mask, torch.bfloat16))
    assert flash_attn == [LENGTHS]
    expected = packed_attention(q, k, v, Packing.of(LENGTHS), "flash")
    torch.testing.assert_close(found.transpose(1, 2)[mask], expected, rtol=0, atol=0)
    assert (found.transpose(1, 2)[~mask] == 0).all()


def test_flash_refuses_the_cpu_single_precision_and_its_own_absence(monkeypatch):
    packing = Packing.of(LENGTHS)
    with pytest.raises(ConfigurationError, match=r"on 'cpu'.*'cuda'"):
        packed_attention(*heads(dtype=torch.bfloat16), packing, "flash")
    monkeypatch.setattr(attention, "FLASH_DEVICES", ("cpu",))
    with pytest.raises(ConfigurationError, match=r"half precision.*float32.*bfloat16"):
        packed_attention(*heads(), packing, "flash")
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    line = r"pip install --no-build-isolation 'flash-attn>="
    with pytest.raises(MissingExtraError, match=line):
        packed_attention(*heads(dtype=torch.bfloat16), packing, "flash")
    with pytest.raises(MissingExtraError, match=line):
        use_backend(network(), "flash")


def test_readiness_names_everything_that_is_missing(monkeypatch):
    with pytest.raises(ConfigurationError, match=r"device is set to 'cpu'.*and half precision"):
        attention.check_flash_ready("cpu", half=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigurationError, match=r"is_available\(\) is False"):
        attention.check_flash_ready("cuda", half=True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    with pytest.raises(ConfigurationError, match=r"Tesla T4: 7\.5"):
        attention.check_flash_ready("auto", half=True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (8, 0))
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    with pytest.raises(MissingExtraError, match="flash_attn"):
        attention.check_flash_ready("auto", half=True)


def network(**changes):
    torch.manual_seed(5)
    constants = {"output_mean": (0.0,) * 3, "output_scale": (1.0,) * 3}
    return EncReg(EncRegConfig(n_layers=2, input_scale=(10.0,) * 3, **constants, **changes)).eval()


def events():
    """Features of packed hits, the packing, and the same padded with their mask."""
    torch.manual_seed(6)
    features = 5 * torch.randn(sum(LENGTHS), 3)
    batch, mask = padded(features[:, None])
    return features, Packing.of(LENGTHS), batch[:, 0], mask


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("backend", ["sdpa", "math"])
def test_network_on_packed_events_equals_padded(backend, norm_first):
    model = network(norm_first=norm_first)
    use_backend(model, backend)
    features, packing, batch, mask = events()
    rows = torch.tensor([i for i, n in enumerate(LENGTHS) if n])
    with torch.no_grad():
        whole = model.normalised(batch[rows], mask[rows])[mask[rows]]
        torch.testing.assert_close(model.normalised_packed(features, packing), whole, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_network_in_half_precision_with_flash(flash_attn, dtype):
    """Padded and packed batches give the numbers of single precision within those of half precision."""
    model = network()
    features, packing, batch, mask = events()
    with torch.no_grad():
        expected = model.normalised_packed(features, packing)
        use_backend(model, "flash")
        with torch.autocast("cpu", dtype=dtype):
            packed = model.normalised_packed(features, packing).float()
            whole = model.normalised(batch, mask)[mask].float()
    assert flash_attn == [LENGTHS] * 4
    for found in (packed, whole):
        torch.testing.assert_close(found, expected, rtol=0.1, atol=0.1)
        assert torch.corrcoef(torch.stack([found.flatten(), expected.flatten()]))[0, 1] > 0.999


def test_exports_compute_sdpa_whatever_the_backend(flash_attn, tmp_path):
    """flash-attn cannot be scripted or exported: both give the numbers of the eager network with sdpa."""
    from model_fixtures import make_card

    from mltrack_plugin.archives.archive import check_content, load_file, pack

    torch.manual_seed(7)
    model = EncReg(EncRegConfig.model_validate(make_card().hyperparameters)).eval()
    features, mask = torch.rand(1, 9, 3), torch.ones(1, 9, dtype=torch.bool)
    with torch.no_grad():
        expected = model(features, mask).numpy()
    use_backend(model, "flash")
    for suffix in (".pt", ".pt2"):
        archive = load_file(check_content(tmp_path / f"model{suffix}", pack(model, make_card(), suffix)))
        torch.testing.assert_close(
            archive.engine(features.numpy(), mask.numpy()), expected, rtol=1e-5, atol=1e-5
        )
    assert not flash_attn


def test_wrong_backends_are_named():
    with pytest.raises(ConfigurationError, match="'flash'"):
        use_backend(network(), "flas")
    with pytest.raises(ConfigurationError, match="no encoder blocks"):
        use_backend(torch.nn.Linear(1, 1), "math")
    with pytest.raises(ValueError, match="not a multiple"):
        EncoderBlock(EncoderConfig(d_model=30, n_heads=4))


def test_flash_attn_itself():
    """The package on a GPU: forward and backward equal the reference within half precision."""
    pytest.importorskip("flash_attn", reason="flash-attn is not installed")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    lengths = (300, 1, 4000, 17)
    packing = Packing.of(lengths, "cuda")
    generator = torch.Generator().manual_seed(1)
    results = {}
    for backend in ("flash", "math"):
        generator.manual_seed(1)
        parts = [torch.randn(sum(lengths), 4, 32, generator=generator) for _ in range(3)]
        parts = [part.cuda().to(torch.bfloat16).requires_grad_() for part in parts]
        out = packed_attention(*parts, packing, backend)
        out.float().square().sum().backward()
        results[backend] = [out.detach(), *(part.grad for part in parts)]
    for one, other in zip(*results.values(), strict=True):
        torch.testing.assert_close(one.float(), other.float(), rtol=0.05, atol=0.05)
