"""Model archives: one loader for ``.pt`` (TorchScript), ``.pt2`` (torch.export) and ``.onnx``.

A model is one file that holds the network and its card. It is read once; what was checked (size, zip
structure, checksums, card, sha256) is what is loaded.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mltrack_plugin.errors import ModelError, OutputError
from mltrack_plugin.models.card import ModelCard
from mltrack_plugin.models.manifest import sha256_of, shipped_model
from mltrack_plugin.models.safezip import read_checked, read_file

if TYPE_CHECKING:
    from torch import nn

    from mltrack_plugin.event_data import Hits
    from mltrack_plugin.event_data.base import Array

#: File name suffixes of model archives.
SUFFIXES = (".pt", ".pt2", ".onnx")
#: On a GPU, events of similar length are padded to batches of at most this many hits, padding included.
_BATCH_HITS = 32_768


class Engine(Protocol):
    """A loaded network, whatever runs it."""

    @property
    def parameters(self) -> int:
        """Number of weights."""
        ...

    def __call__(self, features: Array, mask: Array) -> Array:
        """(B, N, F) float32 and (B, N) bool -> (B, N, K) float32."""
        ...


@dataclass(frozen=True)
class TrackModel:
    """A network with its card, ready to be applied to events.

    Attributes:
        card: what it expects and returns.
        sha256: of the file, in hexadecimal.
        path: the file.
        device: where it runs, "cpu" or "cuda".
        engine: the network itself.
    """

    card: ModelCard
    sha256: str
    path: Path
    device: str
    engine: Engine

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return self.engine.parameters

    def predict(self, features: Array) -> Array:
        """Apply the network to one event.

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
        import numpy as np

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
        import numpy as np

        features = np.ascontiguousarray(features, dtype=np.float32)
        if features.ndim != 2 or features.shape[1] != len(self.card.features):
            raise ModelError(
                f"model {self.card.name!r} needs features of shape (n, {len(self.card.features)}): "
                f"{', '.join(self.card.features)}; got {features.shape}"
            )
        return features

    def _run(self, features: Array, mask: Array) -> Array:
        try:
            output = self.engine(features, mask)
        except RuntimeError as error:
            last = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"{self.path}: the network failed on {features.shape[1]} hits: {last}"
            ) from error
        wanted = (*mask.shape, len(self.card.outputs))
        if output.shape != wanted:
            raise ModelError(
                f"{self.path}: the network returned shape {output.shape}, its card promises {wanted} "
                f"({', '.join(self.card.outputs)}). Export the model again"
            )
        return output


def load_model(
    name_or_path: str | Path,
    device: str = "cpu",
    verify: bool = True,
    expected_sha256: str | None = None,
) -> TrackModel:
    """Load a shipped model by name, or a model archive by path.

    Args:
        name_or_path: a name of ``mltrack models``, or a file ending in .pt, .pt2 or .onnx.
        device: "cpu", "cuda", or "auto" (a GPU if there is one).
        verify: compare a shipped model's sha256 with the manifest.
        expected_sha256: refuse the file unless it has this checksum.

    Raises:
        ModelError: if the file is missing, damaged, not a model archive, from a newer version, or not the
            one expected; with the reason and what to do.
        MissingExtraError: for .onnx without the extra [onnx].
    """
    path, expected = _locate(name_or_path)
    wanted = [s.lower() for s in (expected if verify else None, expected_sha256) if s]
    device = _resolve_device(device)
    content = read_file(path)
    sha256 = sha256_of(content)
    for checksum in wanted:
        if checksum != sha256:
            raise ModelError(
                f"{path}: sha256 is {sha256}, expected {checksum}; the file was changed or damaged. "
                "Reinstall mltrack-plugin, or download the model again"
            )
    card, engine = _open(path, content, device)
    assert engine is not None
    return TrackModel(card=card, sha256=sha256, path=path, device=device, engine=engine)


def read_model_card(name_or_path: str | Path) -> ModelCard:
    """The card alone, without loading the network (no torch needed)."""
    path, _ = _locate(name_or_path)
    return _open(path, read_file(path), None)[0]


def save_torchscript(module: nn.Module, card: ModelCard, path: str | Path) -> Path:
    """Write a TorchScript archive (``.pt``) with its card inside.

    Args:
        module: ``forward(features (B, N, F) float32, mask (B, N) bool) -> (B, N, K) float32``.
        card: its card.
        path: the file; replaced if it exists.

    Raises:
        ModelError: if the module cannot be scripted.
        OutputError: if the file cannot be written.
    """
    from mltrack_plugin.models.torchscript import save

    return write_atomically(path, save(module, card))


def save_exported(module: nn.Module, card: ModelCard, path: str | Path) -> Path:
    """Write a torch.export archive (``.pt2``) with its card inside; arguments as ``save_torchscript``."""
    from mltrack_plugin.models.exported import save

    return write_atomically(path, save(module, card))


def save_onnx(module: nn.Module, card: ModelCard, path: str | Path) -> Path:
    """Write an ONNX file with its card inside; arguments as ``save_torchscript``.

    Raises:
        MissingExtraError: without the extra [onnx].
    """
    from mltrack_plugin.models.onnx_format import save

    return write_atomically(path, save(module, card))


def write_atomically(path: str | Path, content: bytes) -> Path:
    """Write under a temporary name beside ``path`` and rename when complete.

    Raises:
        OutputError: if the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), 0o644)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
    return path


def _locate(name_or_path: str | Path) -> tuple[Path, str | None]:
    """The file, and its sha256 if it is a shipped model."""
    path = Path(name_or_path).expanduser()
    if isinstance(name_or_path, str) and "/" not in name_or_path and path.suffix not in SUFFIXES:
        path, entry = shipped_model(name_or_path)
        return path, entry.sha256
    if path.suffix not in SUFFIXES:
        raise ModelError(f"{path}: not a model archive; its name must end in {', '.join(SUFFIXES)}")
    return path, None


def _resolve_device(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device != "cuda":
        raise ModelError(f"no device {device!r}; there is auto, cpu and cuda")
    if not torch.cuda.is_available():
        raise ModelError("no CUDA device is available (or torch is installed without CUDA); use --device cpu")
    return device


def _open(path: Path, content: bytes, device: str | None) -> tuple[ModelCard, Engine | None]:
    """Card and, if a device is given, network of a file; the card is checked before anything is loaded."""
    source = str(path)
    if path.suffix == ".onnx":
        from mltrack_plugin.models import onnx_format

        card = onnx_format.read_card(content, source)
        return card, onnx_format.OnnxEngine(content, device, source) if device else None
    _refuse_pickle(path, content)
    archive = read_checked(content, source)
    if path.suffix == ".pt2":
        from mltrack_plugin.models import exported

        card = exported.read_card(archive, source)
        return card, exported.ExportedEngine(archive, device, source) if device else None
    from mltrack_plugin.models import torchscript

    card = torchscript.read_card(archive, source)
    return card, torchscript.TorchScriptEngine(content, device, source) if device else None


def _refuse_pickle(path: Path, content: bytes) -> None:
    """A clear message for the commonest wrong files."""
    if content[:1] == b"\x80":
        raise ModelError(
            f"{path}: a Python pickle, which can run any code; it is not opened. "
            "Export the model with:  mltrack export"
        )
    if not content.startswith(b"PK"):
        raise ModelError(
            f"{path}: not a model archive (no zip file); it may be truncated or another kind of file"
        )
