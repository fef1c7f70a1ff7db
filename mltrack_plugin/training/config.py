"""Training configurations: shipped ones by name, files, and the command that repeats a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml

from mltrack_plugin import configs
from mltrack_plugin.errors import ConfigurationError, did_you_mean
from mltrack_plugin.settings import load_yaml, validated
from mltrack_plugin.training.settings import TrainingConfig, portable
from mltrack_plugin.training.tasks import task_class


def training_configs() -> dict[str, Path]:
    """Shipped training configurations by name."""
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


#: Settings of trainings that may hold paths.
_WITH_PLACES = ("dataset_settings", "validation", "start_from", "first_stage", "after")


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
            value, shipped[name] = portable(value), portable(shipped.get(name))
        if name not in shipped or value != shipped[name]:
            text = yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()
            words += ["--set", f"{name}={text}"]
    return shlex.join(words)
