"""Training of :class:`~mltrack_plugin.models.unet.UNet`: classes of quantile bins, one parameter at a time."""

from __future__ import annotations

import torch
from torch import Tensor

from mltrack_plugin.archives.eager import eager_network
from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.errors import ConfigurationError
from mltrack_plugin.models.enccla import parameter_bins
from mltrack_plugin.models.unet import OUTPUTS, UNet, UNetConfig
from mltrack_plugin.training.classes import ClassTask, ClassTraining, ClassTrainingConfig
from mltrack_plugin.training.data import PackedBatch
from mltrack_plugin.training.losses import agreement_loss, class_loss


class UNetTrainingConfig(ClassTrainingConfig):
    """A training run of a U-Net."""

    architecture: str = "unet"


class UNetTraining(ClassTraining):
    """The losses of the classes, from the probabilities of each parameter's bins."""

    def losses(self, batch: PackedBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """As in the base; the last are the logarithms (M, V, 1 + bins) of :meth:`UNet.log_probabilities`."""
        config, network, device = self.config, self.network, batch.particle.device
        lengths = torch.tensor(batch.packing.lengths, device=device)
        event = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
        logs = network.log_probabilities(batch.features, event)
        real = (batch.particle >= 0)[:, None]
        values = batch.targets.cpu().numpy()
        bins = [
            QuantileBins((name,), (edges,))
            for name, edges in zip(network.bins.names, network.bins.edges, strict=True)
        ]
        entropy = torch.zeros((), device=device)
        factors = [torch.softmax(logs[..., :1], dim=1)]
        if network.views > 1:
            # The bin of the first parameter is the view; the others are looked for in the particle's own view.
            view = torch.from_numpy(bins[0].classes(values[:, :1])).to(device)
            entropy = entropy + class_loss(logs[..., 0], view[:, None], real.float())
            own = logs[torch.arange(len(view), device=device), view]
        else:
            own = logs[:, 0]
        first = 1
        for column in range(len(bins) - len(network.shape), len(bins)):
            n = bins[column].shape[0]
            found, weights = bins[column].shared(
                values[:, column : column + 1], config.smoothing, self.smooth
            )
            classes, shares = torch.from_numpy(found).to(device), torch.from_numpy(weights).to(device)
            entropy = entropy + class_loss(own[:, first : first + n], classes, shares * real)
            # Not exp(): it takes four times as long, on denormal results.
            factors.append(torch.softmax(logs[..., first : first + n], dim=2))
            first += n
        together, apart = agreement_loss(factors, batch.particle, batch.packing.lengths, config.anchors)
        return entropy, together, apart, logs

    def best(self, found: Tensor) -> tuple[Tensor, Tensor]:
        choices = self.network.choices(found)
        return choices[:, 1::2], choices[:, 0::2].long()


class UNetTask(ClassTask):
    """Classes of quantile bins by sparse convolutions; validation scores the groups of equal class."""

    Config = UNetTrainingConfig
    outputs = OUTPUTS

    def classifier(self) -> UNetTraining:
        bins, _ = self.measured_bins()
        network = UNet(self.settings(bins))
        if self.config.start_from is not None:
            self._start(network, bins)
        return UNetTraining(self.config, network)

    def settings(self, bins: QuantileBins) -> UNetConfig:
        scale = self.config.length_scale
        return self.settings_for(UNetConfig, length_scale=scale, bins=parameter_bins(bins))

    def _start(self, network: UNet, bins: QuantileBins) -> None:
        """Take over the weights of ``start_from``; where the axes of the image are parameters, its bins may differ."""
        other, card = eager_network(self.config.start_from)
        mine = self.settings(bins).model_dump(mode="json")
        if card.architecture != "unet":
            raise ConfigurationError(f"start_from: {card.name} is no U-Net but {card.architecture}")
        ignored = {"bins"} if network.located else set()
        differing = [name for name in mine.keys() - ignored if mine[name] != card.hyperparameters.get(name)]
        if differing:
            raise ConfigurationError(
                f"start_from: {card.name} is a network of other settings: {', '.join(sorted(differing))}"
            )
        network.load_state_dict(other.state_dict())
