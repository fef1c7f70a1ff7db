"""Training configuration: everything a training run depends on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.settings import Config, load_yaml, validated


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


class ClusteringSettings(Config):
    """HDBSCAN settings used to score validation events."""

    min_cluster_size: int = Field(default=4, ge=2)
    min_samples: int = Field(default=2, ge=1)
    epsilon: float = Field(default=0.0, ge=0)


class ValidationSet(Config):
    """Events that the network is scored on during the training."""

    dataset: str
    """Data set of the simulation."""
    dataset_settings: dict[str, Any] = Field(default_factory=dict)
    """Settings that differ from its defaults."""
    events: int = Field(20, ge=1)
    """Number of events."""


def training_configs() -> dict[str, Path]:
    """Shipped training configurations by name."""
    from mltrack_plugin import configs

    folder = Path(configs.__path__[0]) / "training"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_training_config(name_or_path: str, *, tiny: bool = False, **overrides: Any) -> TrainingConfig:
    """Read a shipped configuration by name, or a YAML file.

    Args:
        name_or_path: see above.
        tiny: apply the settings of the file's ``tiny`` block: a small network that trains in seconds.
        overrides: settings that replace those of the file.

    Returns:
        the configuration, of the class that its architecture's task asks for.

    Raises:
        ConfigurationError: if it does not exist or a setting is wrong.
    """
    from mltrack_plugin.training.tasks import task_class

    shipped = training_configs()
    path = shipped.get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise ConfigurationError(
            f"no training configuration {name_or_path!r}. {did_you_mean(name_or_path, shipped)}"
        )
    try:
        settings = load_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{path}: cannot be read as text ({error}); a training configuration is a YAML file, in which "
            "own events are named by  dataset: files, dataset_settings: {path: FILE}"
        ) from error
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{path}: expected settings by name, got {type(settings).__name__}")
    small = settings.pop("tiny", {})
    if not isinstance(small, dict):
        raise ConfigurationError(f"{path}: tiny: expected settings by name, got {type(small).__name__}")
    if tiny and not small:
        raise ConfigurationError(
            f"{path} has no small variant: it needs a block  tiny:  with the settings that make it small, e.g. steps"
        )
    settings |= (small if tiny else {}) | overrides
    if not isinstance(settings.get("architecture"), str):
        raise ConfigurationError(f"{path}: architecture: the name of a network architecture is needed")
    config = validated(task_class(settings["architecture"]).Config, settings, str(path))
    assert isinstance(config, TrainingConfig)
    return config


#: Settings of data sets that say where something is kept, which changes nothing in the events.
_PLACES = ("bank_dir",)
#: Settings of trainings that may hold paths.
_WITH_PLACES = ("dataset_settings", "validation", "start_from", "first_stage", "after")


def portable_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a data set for model cards: of paths only the last part, none of where banks are kept."""
    return {key: _portable(value) for key, value in settings.items() if key not in _PLACES}


def _portable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return portable_settings(value)
    if isinstance(value, (list, tuple)):
        return [_portable(item) for item in value]
    return Path(value).name if isinstance(value, (str, Path)) else value


def training_command(config: TrainingConfig) -> str:
    """The command that repeats a run: a shipped configuration with the settings that differ from it.

    A configuration that is not shipped is named by the file that it should be in.
    """
    if config.name not in training_configs():
        return f"mltrack train {shlex.quote(config.name)}.yaml"
    return min((_command(config, tiny=tiny) for tiny in (False, True)), key=len)


def _command(config: TrainingConfig, *, tiny: bool) -> str:
    shipped = load_training_config(config.name, tiny=tiny).model_dump(mode="json")
    words = ["mltrack", "train", config.name, *(["--tiny"] if tiny else [])]
    for name, value in config.model_dump(mode="json").items():
        if name in _WITH_PLACES:
            value, shipped[name] = _portable(value), _portable(shipped.get(name))
        if name not in shipped or value != shipped[name]:
            text = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
            words += ["--set", f"{name}={text}"]
    return shlex.join(words)
