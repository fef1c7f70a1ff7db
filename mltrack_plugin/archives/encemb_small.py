"""EncEmb for small events on a CPU: one call of compiled code instead of some three hundred small tensor operations.

An event that fits into one block needs no sorting, and what it costs is the calls of operations, not their arithmetic.
The same network, number for number up to rounding; larger events and batches go to the engine of the archive.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mltrack_plugin.archives.eager import network_with
from mltrack_plugin.archives.torchscript import TorchScriptEngine
from mltrack_plugin.compiled import inlined, kernel
from mltrack_plugin.models.encemb import EncEmb

if TYPE_CHECKING:
    from mltrack_plugin.archives.track_model import Engine, TrackModel

Array = npt.NDArray[Any]

#: float32, of L layers: input (8 + w, d) and its bias; positions (L, w, d); norm before attention (2 L, d), weight and
#: bias in turns; qkv (L, d, 3 d), out (L, d, d), each with its biases; norm before the feed-forward network, up, down,
#: in the same way; the last norm (2, d); head (d, K) and its bias.
Layers = tuple[Array, ...]


class SmallEventEngine:
    """Runs single events of one block itself and leaves the rest to another engine.

    Args:
        network: without surfaces and turning hypotheses, see `can_run`.
        engine: for all that is larger.
    """

    def __init__(self, network: EncEmb, engine: Engine) -> None:
        self._engine = engine
        self._block_size = network.block_size
        self._weights = weights_of(network)

    def __call__(self, *inputs: Array) -> Array:
        """See :class:`~mltrack_plugin.archives.track_model.Engine`."""
        features, mask = inputs
        n_events, n, _ = features.shape
        if n_events == 1 and 0 < n <= self._block_size and mask.all():
            return embedded(features[0], *self._weights)[None]
        return self._engine(features, mask)


def with_small_events(model: TrackModel) -> TrackModel:
    """The model with its small events run here.

    It stays as it is on a GPU, in another format than ``.pt``, and where its network has parts that are not known here.
    """
    if model.device != "cpu" or not isinstance(model.engine, TorchScriptEngine):
        return model
    network = network_with(model.card, model.engine, str(model.path))
    if not isinstance(network, EncEmb) or not can_run(network):
        return model
    engine = SmallEventEngine(network, model.engine)
    # Compiled now, or loaded, so that the first event is not slower than the others.
    engine(np.ones((1, 1, 3), dtype=np.float32), np.ones((1, 1), dtype=np.bool_))
    return dataclasses.replace(model, engine=engine)


def can_run(network: EncEmb) -> bool:
    """Whether a network has neither surfaces nor turning hypotheses."""
    surfaces: Any = network.surfaces
    sorters: list[Any] = list(network.sorters)
    return not len(surfaces.discs) + len(surfaces.barrels) and all(s.turning == 0.0 for s in sorters)


def weights_of(network: EncEmb) -> tuple[Array, Array, Layers]:
    """Constants, frequencies and weights of a network, as `embedded` takes them."""

    def matrix(*layers: Any) -> Array:
        return np.stack([np.ascontiguousarray(one.weight.detach().numpy().T) for one in layers])

    def vectors(*tensors: Any) -> Array:
        return np.stack([tensor.detach().numpy() for tensor in tensors])

    sorters, positions, layers = (
        list[Any](part) for part in (network.sorters, network.positions, network.layers)
    )
    constants = np.array(
        [[s.bending, s.origin, network.length_scale, layers[0].n_heads] for s in sorters], dtype=np.float64
    )
    fourier: Any = network.fourier
    frequencies = np.concatenate([fourier.phi_frequencies.numpy(), fourier.eta_frequencies.numpy()])
    width = np.array([len(fourier.phi_frequencies)], dtype=np.float32)
    return (
        constants,
        np.concatenate([width, frequencies]),
        (
            matrix(network.input)[0],
            vectors(network.input.bias),
            matrix(*positions),
            vectors(*(x for one in layers for x in (one.norm1.weight, one.norm1.bias))),
            matrix(*(one.qkv for one in layers)),
            vectors(*(one.qkv.bias for one in layers)),
            matrix(*(one.out for one in layers)),
            vectors(*(one.out.bias for one in layers)),
            vectors(*(x for one in layers for x in (one.norm2.weight, one.norm2.bias))),
            matrix(*(one.up for one in layers)),
            vectors(*(one.up.bias for one in layers)),
            matrix(*(one.down for one in layers)),
            vectors(*(one.down.bias for one in layers)),
            vectors(network.norm.weight, network.norm.bias),
            matrix(network.head)[0],
            vectors(network.head.bias),
        ),
    )


@inlined
def fourier(eta: Any, phi: Any, frequencies: Array, out: Array) -> None:
    """Sines and cosines of azimuth, then of pseudorapidity (float32), into ``out``; rounded as in the network."""
    n = int(frequencies[0])
    m = len(frequencies) - 1 - n
    for j in range(n):
        angle = np.float32(phi) * frequencies[1 + j]
        out[j], out[n + j] = math.sin(angle), math.cos(angle)
    for j in range(m):
        angle = np.float32(eta) * frequencies[1 + n + j]
        out[2 * n + j], out[2 * n + m + j] = math.sin(angle), math.cos(angle)


@inlined
def normalised(x: Array, weight: Array, bias: Array, out: Array) -> None:
    """Layer norm of each row."""
    n, d = x.shape
    for i in range(n):
        mean, square = 0.0, 0.0
        for k in range(d):
            mean += x[i, k]
        mean /= d
        for k in range(d):
            square += (x[i, k] - mean) ** 2
        scale = 1.0 / math.sqrt(square / d + 1e-5)
        for k in range(d):
            out[i, k] = np.float32((x[i, k] - mean) * scale) * weight[k] + bias[k]


@inlined
def exponential(x: Array, largest: Array, scale: Any, power: Array) -> None:
    """Into x: 2^((x - largest) scale), but for the float32 factor whose bits are ``power``; no call for each."""
    for i in range(len(x)):
        t = max((x[i] - largest[i]) * scale, np.float32(-126.0))
        whole = np.int32(t - np.float32(0.5))
        f = t - np.float32(whole)
        power[i] = (whole + np.int32(127)) << np.int32(23)
        p = np.float32(1.5403530e-4) * f + np.float32(1.3333558e-3)
        p = p * f + np.float32(9.6181291e-3)
        p = p * f + np.float32(5.5504109e-2)
        p = p * f + np.float32(2.4022651e-1)
        p = p * f + np.float32(6.9314718e-1)
        x[i] = p * f + np.float32(1.0)


@kernel
def attended(qkv: Array, n_heads: int, out: Array) -> None:
    """Self-attention of all rows (n, 3 d) with each other, into ``out`` (n, d)."""
    n, d = out.shape
    width = d // n_heads
    scale = np.float32(1.0 / (math.sqrt(width) * math.log(2.0)))
    largest, total = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.float32)
    power = np.empty(n, dtype=np.int32)
    for head in range(n_heads):
        start = head * width
        q = qkv[:, start : start + width].copy()
        k = qkv[:, d + start : d + start + width].copy()
        v = qkv[:, 2 * d + start : 2 * d + start + width].copy()
        # Keys by queries, so that what is done for each query is done for many at a time.
        scores = np.dot(k, q.T)
        largest[:] = scores[0]
        for j in range(1, n):
            for i in range(n):
                largest[i] = max(largest[i], scores[j, i])
        total[:] = 0.0
        for j in range(n):
            row = scores[j]
            exponential(row, largest, scale, power)
            factor = power.view(np.float32)
            for i in range(n):
                row[i] *= factor[i]
                total[i] += row[i]
        for j in range(n):
            for i in range(n):
                scores[j, i] /= total[i]
        out[:, start : start + width] = np.dot(scores.T, v)


@kernel
def embedded(hits: Array, constants: Array, frequencies: Array, weights: Layers) -> Array:
    """Embedding of the hits of an event, as `EncEmb.features` of one block and the head.

    Args:
        hits: (n, 3) float32, n > 0.
        constants: (L, 4) bending, origin, length scale and heads, see `Blocks`.
        frequencies: number of those of azimuth, these, and those of pseudorapidity.
        weights: see `Layers`.

    Returns:
        (n, K) float32.
    """
    (
        input_, input_bias, positions, norm1, qkv, qkv_bias, out, out_bias, norm2, up, up_bias, down, down_bias, norm,
        head, head_bias,
    ) = weights  # fmt: skip
    n, n_layers = len(hits), len(constants)
    width = 2 * (len(frequencies) - 1)
    features = np.empty((n, 8 + width), dtype=np.float32)
    waves = np.empty((n, width), dtype=np.float32)
    r, phi = np.empty(n, dtype=np.float32), np.empty(n, dtype=np.float32)
    scale = constants[0, 2]
    for i in range(n):
        x, y, z = hits[i, 0], hits[i, 1], hits[i, 2]
        r[i] = max(np.float32(math.sqrt(x * x + y * y)), np.float32(1e-6))
        phi[i] = math.atan2(y, x)
        slope = z / r[i]
        eta = min(max(np.float32(math.asinh(np.float64(slope))), np.float32(-6.0)), np.float32(6.0))
        features[i, 0], features[i, 1], features[i, 2] = x / scale, y / scale, z / scale
        features[i, 3], features[i, 4], features[i, 5] = r[i] / scale, x / r[i], y / r[i]
        features[i, 6], features[i, 7] = eta, min(max(slope, np.float32(-30.0)), np.float32(30.0)) / 10.0
        fourier(eta, phi[i], frequencies, features[i, 8:])
    x = np.dot(features, input_) + input_bias[0]
    rows = np.empty_like(x)
    for layer in range(n_layers):
        bending, origin = np.float32(constants[layer, 0]), np.float32(constants[layer, 1])
        for i in range(n):
            slope = np.float32(hits[i, 2] - origin) / r[i]
            eta = min(max(np.float32(math.asinh(np.float64(slope))), np.float32(-6.0)), np.float32(6.0))
            fourier(eta, phi[i] + np.float32(bending * r[i]), frequencies, waves[i])
        x += np.dot(waves, positions[layer])
        normalised(x, norm1[2 * layer], norm1[2 * layer + 1], rows)
        attended(np.dot(rows, qkv[layer]) + qkv_bias[layer], int(constants[layer, 3]), rows)
        x += np.dot(rows, out[layer]) + out_bias[layer]
        normalised(x, norm2[2 * layer], norm2[2 * layer + 1], rows)
        hidden = np.dot(rows, up[layer]) + up_bias[layer]
        x += np.dot(np.maximum(hidden, np.float32(0.0)), down[layer]) + down_bias[layer]
    normalised(x, norm[0], norm[1], rows)
    embedding: Array = np.dot(rows, head) + head_bias[0]
    return embedding
