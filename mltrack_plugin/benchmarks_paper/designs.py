"""Which shipped jobs stand for which published design on which data set."""

from __future__ import annotations

from mltrack_plugin.benchmarks_paper.published import DATASETS
from mltrack_plugin.job import JobConfig, available_jobs, load_job
from mltrack_plugin.models.manifest import available_models

#: Name of this package's own design.
OWN = "own"
#: Architecture of the model card -> design.
ARCHITECTURES = {
    "encdec": "EncDec",
    "enccla": "EncCla",
    "encreg": "EncReg",
    "unet": "U-Net",
    "encemb": OWN,
}


def shipped_designs() -> dict[tuple[str, str], JobConfig]:
    """(data set, design) -> the shipped job; where there are several, the one that is named after the data set."""
    found: dict[tuple[str, str], list[tuple[bool, str, JobConfig]]] = {}
    models = available_models()
    for name in available_jobs():
        job = load_job(name)
        for model in (step.settings.get("model") for step in job.sequence):
            if model not in models:
                continue
            design = design_of(model, models[model].architecture)
            if design is None:
                continue
            for dataset in job.datasets:
                if dataset in DATASETS:
                    entry = (not name.endswith(dataset), name, job)
                    found.setdefault((dataset, design), []).append(entry)
    return {key: min(jobs, key=lambda entry: entry[:2])[2] for key, jobs in found.items()}


def design_of(model: str, architecture: str) -> str | None:
    """The design of a model; EncReg-FA is EncReg in other sizes, so its name tells it apart."""
    if architecture == "encreg" and model.startswith("encreg-fa"):
        return "EncReg-FA"
    return ARCHITECTURES.get(architecture)
