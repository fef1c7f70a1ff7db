"""Shipped models: the list in ``pretrained/manifest.json`` and the files beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from pydantic import Field, ValidationError

from mltrack_plugin.errors import ModelError, OutputError, did_you_mean
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
    import mltrack_plugin

    return Path(mltrack_plugin.__file__).parent / "pretrained"


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


def register_model(
    path: str | Path, job: str | None, datasets: Iterable[str], folder: Path | None = None
) -> ManifestEntry:
    """Add a model archive to the shipped ones (for maintainers): copy it and rewrite the manifest.

    The model is loaded first, so nothing that users could not load is ever shipped; its name is its card's.
    A model of the same name is replaced.

    Args:
        path: model archive.
        job: job configuration that uses it, if there is one.
        datasets: data sets on which it was trained.
        folder: folder of shipped models.

    Raises:
        ModelError: if the archive cannot be loaded.
        OutputError: if the folder cannot be written.
    """
    from mltrack_plugin.archives.archive import load_model

    source = Path(path)
    folder = folder or pretrained_folder()
    model = load_model(source)
    card = model.card
    entry = ManifestEntry(
        file=f"{card.name}{source.suffix}",
        sha256=model.sha256,
        architecture=card.architecture,
        detectors=card.detectors,
        datasets=tuple(datasets),
        job=job,
    )
    manifest = folder / "manifest.json"
    models = (available_models(folder) if manifest.exists() else {}) | {card.name: entry}
    text = json.dumps({n: models[n].model_dump(mode="json") for n in sorted(models)}, indent=2) + "\n"
    try:
        target = folder / entry.file
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
        temporary = manifest.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(manifest)
    except OSError as error:
        raise OutputError(f"{folder}: the model cannot be registered ({error.strerror or error})") from error
    return entry


def sha256_of(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
