"""Shipped models: the list in ``pretrained/manifest.json`` and the files beside it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from pydantic import Field, ValidationError

from mltrack_plugin import pretrained
from mltrack_plugin.errors import ModelError, did_you_mean
from mltrack_plugin.settings import Config


class ManifestEntry(Config):
    """One shipped model."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.(pt|pt2|onnx)$")
    """File name in the folder of shipped models."""
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the file, in hexadecimal."""
    architecture: str
    """Architecture, as in the card."""
    detectors: tuple[str, ...]
    """Detectors, as in the card."""
    datasets: tuple[str, ...]
    """Simulated data sets on which it was trained (names of ``mltrack simulate``)."""
    job: str | None = None
    """Job configuration that uses it (name of ``mltrack configs``); None if it is no part of a job."""


def pretrained_folder() -> Path:
    """Folder of the shipped models."""
    return Path(pretrained.__path__[0])


def available_models(folder: Path | None = None) -> dict[str, ManifestEntry]:
    """The shipped models by name, sorted.

    Raises:
        ModelError: if the manifest is missing or damaged.
    """
    path = (folder or pretrained_folder()) / "manifest.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: ManifestEntry.model_validate(entry) for name, entry in sorted(content.items())}
    except OSError as error:
        raise ModelError(f"{path}: the list of shipped models cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, AttributeError, ValidationError) as error:
        raise ModelError(f"{path}: the list of shipped models is damaged ({error})") from None


def shipped_model(name: str, folder: Path | None = None) -> tuple[Path, ManifestEntry]:
    """File and manifest entry of a shipped model.

    Raises:
        ModelError: naming the nearest models if there is none of this name.
    """
    models = available_models(folder)
    if name not in models:
        raise ModelError(
            f"no shipped model {name!r} and no such file. {did_you_mean(name, models)} (see: mltrack models)"
        )
    return (folder or pretrained_folder()) / models[name].file, models[name]


def sha256_of(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
