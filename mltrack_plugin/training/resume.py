"""Before a training goes on: does its checkpoint belong to this configuration?"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from mltrack_plugin.errors import ModelError
from mltrack_plugin.models.checkpoint import read_checkpoint


def checked_step(path: Path, architecture: str, module: nn.Module) -> int:
    """The step at which a checkpoint was written, if its weights fit the module.

    Args:
        path: checkpoint of ``mltrack train``.
        architecture: of the training that is to go on.
        module: what is trained.

    Raises:
        ModelError: if the checkpoint is damaged, of another architecture, or of other sizes; both are named.
    """
    content = read_checkpoint(path)
    try:
        found = content["mltrack"]["architecture"]
        weights = {name: tuple(tensor.shape) for name, tensor in content["state_dict"].items()}
        step = int(content["global_step"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(
            f"{path}: no checkpoint of mltrack train ({error!s} is missing or of another type)"
        ) from None
    if found != architecture:
        raise ModelError(
            f"{path} is a checkpoint of the architecture {found!r}, but {architecture!r} is to be trained; choose "
            "another folder with --output"
        )
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in sorted(wanted.keys() | weights.keys()):
        if wanted.get(name) != weights.get(name):
            raise ModelError(
                f"{path}: {name} is {_size(weights.get(name))}, but {_size(wanted.get(name))} in this configuration: "
                "the network has other sizes. Resume with the settings that it was started with, or choose "
                "another folder with --output"
            )
    return step


def _size(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else f"of shape {shape}"
