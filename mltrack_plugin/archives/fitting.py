"""A network built from settings that a file states, with the weights that it holds; neither is trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mltrack_plugin.archives.time_limit import LOAD_SECONDS, within
from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.models import build_network

if TYPE_CHECKING:
    from torch import nn

#: A network may have this many numbers and tensors beyond those of the file: constants that follow from settings.
_MORE_NUMBERS, _MORE_TENSORS = 10_000_000, 10_000


def network_with_weights(
    architecture: Any, settings: Any, weights: Any, source: str, *, given: tuple[str, ...] = ()
) -> nn.Module:
    """A network in evaluation mode with the weights of a file.

    Args:
        architecture: its name.
        settings: of the architecture.
        weights: tensors by name; constants that follow from the settings may be among them and are not taken.
        source: the file, for messages.
        given: constants that ``settings`` state and ``weights`` need not have.

    Raises:
        ModelError: if these are no settings or weights of a network, do not fit, or if the network would be larger
            than its weights.
    """
    if not isinstance(weights, Mapping) or not all(map(_is_plain, weights, weights.values())):
        raise ModelError(
            f"{source}: the weights do not fit the architecture: plain tensors by name are expected"
        )
    if not isinstance(architecture, str) or not isinstance(settings, Mapping):
        raise ModelError(
            f"{source}: the architecture or its settings are of another type than they should be"
        )
    numbers = sum(tensor.numel() for tensor in weights.values()) + _MORE_NUMBERS
    tensors = 10 * len(weights) + _MORE_TENSORS

    def build() -> nn.Module:
        with _allocation_limit(numbers, tensors):
            return build_network(architecture, settings)

    try:
        network = within(LOAD_SECONDS, build, source, "building the network")
        own = network.state_dict()
        constants = {name for name, _ in network.named_buffers()} - own.keys()
        state = {name: value for name, value in weights.items() if name not in constants}
        state = {name: own[name] for name in given if name in own and name not in state} | state
        for name in own.keys() & state.keys():
            if own[name].is_floating_point() != state[name].is_floating_point():
                raise ModelError(f"{source}: {name} is {state[name].dtype}, {own[name].dtype} is expected")
        network.load_state_dict(state)
    except ModelError:
        raise
    except ConfigurationError as error:
        raise ModelError(f"{source}: the weights do not fit the architecture: {error}") from None
    except Exception as error:
        raise ModelError(f"{source}: the weights do not fit the architecture: {_short(error)}") from None
    return network.eval()


def _is_plain(name: Any, tensor: Any) -> bool:
    import torch

    return isinstance(name, str) and isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided


def _short(error: Exception) -> str:
    """What torch says, which may list every weight."""
    text = str(error).strip() or type(error).__name__
    return text if len(text) < 2000 else f"{text[:2000]} ..."


def _allocation_limit(numbers: int, tensors: int) -> Any:
    """A context in which a network cannot take more memory than its weights need (``ConfigurationError``)."""
    import torch
    from torch.overrides import TorchFunctionMode

    created = {torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.eye}

    class Limit(TorchFunctionMode):
        count = 0

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func in created:
                self.count += 1
                if self.count > tensors or _requested(args, kwargs or {}) > numbers:
                    raise ConfigurationError("its settings describe a far larger network")
            return func(*args, **(kwargs or {}))

    return Limit()


def _requested(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> int:
    """How many numbers a call of ``torch.empty`` and its like asks for."""
    size = kwargs.get("size", args)
    if size and isinstance(size[0], (tuple, list)):
        size = size[0]
    return math.prod(n for n in size if isinstance(n, int))
