"""Settings of a training run, and how model cards quote them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mltrack_plugin.settings import Config


class TrainingConfig(Config):
    """Settings that every training run has; a task adds those of its network and losses."""

    name: str
    """Name of the model."""
    version: str = "1"
    """Version written into the model card."""
    architecture: str
    """Network architecture; it chooses the task (see :mod:`mltrack_plugin.training.tasks`)."""
    dataset: str
    """Data set of the simulation (``mltrack simulate``), or "files": own events
    (:mod:`mltrack_plugin.training.files`).
    """
    dataset_settings: dict[str, Any] = Field(default_factory=dict)
    """Settings of the data set that differ from its defaults."""
    seed: int = Field(1, ge=0)
    """Seed of training events, validation events and initial weights."""
    network: dict[str, Any] = Field(default_factory=dict)
    """Settings of the network; input and output constants are measured on training events."""
    batch_size: int = Field(16, ge=1)
    """Events per optimiser step."""
    steps: int = Field(ge=1)
    """Optimiser steps."""
    learning_rate: float = Field(1e-3, gt=0)
    """Largest learning rate (AdamW, linear warm-up, cosine decay to zero)."""
    warmup_steps: int = Field(200, ge=0)
    """Steps of the warm-up."""
    weight_decay: float = Field(1e-4, ge=0)
    """AdamW weight decay."""
    gradient_clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """Lightning precision."""
    validation_every: int = Field(500, ge=1)
    """Steps between validations, the last of which follows the last step; a checkpoint is written after each."""
    validation_events: int = Field(100, ge=1)
    """Validation events."""
    patience: int | None = Field(None, ge=1)
    """Validations in a row without a better score after which the training stops; None = never. The cosine decay
    brings most of the gain at its end, which an early stop gives away: the shipped configurations leave it off.
    """
    max_event_hits: int = Field(250_000, ge=1)
    """Hits of the largest event to train or validate on: memory grows with them."""
    oversized_events: Literal["error", "leave-out"] = "error"
    """A larger event stops the training with an error, or the next smaller one takes its place."""
    detectors: tuple[str, ...] = Field(min_length=1)
    """Detectors that the model is made for."""
    length_unit: str = "mm"
    """Unit of the coordinates."""


class ValidationSet(Config):
    """Events that the network is scored on during the training."""

    dataset: str
    """Data set of the simulation."""
    dataset_settings: dict[str, Any] = Field(default_factory=dict)
    """Settings that differ from its defaults."""
    events: int = Field(20, ge=1)
    """Number of events."""


#: Settings of data sets that say where something is kept, which changes nothing in the events.
_PLACES = ("bank_dir",)


def portable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a data set for model cards: of paths only the last part, none of where banks are kept."""
    return {key: portable(value) for key, value in settings.items() if key not in _PLACES}


def portable(value: Any) -> Any:
    """A setting as :func:`portable_settings` gives it."""
    if isinstance(value, Mapping):
        return portable_settings(value)
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    return Path(value).name if isinstance(value, (str, Path)) else value
