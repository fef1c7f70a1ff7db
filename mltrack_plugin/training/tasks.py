"""Training tasks by architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mltrack_plugin.registry import find

if TYPE_CHECKING:
    from mltrack_plugin.training.settings import TrainingConfig
    from mltrack_plugin.training.task import Task


def task_class(architecture: str) -> type[Task]:
    """The task that trains an architecture (entry point group ``mltrack_plugin.training_tasks``).

    Raises:
        ConfigurationError: naming the nearest architecture.
    """
    kind: type[Task] = find("training task", architecture)
    return kind


def make_task(config: TrainingConfig) -> Task:
    """The task of a configuration."""
    return task_class(config.architecture)(config)
