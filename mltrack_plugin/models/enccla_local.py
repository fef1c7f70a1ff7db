"""EncCla with local attention: EncEmb's encoder, whose hits are classified into bins of the track-parameter space.

As in :mod:`mltrack_plugin.models.enccla` each hit gets a class, one of all combinations of quantile bins of the track
parameters, and the hits of one class are a track: no clustering. Attention is that of
:mod:`mltrack_plugin.models.encemb`, inside blocks of neighbouring hits. The encoder's last state is reduced to two
groups of columns: an embedding, in which the hits of a track lie together, and track parameters. In the consensus hits
agree with those near them in the embedding; the classes are linear in the parameters on which they agreed.

Shapes: B events, N hits (padded), M hits of all events (packed), d = ``d_model``, C classes.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
from typing import List  # noqa: UP035 - TorchScript

import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.models.attention import Packing
from mltrack_plugin.models.consensus import best_two, consensus
from mltrack_plugin.models.enccla import BinnedConfig
from mltrack_plugin.models.encemb import EncEmb, EncEmbConfig


class EncClaLocalConfig(EncEmbConfig, BinnedConfig):
    """Sizes and constants of an :class:`EncClaLocal`."""

    consensus_rounds: int = Field(5, ge=0)
    """Rounds of consensus before the output layer; 0 = none."""
    parameters: int = Field(4, ge=1)
    """Columns of track parameters."""


class EncClaLocal(EncEmb):
    """Hits in; the two most probable classes of each hit out.

    Args:
        config: sizes, constants and bins.
    """

    def __init__(self, config: EncClaLocalConfig) -> None:
        super().__init__(config)
        self.bins = config.quantile_bins()
        self.rounds = config.consensus_rounds
        self.embedding = config.embedding
        #: Logarithm of the width of the consensus along each column of the embedding.
        self.log_width = nn.Parameter(torch.zeros(config.embedding))
        self.head = nn.Linear(config.d_model, config.embedding + config.parameters)
        self.scores = nn.Linear(config.parameters, self.bins.n_classes)

    def columns(self, hits: Tensor, event: Tensor, counts: Tensor) -> Tensor:
        """(M, 3) hits as in :meth:`EncEmb.features` to (M, embedding + parameters), before the consensus."""
        return self.head(self.features(hits, event, counts)).float()  # type: ignore[no-any-return]

    def logits_of(self, columns: Tensor) -> Tensor:
        """(n, embedding + parameters) of one event to (n, C)."""
        moved = consensus(columns[None], self.log_width, self.rounds, None)[0]
        return self.scores(moved[:, self.embedding :])  # type: ignore[no-any-return]

    @torch.jit.unused
    def logits_packed(self, features: Tensor, packing: Packing) -> Tensor:
        """(M, 3) raw coordinates of packed events to (M, C)."""
        lengths = [n for n in packing.lengths if n]
        counts = torch.tensor(lengths, device=features.device)
        event = torch.repeat_interleave(torch.arange(len(lengths), device=features.device), counts)
        columns = self.columns(features, event, counts)
        return torch.cat([self.logits_of(one) for one in torch.split(columns, lengths)])

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """The classes of each hit.

        Args:
            features: (B, N, 3) Cartesian coordinates.
            mask: (B, N) bool, True = hit.

        Returns:
            (B, N, 4) as :func:`~mltrack_plugin.models.consensus.best_two`, 0 at padding.
        """
        output = torch.zeros(mask.shape[0], mask.shape[1], 4, dtype=torch.float32, device=features.device)
        counts = mask.sum(dim=1)
        event = torch.nonzero(mask)[:, 0]
        if event.shape[0] > 0:
            kept = counts[counts > 0]
            renumbered = torch.cumsum((counts > 0).long(), 0) - 1
            columns = self.columns(features[mask], renumbered[event], kept)
            lengths: List[int] = kept.tolist()  # noqa: UP006 - TorchScript
            # Event by event: the logits of thousands of classes are never held for more than one.
            found = [best_two(self.logits_of(one)) for one in torch.split(columns, lengths)]
            output[mask] = torch.cat(found)
        return output
