"""Which shipped jobs stand for which published design on which data set."""

from __future__ import annotations

from mltrack_plugin.archives.manifest import available_models
from mltrack_plugin.jobs.config import JobConfig, available_jobs, load_job
from mltrack_plugin.published.trackformers.published import DATASETS

#: Name of this package's own design.
OWN = "own"
#: EncReg-FA is EncReg in other sizes; the name of the model tells it apart.
_FA = "encreg-fa"
#: Architecture of the model card -> design.
DESIGN_OF = {
    "encdec": "EncDec",
    "enccla": "EncCla",
    "enccla-local": "EncCla",
    "encreg": "EncReg",
    _FA: "EncReg-FA",
    "unet": "U-Net",
    "encemb": OWN,
}


def shipped_designs() -> dict[tuple[str, str], JobConfig]:
    """(data set, design) -> the shipped job.

    Where there are several, the one named ``<architecture>-<data set>``, else one whose name ends with the data set.
    """
    found: dict[tuple[str, str], list[tuple[bool, bool, str, JobConfig]]] = {}
    models = available_models()
    for name in available_jobs():
        job = load_job(name)
        for model in (step.settings.get("model") for step in job.sequence):
            if model not in models:
                continue
            architecture = models[model].architecture
            if architecture == "encreg" and model.startswith(_FA):
                architecture = _FA
            design = DESIGN_OF.get(architecture)
            for dataset in job.datasets if design is not None else ():
                if dataset in DATASETS:
                    rank = (name != f"{architecture}-{dataset}", not name.endswith(dataset), name, job)
                    found.setdefault((dataset, str(design)), []).append(rank)
    return {key: min(jobs, key=lambda rank: rank[:3])[3] for key, jobs in found.items()}
