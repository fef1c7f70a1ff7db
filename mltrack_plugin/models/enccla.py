"""EncCla: an encoder-only Transformer that classifies hits into bins of the track-parameter space.

Caron et al., "Efficient ML-Assisted Particle Track Reconstruction Designs": all hits of an event go in; each hit gets
a class, one of all combinations of quantile bins of the track parameters, and the hits of one class are a track: no
clustering. The largest published network has 6 blocks, d 128, hidden width 256, 8 heads, dropout 10% and 5400 classes
(phi, theta, q, p in 30, 30, 2, 3 bins). All but the output layer is that of :mod:`mltrack_plugin.models.encreg`.

Close to the border of a bin, hits of one track fall on both sides. As an option that is not published, a consensus
comes before the output layer: the encoder's last state is reduced to a few columns, as EncReg regresses track
parameters, and in each round a hit moves to the mean of the hits near it in these columns: attention with a Gaussian of
the distance as weight (mean shift), of learned widths. The classes are then linear in the columns.

Shapes: B events, N hits (padded), M hits of all events (packed), F features, d = ``d_model``, C classes.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mltrack_plugin.clustering.quantile_bins import QuantileBins
from mltrack_plugin.models.attention import Packing
from mltrack_plugin.models.consensus import best_two, consensus
from mltrack_plugin.models.encreg import EncReg, EncRegConfig
from mltrack_plugin.settings import Config, validated


class ParameterBins(Config):
    """Quantile bins of one track parameter."""

    name: str
    """Track parameter, as training targets are named."""
    edges: tuple[float, ...] = Field(min_length=2)
    """Rising edges in the parameter's unit; values beyond the ends belong to the outermost bins."""


def parameter_bins(bins: QuantileBins) -> tuple[ParameterBins, ...]:
    """Bins as settings of a network."""
    pairs = zip(bins.names, bins.edges, strict=True)
    return tuple(ParameterBins(name=name, edges=tuple(edges.tolist())) for name, edges in pairs)


def quantile_bins(bins: Sequence[ParameterBins]) -> QuantileBins:
    """The inverse of :func:`parameter_bins`."""
    return QuantileBins(tuple(b.name for b in bins), tuple(np.array(b.edges) for b in bins))


class BinnedConfig(Config):
    """The classes of a classifier of hits."""

    bins: tuple[ParameterBins, ...] = Field(min_length=1)
    """Bins of the track parameters; classes number their combinations, the last parameter running fastest."""

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.quantile_bins().n_classes < 2:
            raise ValueError("a classifier needs two classes or more")
        return self

    @classmethod
    def with_bins(cls, settings: Mapping[str, Any], bins: QuantileBins) -> Self:
        """Other settings, and the bins (raises ``ConfigurationError``, naming each setting that is wrong)."""
        config = validated(cls, {**settings, "bins": parameter_bins(bins)}, "network")
        assert isinstance(config, cls)
        return config

    def quantile_bins(self) -> QuantileBins:
        """The bins as arrays."""
        return quantile_bins(self.bins)


class EncClaConfig(EncRegConfig, BinnedConfig):
    """Sizes and constants of an :class:`EncCla`."""

    consensus_rounds: int = Field(0, ge=0)
    """Rounds of consensus before the output layer; 0 = none, as published."""
    consensus_columns: int = Field(3, ge=1)
    """Columns in which hits are near each other or not."""


class EncCla(EncReg):
    """Hits in; the two most probable classes of each hit out.

    Args:
        config: sizes, input constants and bins.
    """

    def __init__(self, config: EncClaConfig) -> None:
        super().__init__(config)
        self.bins = config.quantile_bins()
        self.rounds = config.consensus_rounds
        columns = config.consensus_columns if self.rounds else 0
        #: Logarithm of the width of the consensus along each column.
        self.log_width = nn.Parameter(torch.zeros(columns))
        self.head = nn.Linear(config.d_model, columns or self.bins.n_classes)
        self.scores = nn.Linear(columns, self.bins.n_classes) if columns else nn.Identity()

    def logits(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, F) raw coordinates and (B, N) mask (True = hit) to (B, N, C)."""
        x = self.normalised(features, mask)
        if self.rounds:
            x = self.consensus(x.float(), self.key_bias(mask, torch.float32))
        return self.scores(x)  # type: ignore[no-any-return]

    @torch.jit.unused
    def logits_packed(self, features: Tensor, packing: Packing) -> Tensor:
        """(M, F) raw coordinates of packed events to (M, C)."""
        x = self.normalised_packed(features, packing)
        if self.rounds:
            events = torch.split(x.float(), list(packing.lengths))
            x = torch.cat([self.consensus(event[None], None)[0] for event in events])
        return self.scores(x)  # type: ignore[no-any-return]

    def consensus(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """(B, N, columns) -> (B, N, columns) after all rounds; bias (B, 1, 1, N) is -inf at padded hits."""
        return consensus(x, self.log_width, self.rounds, bias)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """The classes of each hit.

        Args:
            features: (B, N, F) raw coordinates.
            mask: (B, N) bool, True = hit.

        Returns:
            (B, N, 4): most probable class (a whole number), its probability, the second class, its probability.
        """
        return best_two(self.logits(features, mask))
