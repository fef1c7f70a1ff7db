"""Training tasks by architecture."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mltrack_plugin.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from mltrack_plugin.training.config import TrainingConfig
    from mltrack_plugin.training.task import Task

#: Architecture -> "module:class" of its :class:`~mltrack_plugin.training.task.Task`.
TASKS = {
    "enccla": "mltrack_plugin.training.enccla:EncClaTask",
    "enccla-local": "mltrack_plugin.training.enccla_local:EncClaLocalTask",
    "encdec": "mltrack_plugin.training.encdec:EncDecTask",
    "encemb": "mltrack_plugin.training.encemb:EncEmbTask",
    "encreg": "mltrack_plugin.training.encreg:EncRegTask",
    "gaussian-hit-predictor": "mltrack_plugin.published.heptrkx.training.hit_predictor:GaussianHitPredictorTask",
    "gnn-hits": "mltrack_plugin.published.heptrkx.training.gnn:HitTask",
    "gnn-segments": "mltrack_plugin.published.heptrkx.training.gnn:SegmentTask",
    "gru-assignment": "mltrack_plugin.published.heptrkx.training.gru_assignment:GruAssignmentTask",
    "hit-predictor": "mltrack_plugin.published.heptrkx.training.hit_predictor:HitPredictorTask",
    "image-segmentation": "mltrack_plugin.published.heptrkx.training.images:SegmentationTask",
    "refiner": "mltrack_plugin.training.refiner:RefinerTask",
    "track-regression-cnn": "mltrack_plugin.published.heptrkx.training.images:LineTask",
    "track-sequence-cnn": "mltrack_plugin.published.heptrkx.training.images:LineSequenceTask",
    "unet": "mltrack_plugin.training.unet:UNetTask",
    "vertex-cnn": "mltrack_plugin.published.heptrkx.training.vertices:VertexTask",
}


def task_class(architecture: str) -> type[Task]:
    """The task that trains an architecture.

    Raises:
        ConfigurationError: naming the nearest architecture.
    """
    if architecture not in TASKS:
        raise ConfigurationError(
            f"no architecture {architecture!r} to train. {did_you_mean(architecture, TASKS)}"
        )
    module, _, name = TASKS[architecture].partition(":")
    kind: type[Task] = getattr(importlib.import_module(module), name)
    return kind


def make_task(config: TrainingConfig) -> Task:
    """The task of a configuration."""
    return task_class(config.architecture)(config)
