"""Networks, one architecture a file, built by :func:`build_network`.

Their files are :mod:`mltrack_plugin.archives`; `attention`, `sparse`, `decoder`, `surfaces`, `consensus`,
`hypotheses`, `gnn_layers`, `plane_images` and `plane_raster` hold what several networks share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, get_type_hints

from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.registry import find
from mltrack_plugin.settings import Config, validated

if TYPE_CHECKING:
    from torch import nn


def build_network(architecture: str, config: Mapping[str, Any]) -> nn.Module:
    """A network with untrained weights.

    Args:
        architecture: name of a registered network (entry point group ``mltrack_plugin.networks``).
        config: its settings, see :func:`network_config`.

    Raises:
        ConfigurationError: for an unknown architecture or setting (the nearest is named), or a wrong value.
    """
    kind = find("network", architecture)
    settings = validated(network_config(architecture), config, f"architecture {architecture!r}")
    try:
        network: nn.Module = kind(settings)
    except ValueError as error:
        raise ConfigurationError(f"architecture {architecture!r}: {error}") from error
    return network


def network_config(architecture: str) -> type[Config]:
    """The settings of a network: what the one argument of its constructor is annotated with.

    Raises:
        ConfigurationError: if there is no such network, or its constructor has not exactly that one argument.
    """
    constructor = find("network", architecture).__init__
    kinds = {name: kind for name, kind in get_type_hints(constructor).items() if name != "return"}
    kind = next(iter(kinds.values()), None)
    if len(kinds) != 1 or not (isinstance(kind, type) and issubclass(kind, Config)):
        raise ConfigurationError(
            f"architecture {architecture!r}: {constructor.__qualname__} must take one argument, annotated with a "
            "subclass of mltrack_plugin.Config"
        )
    return kind
