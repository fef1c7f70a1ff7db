"""EncDec: an encoder-decoder Transformer that rebuilds tracks hit by hit, each from a seed.

Caron et al., "Efficient ML-Assisted Particle Track Reconstruction Designs": the encoder reads all hits of an event, the
decoder starts from the first hits of a track and emits its further hits one after the other. The paper leaves open how
an emitted hit is represented, and the sizes. Here the decoder points: its output is a probability of each hit of the
event to be the track's next one, and of "the track ends here", so no predicted position has to be matched to a hit.

The hits of a track are ordered by their distance from the origin, which is their order in time unless a particle
curls up. Only hits further out than the last one can be next. The encoder is an :class:`~mltrack_plugin.models.encreg
.EncReg` with one output per column of the residual stream; it runs once per event. The decoder takes a step of all
tracks of an event together, with the keys and values of earlier steps kept.

The network has seeds of its own, too: a probability of each hit to be the first of its track.

Shapes: B events, N hits (padded), S seeds (padded), k hits of a seed, T hits of a track, d = ``d_model``, h heads.
Inside, hits are sorted by distance: "place" is the position of a hit in that order.
"""

# No "from __future__ import annotations" here: TorchScript cannot resolve class annotations given as text.
import math

import torch
from pydantic import Field
from torch import Tensor, nn

from mltrack_plugin.models.attention import key_bias
from mltrack_plugin.models.decoder import DecoderBlock
from mltrack_plugin.models.encreg import EncReg, EncRegConfig
from mltrack_plugin.settings import Config


class EncDecConfig(Config):
    """Sizes and constants of an :class:`EncDec`."""

    encoder: EncRegConfig = EncRegConfig.model_validate({"norm_first": True})
    """The encoder; its widths, heads and dropout are the decoder's as well, its outputs are ``d_model`` columns."""
    decoder_layers: int = Field(2, ge=1)
    """Decoder blocks (pre-norm)."""
    max_hits: int = Field(32, ge=2)
    """Largest number of hits of a track."""
    distance_frequencies: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0)
    """Frequencies of the Fourier features of the distance from the origin, which is in units of ``input_scale``."""


def distance_order(features: Tensor, mask: Tensor) -> Tensor:
    """(B, N) rows of the hits by distance from the origin, padding last; equal distances by row."""
    distance = features.square().sum(dim=2).masked_fill(~mask, math.inf)
    return torch.sort(distance, dim=1, stable=True)[1]


class EncDec(nn.Module):
    """Hits and seeds in, tracks out.

    Args:
        config: sizes and constants.
    """

    def __init__(self, config: EncDecConfig) -> None:
        super().__init__()
        d = config.encoder.d_model
        columns = {"output_mean": (0.0,) * d, "output_scale": (1.0,) * d}
        self.encoder = EncReg(config.encoder.model_copy(update=columns))
        self.n_heads = config.encoder.n_heads
        self.max_hits = config.max_hits
        self.distance_frequencies = [float(f) for f in config.distance_frequencies]
        self.distance = nn.Linear(1 + 2 * len(config.distance_frequencies), d)
        #: What is added to the i-th hit of a track.
        self.number = nn.Embedding(config.max_hits, d)
        self.blocks = nn.ModuleList([DecoderBlock(config.encoder) for _ in range(config.decoder_layers)])
        self.final_norm = nn.LayerNorm(d)
        self.pointer_query = nn.Linear(d, d)
        self.pointer_key = nn.Linear(d, d)
        self.end = nn.Linear(d, 1)
        self.first = nn.Linear(d, 1)

    @torch.jit.unused
    def start_as_kernel(self, sharpness: float, n_blocks: int = 3) -> None:
        """Set initial weights so that attention and the pointer prefer hits near in phi and eta.

        As :meth:`EncReg.start_as_kernel <mltrack_plugin.models.encreg.EncReg.start_as_kernel>`, whose columns of the
        residual stream the decoder's queries and keys pick as well.

        Args:
            sharpness: logit per unit of the summed cosines.
            n_blocks: encoder blocks that start this way.
        """
        self.encoder.start_as_kernel(sharpness, n_blocks)
        embedding = self.encoder.embedding
        n = 2 * (len(embedding.phi_frequencies) + len(embedding.eta_frequencies))
        scale = math.sqrt(sharpness * math.sqrt(self.first.in_features))
        with torch.no_grad():
            nn.init.eye_(self.encoder.head.weight)
            self.encoder.head.bias.zero_()
            for linear in (self.pointer_query, self.pointer_key):
                linear.weight.zero_()
                for column in range(n):
                    linear.weight[column, column] = scale

    def hits(self, features: Tensor, mask: Tensor) -> Tensor:
        """(B, N, 3) coordinates and (B, N) mask to (B, N, d): each hit in its event."""
        distance = features.square().sum(dim=2, keepdim=True).sqrt() / self.encoder.embedding.scale[0]
        columns = [distance]
        for frequency in self.distance_frequencies:
            columns += [torch.sin(distance * frequency), torch.cos(distance * frequency)]
        return self.encoder.normalised(features, mask) + self.distance(torch.cat(columns, dim=2))  # type: ignore[no-any-return]

    def pointer(self, state: Tensor, keys: Tensor, allowed: Tensor) -> Tensor:
        """Logits of what comes next.

        Args:
            state: (B, M, d) of the decoder.
            keys: (B, N, d) of the hits.
            allowed: (B, M, N) bool, hits that may come next.

        Returns:
            (B, M, N + 1); the last column is "the track ends here".
        """
        state = self.final_norm(state)
        logits = self.pointer_query(state) @ keys.transpose(1, 2) / math.sqrt(state.shape[2])
        return torch.cat([logits.masked_fill(~allowed, -math.inf), self.end(state)], dim=2)

    @torch.jit.unused
    def next_logits(self, features: Tensor, mask: Tensor, track: Tensor) -> tuple[Tensor, Tensor]:
        """What the decoder says after each hit of known tracks, all at once (teacher forcing).

        As each hit is on one track, the hits are the decoder's input as they are: a hit attends to the hits of its
        track up to itself.

        Args:
            features: (B, N, 3) in the order of :func:`distance_order`.
            mask: (B, N) bool, True = hit.
            track: (B, N) int64, tracks by any number; hits with a negative one are tracks of their own.

        Returns:
            (B, N, N + 1) logits of the hit that follows each hit on its track (see :meth:`pointer`), and (B, N) logits
            of being the first hit of a track.
        """
        n = mask.shape[1]
        hits = self.hits(features, mask)
        one = torch.ones(n, n, dtype=torch.bool, device=mask.device)
        together = (track[:, :, None] == track[:, None, :]) & (track >= 0)[:, None, :]
        together = (together & one.tril()) | torch.eye(n, dtype=torch.bool, device=mask.device)
        number = (together.sum(dim=2) - 1).clamp(max=self.max_hits - 1)
        own_bias = torch.zeros_like(together, dtype=hits.dtype).masked_fill(~together, -math.inf)[:, None]
        bias = key_bias(mask, hits.dtype)
        x = hits + self.number(number)
        for block in self.blocks:
            assert isinstance(block, DecoderBlock)
            query, key, value = block.own(x)
            x = block.within_track(x, query, key, value, own_bias)
            key, value = block.memory(hits)
            x = block.within_event(x, key, value, bias)
        allowed = one.triu(1) & mask[:, None, :]
        return self.pointer(x, self.pointer_key(hits), allowed), self.first(hits)[:, :, 0]

    def own_seeds(self, first: Tensor, min_first: float) -> Tensor:
        """(B, S, 1) places of the hits whose probability (B, N) of being a first hit is large enough, -1 = padding."""
        chosen = first >= min_first
        most = int(chosen.sum(dim=1).max())
        places = torch.sort((~chosen).long(), dim=1, stable=True)[1][:, :most]
        return torch.where(torch.gather(chosen, 1, places), places, -1)[:, :, None]

    def given_seeds(self, order: Tensor, seeds: Tensor) -> Tensor:
        """(B, S, k) rows, -1 = none, to places from inside out, -1 = none, last."""
        n = order.shape[1]
        place = torch.argsort(order, dim=1)
        flat = torch.gather(place, 1, seeds.clamp(min=0).flatten(1)).view(seeds.shape)
        flat = torch.sort(torch.where(seeds >= 0, flat, n), dim=2)[0]
        return torch.where(flat < n, flat, -1)

    def decode(self, hits: Tensor, mask: Tensor, seeds: Tensor, first: Tensor) -> tuple[Tensor, Tensor]:
        """Tracks from seeds; after the seed's hits the most probable one is taken at each step, until the end is.

        Args:
            hits: (B, N, d) of :meth:`hits`.
            mask: (B, N).
            seeds: (B, S, k) places, at least one hit each, -1 = none; a seed of -1 only is padding.
            first: (B, S) probability of the seeds.

        Returns:
            (B, S, T) places, -1 beyond the end, and the probability of each step, 1 for those of a given seed.
        """
        b, n, d = hits.shape
        s, k = seeds.shape[1], seeds.shape[2]
        bias, keys = key_bias(mask, hits.dtype), self.pointer_key(hits)
        memory: list[tuple[Tensor, Tensor]] = []
        past: list[tuple[Tensor, Tensor]] = []
        none = torch.zeros(b * s, self.n_heads, 0, d // self.n_heads, dtype=hits.dtype, device=hits.device)
        for block in self.blocks:
            memory.append(block.memory(hits))  # type: ignore[operator]
            past.append((none, none))
        place = torch.arange(n, device=hits.device)
        current = seeds[:, :, 0]
        alive = current >= 0
        tracks, probabilities = [current], [first]
        for step in range(self.max_hits - 1):
            if not bool(alive.any()):
                break
            at = current.clamp(min=0)
            x = torch.gather(hits, 1, at[:, :, None].expand(-1, -1, d)) + self.number.weight[step]
            for i, layer in enumerate(self.blocks):
                x = x.view(b * s, 1, d)
                query, key, value = layer.own(x)  # type: ignore[operator]
                key, value = torch.cat([past[i][0], key], dim=2), torch.cat([past[i][1], value], dim=2)
                past[i] = (key, value)
                x = layer.within_track(x, query, key, value, None).view(b, s, d)  # type: ignore[operator]
                x = layer.within_event(x, memory[i][0], memory[i][1], bias)  # type: ignore[operator]
            allowed = (place > at[:, :, None]) & mask[:, None, :]
            probability, following = torch.softmax(self.pointer(x, keys, allowed), dim=2).max(dim=2)
            if step + 1 < k:
                given = seeds[:, :, step + 1]
                following = torch.where(given >= 0, given, following)
                probability = torch.where(given >= 0, torch.ones_like(probability), probability)
            alive = alive & (following < n)
            current = torch.where(alive, following, -1)
            tracks.append(current)
            probabilities.append(torch.where(alive, probability, torch.zeros_like(probability)))
        return torch.stack(tracks, dim=2), torch.stack(probabilities, dim=2)

    @torch.jit.unused
    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Hits (2, 20, 3), their mask (the second event has 13), three and two seeds of one or two hits, a limit."""
        generator = torch.Generator().manual_seed(seed)
        features = self.encoder.embedding.scale[0] * torch.randn(2, 20, 3, generator=generator)
        mask = torch.arange(20) < torch.tensor([[20], [13]])
        seeds = torch.tensor([[[0, 5], [7, -1], [3, 4]], [[2, -1], [9, 12], [-1, -1]]])
        return features * mask[..., None], mask, seeds, torch.tensor(0.5)

    def forward(self, features: Tensor, mask: Tensor, seeds: Tensor, min_first: Tensor) -> Tensor:
        """Tracks of seeds.

        Args:
            features: (B, N, 3) x, y, z in the unit of the card, hits in any order.
            mask: (B, N) bool, True = hit.
            seeds: (B, S, k) int64 rows of the hits of each seed in any order, -1 = none. With k = 0 the network's
                own seeds are taken, S of one hit each.
            min_first: () smallest probability of being the first hit of a track that a hit needs to be an own seed.

        Returns:
            (B, S, T, 2): rows of a track's hits from inside out, -1 beyond its end; probability of each step, given
            the ones before. That of a given seed's hits is 1, that of an own seed the one of being first.
        """
        order = distance_order(features, mask)
        features = torch.gather(features, 1, order[:, :, None].expand(-1, -1, features.shape[2]))
        mask = torch.gather(mask, 1, order)
        hits = self.hits(features, mask)
        if seeds.shape[2] == 0:
            probability = torch.sigmoid(self.first(hits)[:, :, 0]) * mask
            chosen = self.own_seeds(probability, max(float(min_first), 1e-6))
            first = torch.gather(probability, 1, chosen[:, :, 0].clamp(min=0))
        else:
            chosen = self.given_seeds(order, seeds)
            first = torch.ones_like(chosen[:, :, 0], dtype=hits.dtype)
        tracks, probability = self.decode(hits, mask, chosen, first)
        b, s, t = tracks.shape
        rows = torch.gather(order, 1, tracks.clamp(min=0).view(b, s * t)).view(b, s, t)
        real = tracks >= 0
        return torch.stack([torch.where(real, rows, -1).to(hits.dtype), probability * real], dim=3)
