"""Shipping a model: a new archive among those of ``pretrained/`` (for maintainers)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from mltrack_plugin.archives import manifest
from mltrack_plugin.archives.archive import load_model
from mltrack_plugin.errors import OutputError


def register_model(
    path: str | Path, job: str | None, datasets: Iterable[str], folder: Path | None = None
) -> manifest.ManifestEntry:
    """Add a model archive to the shipped ones: copy it and rewrite the manifest.

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
    source = Path(path)
    folder = folder or manifest.pretrained_folder()
    model = load_model(source)
    card = model.card
    entry = manifest.ManifestEntry(
        file=f"{card.name}{source.suffix}",
        sha256=model.sha256,
        architecture=card.architecture,
        detectors=card.detectors,
        datasets=tuple(datasets),
        job=job,
    )
    listing = folder / "manifest.json"
    models = (manifest.available_models(folder) if listing.exists() else {}) | {card.name: entry}
    text = json.dumps({n: models[n].model_dump(mode="json") for n in sorted(models)}, indent=2) + "\n"
    try:
        target = folder / entry.file
        if source.resolve() != target.resolve():
            shutil.copyfile(source, target)
        temporary = listing.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(listing)
    except OSError as error:
        raise OutputError(f"{folder}: the model cannot be registered ({error.strerror or error})") from error
    return entry
