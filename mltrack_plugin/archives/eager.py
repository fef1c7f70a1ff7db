"""Networks of archives and checkpoints as ordinary torch modules: to train on, or to run with another backend."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from mltrack_plugin.archives.archive import ModelFile, read_model_file
from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.checkpoint import load_checkpoint
from mltrack_plugin.archives.fitting import network_with_weights
from mltrack_plugin.archives.torchscript import TorchScriptEngine
from mltrack_plugin.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from mltrack_plugin.archives.track_model import TrackModel
    from mltrack_plugin.event_data.base import Array

#: Type of the numbers that a network computes with; weights and outputs stay float32.
Precision = Literal["float32", "bfloat16", "float16"]


def eager_network(name_or_path: str | Path) -> tuple[nn.Module, ModelCard]:
    """The network of a shipped model, of an archive ``.pt``, or of a checkpoint ``.ckpt`` of ``mltrack train``.

    Returns:
        the network in evaluation mode on the CPU, and its card.

    Raises:
        ModelError: if the file cannot be read, or is an archive of another format, which holds no module.
    """
    if Path(name_or_path).suffix == ".ckpt":
        return load_checkpoint(name_or_path)
    file = read_model_file(name_or_path)
    return network_of(file), file.card


def network_of(file: ModelFile) -> nn.Module:
    """The network of a verified ``.pt`` archive as an eager module on the CPU (raises ``ModelError``)."""
    if file.path.suffix != ".pt" or file.archive is None:
        raise ModelError(
            f"{file.path}: only .pt archives and checkpoints hold the weights by name; this is {file.path.suffix}"
        )
    return network_with(file.card, TorchScriptEngine(file.archive, "cpu", str(file.path)), str(file.path))


def network_with(card: ModelCard, engine: TorchScriptEngine, source: str) -> nn.Module:
    """The network of a card with the weights of a loaded archive (raises ``ModelError``, naming ``source``)."""
    return network_with_weights(card.architecture, card.hyperparameters, engine.state_dict(), source)


def with_backend(model: TrackModel, backend: str, precision: Precision) -> TrackModel:
    """The same model, run as an eager network with a choice of attention and precision.

    Args:
        model: loaded from a ``.pt`` archive.
        backend: see :mod:`mltrack_plugin.models.attention`; "flash" needs a GPU and half precision.
        precision: see above.

    Raises:
        ModelError: if the archive has another format, or is no longer the file that was loaded.
        ConfigurationError: if the machine or the architecture does not have the backend.
        MissingExtraError: for "flash" without flash-attn.
    """
    from mltrack_plugin.models.attention import check_flash_ready, use_backend

    if backend == "flash":
        check_flash_ready(model.device, half=precision != "float32")
    network = network_of(read_model_file(model.path, expected_sha256=model.sha256))
    if backend != "sdpa":
        use_backend(network, backend)
    return dataclasses.replace(model, engine=EagerEngine(network, model.device, precision))


class EagerEngine:
    """A network as a torch module, with mixed precision.

    Args:
        network: ``forward(features, mask)``, in evaluation mode; moved to the device.
        device: "cpu" or "cuda".
        precision: of matrix products and attention.
    """

    def __init__(self, network: nn.Module, device: str, precision: Precision = "float32") -> None:
        self._network = network.to(device)
        self._device = device
        self._precision = precision

    def __call__(self, *inputs: Array) -> Array:
        """See :class:`~mltrack_plugin.archives.track_model.Engine`."""
        import torch

        mixed: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        if self._precision != "float32":
            mixed = torch.autocast(self._device, dtype=getattr(torch, self._precision))
        with torch.inference_mode(), mixed:
            output = self._network(*(torch.from_numpy(array).to(self._device) for array in inputs))
        result: Array = output.float().cpu().numpy()
        return result
