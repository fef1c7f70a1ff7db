"""Initial weights of a classifier from a trained network with the same encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.event_data.base import Array
from mltrack_plugin.models.enccla import BinnedConfig, EncCla, EncClaConfig
from mltrack_plugin.models.encreg import EncRegConfig
from mltrack_plugin.simulation.event import SimulatedEvent
from mltrack_plugin.training.encreg import MAX_TARGET
from mltrack_plugin.training.targets import hit_targets
from mltrack_plugin.training.warm_start import same_settings

#: Events on which the errors of a regression are measured.
EVENTS = 50
#: Hits that each class is given in addition to those found, so that an empty class is improbable, not impossible.
PRIOR = 0.5


def started_from(
    settings: dict[str, Any],
    bins: QuantileBins,
    source: str,
    events: Sequence[SimulatedEvent],
    width: float = 0.5,
) -> EncCla:
    """A classifier with the encoder, and the knowledge, of a trained network.

    From an EncCla everything is taken over, its bin edges included. From an EncReg the encoder is, and the classes
    start as the linear discriminants of its regressed parameters: Gaussian errors around the mean of each class. If
    there is a consensus, it is one in these parameters, of ``width`` times the model's clustering scales.

    Args:
        settings: of the classifier without its bins.
        bins: parameters and number of bins, with edges for a start from EncReg.
        source: see :func:`~mltrack_plugin.archives.eager.eager_network`.
        events: training events.
        width: of the consensus, in units of the distance at which EncReg's contrastive loss told tracks apart.

    Raises:
        ConfigurationError: if encoder or bins differ.
        ModelError: if the model cannot be read.
    """
    found, card = eager_network(source)
    trained: Any = found
    if card.architecture == "enccla":
        bins = bins_of(EncClaConfig.model_validate(card.hyperparameters), bins, source)
    elif card.architecture != "encreg":
        raise ConfigurationError(f"start_from: {source} is no EncReg or EncCla but {card.architecture}")
    config = EncClaConfig.with_bins(settings, bins)
    network = EncCla(config)
    state = network.state_dict()
    for name, value in trained.state_dict().items():
        taken = card.architecture == "enccla" or network.rounds > 0 or not name.startswith("head.")
        if name.startswith("output_") or not taken:
            continue
        if name not in state or state[name].shape != value.shape:
            raise ConfigurationError(f"start_from: {source} has another encoder ({name} differs)")
        state[name] = value
    same_settings(
        config, EncRegConfig, card.hyperparameters, {"dropout", "output_mean", "output_scale"}, source
    )
    network.load_state_dict(state)
    if card.architecture == "encreg":
        with torch.no_grad():
            if network.rounds:
                scales = torch.tensor(card.output_scales) / trained.output_scale
                network.log_width.copy_((width * scales).log())
            weight, bias = (
                torch.from_numpy(a) for a in _discriminants(trained, network, card.outputs, events)
            )
            layer: Any = network.scores if network.rounds else network.head
            if network.rounds:
                layer.weight.copy_(weight)
            else:
                layer.weight.copy_(weight @ trained.head.weight.double())
                bias = bias + weight @ trained.head.bias.double()
            layer.bias.copy_(bias)
    return network


def bins_of(trained: BinnedConfig, bins: QuantileBins, source: str) -> QuantileBins:
    """The bins of a trained classifier (raises ``ConfigurationError`` if it has other parameters or numbers)."""
    theirs = trained.quantile_bins()
    if (theirs.names, theirs.shape) != (bins.names, bins.shape):
        raise ConfigurationError(
            f"start_from: {source} has the bins {dict(zip(theirs.names, theirs.shape, strict=True))}, "
            f"not {dict(zip(bins.names, bins.shape, strict=True))}"
        )
    return theirs


def _discriminants(
    trained: Any, network: EncCla, outputs: tuple[str, ...], events: Sequence[SimulatedEvent]
) -> tuple[Array, Array]:
    """(C, K) and (C,) float64: the logit of class c is weight[c] . u + bias[c] for normalised outputs u (K,)."""
    mean, scale = trained.output_mean.double().numpy(), trained.output_scale.double().numpy()
    number, target = class_targets(network.bins, outputs, mean, scale, events)
    errors = []
    for i, event in enumerate(events[:EVENTS]):
        real = number[i] >= 0
        if len(real):
            features = torch.from_numpy(np.array(event.hits.positions, dtype=np.float32))[None]
            with torch.inference_mode():
                found = trained.normalised(features, torch.ones(1, len(real), dtype=torch.bool))
                found = network.consensus(found, None)[0].numpy()
            errors.append((found - target[i])[real])
    # Frequent classes come first where hits are undecided. After a consensus that would only merge tracks.
    return discriminants(network.bins, number, target, np.concatenate(errors), prior=not network.rounds)


def class_targets(
    bins: QuantileBins, outputs: tuple[str, ...], mean: Array, scale: Array, events: Sequence[SimulatedEvent]
) -> tuple[list[Array], list[Array]]:
    """For each event the class (n,) of each hit, -1 for noise, and its normalised targets (n, K)."""
    numbers, targets = [], []
    for event in events:
        values, row = hit_targets(event.particles, event.truth_links, bins.names)
        target, _ = hit_targets(event.particles, event.truth_links, outputs)
        numbers.append(np.where(row >= 0, bins.classes(values), -1))
        targets.append(np.clip((target - mean) / scale, -MAX_TARGET, MAX_TARGET))
    return numbers, targets


def discriminants(
    bins: QuantileBins, numbers: Sequence[Array], targets: Sequence[Array], errors: Array, *, prior: bool
) -> tuple[Array, Array]:
    """Linear discriminants of the classes for Gaussian errors around the mean of each class.

    Args:
        bins: whose combinations are the classes.
        numbers, targets: see :func:`class_targets`.
        errors: (m, K) of the normalised parameters that the classes are told by.
        prior: let frequent classes come first.

    Returns:
        weight (C, K) and bias (C,) float64 of the logits.
    """
    number, target = np.concatenate(numbers), np.concatenate(targets)
    number, target = number[number >= 0], target[number >= 0]
    count = np.bincount(number, minlength=bins.n_classes)
    center = _class_means(number, count, target, bins)
    within = np.cov((target - center[number]).T)
    covariance = np.atleast_2d(np.cov(errors.T) + within) + 1e-6 * np.eye(target.shape[1])
    weight = np.linalg.solve(covariance, center.T).T
    bias = -0.5 * (weight * center).sum(axis=1)
    if prior:
        bias += np.log((count + PRIOR) / count.sum())
    return weight, bias


def _class_means(number: Array, count: Array, target: Array, bins: QuantileBins) -> Array:
    """(C, K): mean target of each class. Those of rare classes lean on the sum of the effects of their bins."""
    overall = target.mean(axis=0)
    index = np.stack(np.unravel_index(np.arange(bins.n_classes), bins.shape), axis=1)
    expected = np.tile(overall, (bins.n_classes, 1))
    for i, n_bins in enumerate(bins.shape):
        own = index[number, i]
        sums = np.stack([np.bincount(own, column, minlength=n_bins) for column in target.T], axis=1)
        means = sums / np.maximum(np.bincount(own, minlength=n_bins), 1)[:, None]
        expected += (means - overall)[index[:, i]]
    sums = np.stack([np.bincount(number, column, minlength=bins.n_classes) for column in target.T], axis=1)
    return np.asarray((sums + PRIOR * expected) / (count + PRIOR)[:, None])
