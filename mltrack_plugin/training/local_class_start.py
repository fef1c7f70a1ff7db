"""Initial weights of a classifier with local attention from a trained embedding with the same encoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.models.consensus import consensus
from mltrack_plugin.models.enccla_local import EncClaLocal, EncClaLocalConfig
from mltrack_plugin.models.encemb import EncEmbConfig
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.class_start import EVENTS, bins_of, class_targets, discriminants
from mltrack_plugin.training.targets import hit_targets
from mltrack_plugin.training.warm_start import same_settings

#: Added to the diagonal of the normal equations, in hits.
RIDGE = 1e-2


def started_from_embedding(
    settings: dict[str, Any],
    bins: QuantileBins,
    source: str,
    events: Sequence[SimulatedEvent],
    targets: tuple[str, ...],
    width: float = 0.5,
) -> EncClaLocal:
    """A classifier with the encoder and the embedding of a trained network.

    From an EncClaLocal everything is taken over, its bin edges included. From an EncEmb the encoder and the embedding
    are; the track parameters are read off the encoder's last state by least squares; the classes start as the linear
    discriminants of the parameters on which hits agree: Gaussian errors around the mean of each class.

    Args:
        settings: of the classifier without its bins.
        bins: parameters and number of bins, with edges for a start from EncEmb.
        source: see :func:`~mltrack_plugin.archives.eager.eager_network`.
        events: training events.
        targets: track parameters, one for each column of ``settings["parameters"]``.
        width: of the consensus, in units of the embedding.

    Raises:
        ConfigurationError: if encoder or bins differ.
        ModelError: if the model cannot be read.
    """
    trained, card = eager_network(source)
    theirs: dict[str, Any] = trained.state_dict()
    whole = card.architecture == "enccla-local"
    if whole:
        bins = bins_of(EncClaLocalConfig.model_validate(card.hyperparameters), bins, source)
    elif card.architecture != "encemb":
        raise ConfigurationError(f"start_from: {source} is no EncEmb or EncClaLocal but {card.architecture}")
    config = EncClaLocalConfig.with_bins(settings, bins)
    network = EncClaLocal(config)
    state = network.state_dict()
    for name in sorted(state.keys() | theirs.keys()):
        if not whole and name.startswith(("head.", "scores.", "log_width")):
            continue
        if name not in state or name not in theirs or state[name].shape != theirs[name].shape:
            raise ConfigurationError(f"start_from: {source} has another encoder ({name} differs)")
        state[name] = theirs[name]
    same_settings(config, EncEmbConfig, card.hyperparameters, {"embedding"}, source)
    if not whole:
        if len(theirs["head.bias"]) != network.embedding:
            raise ConfigurationError(
                f"start_from: {source} embeds hits in {len(theirs['head.bias'])} dimensions, "
                f"not in {network.embedding}"
            )
        for name in ("head.weight", "head.bias"):
            state[name][: network.embedding] = theirs[name]
        state["log_width"].fill_(math.log(width))
    network.load_state_dict(state)
    if not whole:
        _read_off(network, events, targets)
    return network


def _read_off(network: EncClaLocal, events: Sequence[SimulatedEvent], targets: tuple[str, ...]) -> None:
    """Set the columns of the track parameters, and the classes, from training events."""
    mean, scale = _spread(events, targets)
    number, target = class_targets(network.bins, targets, mean, scale, events)
    found = [_last_state(network, event) for event in events[:EVENTS]]
    real = [one >= 0 for one in number]
    seen = np.concatenate([state[use] for (state, _), use in zip(found, real, strict=False)])
    wanted = np.concatenate([one[use] for one, use in zip(target[: len(found)], real, strict=False)])
    solved = np.linalg.solve(seen.T @ seen + RIDGE * np.eye(seen.shape[1]), seen.T @ wanted)
    errors = []
    for i, (state, embedding) in enumerate(found):
        x = torch.from_numpy(np.hstack([embedding, (state @ solved).astype(np.float32)]))[None]
        with torch.inference_mode():
            agreed = consensus(x, network.log_width, network.rounds, None)[0, :, network.embedding :].numpy()
        errors.append((agreed - target[i])[real[i]])
    weight, bias = discriminants(
        network.bins, number, target, np.concatenate(errors), prior=not network.rounds
    )
    with torch.no_grad():
        network.head.weight[network.embedding :] = torch.from_numpy(solved[:-1].T)
        network.head.bias[network.embedding :] = torch.from_numpy(solved[-1])
        network.scores.weight.copy_(torch.from_numpy(weight))
        network.scores.bias.copy_(torch.from_numpy(bias))


def _last_state(network: EncClaLocal, event: SimulatedEvent) -> tuple[Array, Array]:
    """Of each hit: the last state and a one (n, d + 1) float64; the embedding (n, K) float32."""
    n = len(event.hits)
    if not n:
        return np.zeros((0, network.head.in_features + 1)), np.zeros((0, network.embedding), np.float32)
    hits = torch.from_numpy(np.array(event.hits.positions, dtype=np.float32))
    with torch.inference_mode():
        last = network.features(hits, torch.zeros(n, dtype=torch.long), torch.tensor([n]))
        embedding = network.head(last)[:, : network.embedding].numpy()
    return np.hstack([last.double().numpy(), np.ones((n, 1))]), embedding


def _spread(events: Sequence[SimulatedEvent], targets: tuple[str, ...]) -> tuple[Array, Array]:
    """Median and half the central 68% of the hits' targets, (K,) each."""
    found = [hit_targets(event.particles, event.truth_links, targets) for event in events]
    values = np.concatenate([target[row >= 0] for target, row in found]).astype(np.float64)
    low, middle, high = np.percentile(values, [16.0, 50.0, 84.0], axis=0)
    return middle, np.maximum((high - low) / 2.0, 1e-3)
