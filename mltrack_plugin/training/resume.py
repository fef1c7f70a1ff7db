"""Before a training goes on: does its checkpoint belong to this configuration?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from mltrack_plugin.archives.checkpoint import read_checkpoint
from mltrack_plugin.errors import ModelError


def checked_step(path: Path, card: Mapping[str, Any], given: Mapping[str, Any], module: nn.Module) -> int:
    """The step at which a checkpoint was written, if it is one of the training that is to go on.

    Args:
        path: checkpoint of ``mltrack train``.
        card: what the training would write into a checkpoint now.
        given: settings of the network that the configuration states; those measured on events may differ.
        module: what is trained.

    Raises:
        ModelError: if the checkpoint is damaged, of another training or architecture, of other sizes, or of a network
            with other settings, which no shape of a weight need show; both are named.
    """
    content = read_checkpoint(path)
    try:
        theirs = content["mltrack"]["card"]
        found, settings = _identity(theirs), dict(theirs["hyperparameters"])
        weights = {name: tuple(tensor.shape) for name, tensor in content["state_dict"].items()}
        step = int(content["global_step"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ModelError(
            f"{path}: no checkpoint of mltrack train ({error!s} is missing or of another type)"
        ) from None
    for what, here in _identity(card).items():
        if found[what] != here:
            raise ModelError(
                f"{path} is a checkpoint of the {what} {found[what]!r}, but this training is of {here!r}; "
                "choose another folder with --output"
            )
    shapes = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    for name in sorted(shapes.keys() | weights.keys()):
        if shapes.get(name) != weights.get(name):
            raise ModelError(
                f"{path}: {name} is {_size(weights.get(name))}, but {_size(shapes.get(name))} in this configuration: "
                "the network has other sizes. Resume with the settings that it was started with, or choose "
                "another folder with --output"
            )
    for name in given:
        there, here = settings.get(name), card["hyperparameters"].get(name)
        if there != here:
            raise ModelError(
                f"{path}: {name} of the network is {there}, but {here} in this configuration. Resume with the settings "
                "that it was started with, or choose another folder with --output"
            )
    return step


def _identity(card: Mapping[str, Any]) -> dict[str, Any]:
    """What must be the same before and after an interruption."""
    return {
        "architecture": card["architecture"],
        "training": card["name"],
        "data set": card["training_data"]["dataset"],
    }


def _size(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else f"of shape {shape}"
