"""Model archives: one loader for ``.pt`` (TorchScript), ``.pt2`` (torch.export) and ``.onnx``.

A model is one file that holds the network and its card. It is read once; what was checked (size, zip
structure, checksums, card, sha256) is what is loaded.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mltrack_plugin.archives.card import ModelCard
from mltrack_plugin.archives.manifest import available_models, sha256_of, shipped_model
from mltrack_plugin.archives.safezip import CheckedZip, read_checked, read_file
from mltrack_plugin.archives.time_limit import LOAD_SECONDS, within
from mltrack_plugin.archives.track_model import Engine, TrackModel
from mltrack_plugin.errors import ModelError, OutputError
from mltrack_plugin.version import __version__

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "ModelFile",
    "TrackModel",
    "check_content",
    "load_file",
    "load_model",
    "pack",
    "read_model_file",
    "save_exported",
    "save_onnx",
    "save_torchscript",
    "write_atomically",
]

#: File name suffixes of model archives.
SUFFIXES = (".pt", ".pt2", ".onnx")


@dataclass(frozen=True)
class ModelFile:
    """A model archive whose structure, checksums and card are verified; the network is not loaded yet.

    Attributes:
        path: the file.
        content: its bytes.
        sha256: of the content, in hexadecimal.
        card: the model card.
        archive: the unpacked members; ``None`` for .onnx, which is no zip file.
    """

    path: Path
    content: bytes
    sha256: str
    card: ModelCard
    archive: CheckedZip | None


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
    device = resolve_device(device)
    return load_file(read_model_file(name_or_path, verify, expected_sha256), device)


def read_model_file(
    name_or_path: str | Path, verify: bool = True, expected_sha256: str | None = None
) -> ModelFile:
    """Everything that :func:`load_model` checks, without loading the network (needs no torch)."""
    path, shipped_sha256 = _locate(name_or_path)
    content = read_file(path)
    sha256 = sha256_of(content)
    for wanted in (shipped_sha256 if verify else None, expected_sha256):
        if wanted is not None and wanted.lower() != sha256:
            raise ModelError(
                f"{path}: sha256 is {sha256}, expected {wanted}; the file was changed or damaged. "
                "Reinstall mltrack-plugin, or download the model again"
            )
    return check_content(path, content)


def check_content(path: Path, content: bytes) -> ModelFile:
    """Verify a model archive that is in memory; ``path`` gives its format and stands in messages.

    Raises:
        ModelError, MissingExtraError: as :func:`load_model`.
    """
    archive: CheckedZip | None = None
    if path.suffix == ".onnx":
        from mltrack_plugin.archives import onnx_format

        card = onnx_format.read_card(content, str(path))
    else:
        from mltrack_plugin.archives import exported, torchscript

        _refuse_pickle(path, content)
        archive = read_checked(content, str(path))
        card = (exported if path.suffix == ".pt2" else torchscript).read_card(archive, str(path))
    return ModelFile(path, content, sha256_of(content), card, archive)


def load_file(file: ModelFile, device: str = "cpu") -> TrackModel:
    """Load the network of a verified file on "cpu" or "cuda" (raises ``ModelError``)."""
    source = str(file.path)
    import torch  # noqa: F401  (not by the thread below, whose time is limited)

    engine = within(LOAD_SECONDS, lambda: _engine(file, device, source), source, "loading the network")
    return TrackModel(card=file.card, sha256=file.sha256, path=file.path, device=device, engine=engine)


def _engine(file: ModelFile, device: str, source: str) -> Engine:
    if file.archive is None:
        from mltrack_plugin.archives.onnx_format import OnnxEngine

        return OnnxEngine(file.content, device, source)
    if file.path.suffix == ".pt2":
        from mltrack_plugin.archives.exported import ExportedEngine

        return ExportedEngine(file.archive, device, source)
    from mltrack_plugin.archives.torchscript import TorchScriptEngine

    return TorchScriptEngine(file.archive, device, source)


def pack(module: nn.Module, card: ModelCard, suffix: str) -> bytes:
    """The content of a model archive.

    Args:
        module: for the kind "hits" ``forward(features (B, N, F) float32, mask (B, N) bool) -> (B, N, K) float32``;
            mask is True for real hits, which padding must not change. For other kinds as the card's
            architecture documents.
        card: its card.
        suffix: ".pt" (TorchScript), ".pt2" (torch.export) or ".onnx".

    Raises:
        ModelError: if the format is unknown, or cannot express the module.
        MissingExtraError: for .onnx without the extra [onnx].
    """
    from mltrack_plugin.archives import exported, onnx_format, torchscript

    writers = {".pt": torchscript.save, ".pt2": exported.save, ".onnx": onnx_format.save}
    if suffix not in writers:
        raise ModelError(f"no model format {suffix!r}; there is {', '.join(writers)}")
    if card.kind != "hits" and suffix != ".pt":
        raise ModelError(
            f"model {card.name!r} reads {card.kind} inputs, which only the format .pt (TorchScript) holds"
        )
    parameters = sum(p.numel() for p in module.parameters())
    version = card.mltrack_version or __version__
    card = card.model_copy(update={"parameters": parameters, "mltrack_version": version})
    return writers[suffix](module, card)


def save_torchscript(module: nn.Module, card: ModelCard, path: str | Path) -> Path:
    """Write a TorchScript archive (``.pt``) with its card inside (see ``pack``), replacing an existing file.

    Raises:
        ModelError: if the module cannot be scripted.
        OutputError: if the file cannot be written.
    """
    return write_atomically(path, pack(module, card, ".pt"))


def save_exported(module: nn.Module, card: ModelCard, path: str | Path) -> Path:
    """Write a torch.export archive (``.pt2``); otherwise as ``save_torchscript``."""
    return write_atomically(path, pack(module, card, ".pt2"))


def save_onnx(module: nn.Module, card: ModelCard, path: str | Path) -> Path:
    """Write an ONNX file; otherwise as ``save_torchscript``. Needs the extra [onnx]."""
    return write_atomically(path, pack(module, card, ".onnx"))


def write_atomically(path: str | Path, content: bytes) -> Path:
    """Write under a temporary name beside ``path`` and rename when complete.

    Raises:
        OutputError: if the folder is missing or not writable, or the disk is full.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return path


def _locate(name_or_path: str | Path) -> tuple[Path, str | None]:
    """The file, and its sha256 if it is a shipped model."""
    path = Path(name_or_path).expanduser()
    if path.suffix in SUFFIXES:
        return path, None
    other_file = path.is_file() and str(name_or_path) not in available_models()
    if isinstance(name_or_path, str) and "/" not in name_or_path and not other_file:
        path, entry = shipped_model(name_or_path)
        return path, entry.sha256
    raise ModelError(
        f"{path}: not a model archive; its name must end in {', '.join(SUFFIXES)} (mltrack export makes one of a "
        "checkpoint)"
    )


def resolve_device(device: str) -> str:
    """ "cpu" or "cuda": what "auto" means on this machine (raises ``ModelError`` for "cuda" without a GPU)."""
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
