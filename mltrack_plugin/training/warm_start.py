"""Start a training from the weights of another model of the same architecture and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.settings import Config

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Rows of these belong to the outputs, one each.
_OUTPUTS = ("head.weight", "head.bias", "output_mean", "output_scale")


def start_from(
    network: nn.Module, name_or_path: str, targets: Sequence[str], settings: Config, free: set[str]
) -> tuple[str, dict[str, float]]:
    """Copy weights of a model into a network that regresses other, or some of the same, track parameters.

    Everything but the outputs must agree in name and shape, and what is not ``free`` in the settings. Rows of the
    outputs are copied by the name of the parameter, together with its mean and scale; parameters that the model does
    not have keep their initial rows. Other constants, such as the size of the detector, stay those of the network.

    Args:
        network: changed in place.
        name_or_path: see :func:`~mltrack_plugin.archives.eager.eager_network`.
        targets: names of the network's outputs.
        settings: of the network, or of the encoder that is a part of it.
        free: settings that may differ.

    Returns:
        name of the model, and the clustering scale of each copied output in units of its own scale (of networks whose
        outputs have one).

    Raises:
        ConfigurationError: if the networks differ, naming the weights and their shapes, or a setting.
        ModelError: if the model cannot be read.
    """
    other, card = eager_network(name_or_path)
    theirs: dict[str, Tensor] = other.state_dict()
    mine: dict[str, Tensor] = network.state_dict()
    differing = [
        f"{name} ({_shape(mine, name)} here, {_shape(theirs, name)} there)"
        for name in sorted(mine.keys() | theirs.keys())
        if name not in _OUTPUTS and _shape(mine, name) != _shape(theirs, name)
    ]
    if differing:
        raise ConfigurationError(
            f"start_from: {name_or_path} is a network of other sizes: {', '.join(differing[:3])}"
            + f" and {len(differing) - 3} more" * (len(differing) > 3)
        )
    trained: Any = card.hyperparameters.get("encoder", card.hyperparameters)
    same_settings(settings, type(settings), trained, free, name_or_path)
    constants = {name for name, _ in network.named_buffers()}
    rows = {name: card.outputs.index(name) for name in targets if name in card.outputs}
    with torch.no_grad():
        for name, value in mine.items():
            if name not in _OUTPUTS:
                if name not in constants:
                    value.copy_(theirs[name])
                continue
            for target, row in rows.items():
                value[list(targets).index(target)] = theirs[name][row]
    if "output_scale" not in theirs:
        return card.name, {}
    scales = {
        target: float(card.output_scales[row] / theirs["output_scale"][row]) for target, row in rows.items()
    }
    return card.name, scales


def same_settings(
    mine: Config, kind: type[Config], theirs: Mapping[str, object], free: set[str], source: str
) -> None:
    """Check what no shape of a weight shows: that both networks see hits in the same way.

    Args:
        mine: settings of the new network.
        kind: class of the settings that both have.
        theirs: settings of the trained network, and maybe others.
        free: settings that may differ.
        source: for the message.

    Raises:
        ConfigurationError: naming the first setting that differs.
    """
    trained = kind.model_validate({name: theirs[name] for name in kind.model_fields.keys() & theirs.keys()})
    for name in sorted(kind.model_fields.keys() - free):
        if getattr(trained, name) != getattr(mine, name):
            raise ConfigurationError(
                f"start_from: {source} has another encoder ({name} differs: {getattr(trained, name)} there, "
                f"{getattr(mine, name)} here)"
            )


def _shape(state: dict[str, Tensor], name: str) -> str:
    return "x".join(map(str, state[name].shape)) if name in state else "absent"
