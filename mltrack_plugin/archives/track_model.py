"""A loaded network with its card, applied to events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.time_limit import call_seconds, within
from mltrack_plugin.errors import MltrackError, ModelError

if TYPE_CHECKING:
    from mltrack_plugin.event_data import Hits
    from mltrack_plugin.event_data.base import Array

#: On a GPU, events of similar length are padded to batches of at most this many hits, padding included.
_BATCH_HITS = 32_768


class Engine(Protocol):
    """A loaded network, whatever runs it."""

    def __call__(self, *inputs: Array) -> Array:
        """(B, N, F) float32 and (B, N) bool -> (B, N, K) float32; other inputs for other kinds of models."""
        ...


@dataclass
class FirstCall:
    """Whether a network has given a result in reasonable time once."""

    done: bool = False


@dataclass(frozen=True)
class TrackModel:
    """A network with its card, ready to be applied to events.

    Attributes:
        card: what it expects and returns.
        sha256: of the file, in hexadecimal.
        path: the file.
        device: where it runs, "cpu" or "cuda".
        engine: the network itself.
        first_call: a network that never comes to an end is stopped at its first call.
    """

    card: ModelCard
    sha256: str
    path: Path
    device: str
    engine: Engine
    first_call: FirstCall = field(default_factory=FirstCall, repr=False, compare=False)

    def apply(self, *inputs: Array) -> Array:
        """Apply a network of any kind to the arrays that its architecture documents.

        Raises:
            ModelError: if the network refuses them, gives no numbers, or its first call does not end.
        """
        shapes = ", ".join(str(array.shape) for array in inputs)
        return self._output(inputs, f"inputs of shape {shapes}")

    def predict(self, features: Array) -> Array:
        """Apply a network of the kind "hits" to one event.

        Args:
            features: (n, F) float32 in the card's units and order (see ``ModelCard.hit_features``).

        Returns:
            (n, K) float32, one column per output of the card; (0, K) for an event without hits.

        Raises:
            ModelError: if the number of features, or of the network's outputs, differs from the card.
        """
        return self.predict_batch([features])[0]

    def predict_hits(self, hits: Hits) -> Array:
        """Check the event against the card, compute the features and apply the network.

        Returns:
            (n, K) float32.

        Raises:
            EventError: if the event lies outside the card's validity ranges.
        """
        self.card.check_hits(hits)
        return self.predict(self.card.hit_features(hits))

    def predict_batch(self, events: Sequence[Array]) -> list[Array]:
        """Apply the network to several events: one by one on a CPU (padding costs more than it
        saves there), in padded batches of similar length on a GPU.

        Args:
            events: (n_i, F) float32 each.

        Returns:
            (n_i, K) float32 each, in the order of ``events``.
        """
        inputs = [self._checked(features) for features in events]
        results = [np.zeros((0, len(self.card.outputs)), dtype=np.float32)] * len(inputs)
        for batch in self._batches([len(features) for features in inputs]):
            longest = max(len(inputs[i]) for i in batch)
            padded = np.zeros((len(batch), longest, len(self.card.features)), dtype=np.float32)
            mask = np.zeros((len(batch), longest), dtype=np.bool_)
            for row, i in enumerate(batch):
                padded[row, : len(inputs[i])] = inputs[i]
                mask[row, : len(inputs[i])] = True
            output = self._run(padded, mask)
            for row, i in enumerate(batch):
                results[i] = output[row, : len(inputs[i])]
        return results

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        """Rows of events to run together; events without hits are in none."""
        order = [i for i, n in enumerate(lengths) if n]
        if self.device == "cpu":
            return [[i] for i in order]
        order.sort(key=lambda i: lengths[i])
        batches: list[list[int]] = []
        for i in order:
            if batches and lengths[i] * (len(batches[-1]) + 1) <= _BATCH_HITS:
                batches[-1].append(i)
            else:
                batches.append([i])
        return batches

    def _checked(self, features: Array) -> Array:
        features = np.ascontiguousarray(features, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] != len(self.card.features):
            raise ModelError(
                f"model {self.card.name!r} needs features of shape (n, {len(self.card.features)}): "
                f"{', '.join(self.card.features)}; got {features.shape}"
            )
        return features

    def _run(self, features: Array, mask: Array) -> Array:
        output = self._output((features, mask), f"{features.shape[1]} hits")
        wanted = (*mask.shape, len(self.card.outputs))
        if output.shape != wanted:
            raise ModelError(
                f"{self.path}: the network returned shape {output.shape}, its card promises {wanted} "
                f"({', '.join(self.card.outputs)}). Export the model again"
            )
        return output

    def _output(self, inputs: tuple[Array, ...], what: str) -> Array:
        """The network's numbers; whatever goes wrong in an untrusted network is a ``ModelError``."""
        try:
            if self.first_call.done:
                output = self.engine(*inputs)
            else:
                seconds = call_seconds(inputs)
                output = within(
                    seconds, lambda: self.engine(*inputs), str(self.path), f"the network on {what}"
                )
                self.first_call.done = True
        except MltrackError:
            raise
        except Exception as error:
            raise ModelError(f"{self.path}: the network failed on {what}: {_last(error)}") from error
        if not isinstance(output, np.ndarray) or output.dtype != np.float32:
            raise ModelError(
                f"{self.path}: the network returned {getattr(output, 'dtype', type(output).__name__)} on {what}, "
                "float32 is expected. Export the model again"
            )
        return output


def _last(error: Exception) -> str:
    """The last line of a message of torch, which says what went wrong."""
    return str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
