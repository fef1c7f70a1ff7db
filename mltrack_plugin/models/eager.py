"""Networks of archives and checkpoints as ordinary torch modules: to train on, or to run with another backend."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mltrack_plugin.errors import ConfigurationError, ModelError
from mltrack_plugin.models import build_network
from mltrack_plugin.models.archive import ModelFile, read_model_file
from mltrack_plugin.models.card import ModelCard
from mltrack_plugin.models.checkpoint import load_checkpoint
from mltrack_plugin.models.torchscript import TorchScriptEngine

if TYPE_CHECKING:
    from torch import nn


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
    if file.path.suffix != ".pt":
        raise ModelError(
            f"{file.path}: only .pt archives and checkpoints hold the weights by name; this is {file.path.suffix}"
        )
    state = TorchScriptEngine(file.content, "cpu", str(file.path)).state_dict()
    try:
        network = build_network(file.card.architecture, file.card.hyperparameters)
        network.load_state_dict(state)
    except (ConfigurationError, RuntimeError) as error:
        raise ModelError(
            f"{file.path}: the weights do not fit the architecture of its card: {error}"
        ) from None
    return network.eval()
